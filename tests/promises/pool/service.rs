//! The pool as a service, and what its refusals look like through other layers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use stonework::base::body::Body;
use stonework::base::{Backoff, BoxError, Delivery, Elapsed, Error, Kind, Phase};
use stonework::pool::{ConnectFailed, Manage, Pool, PoolClosed, PoolExhausted, PoolSettings};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::timeout::TimeoutLayer;
use tokio::time::{Instant, sleep};
use tower::util::BoxService;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::kit::{MS, settle, up_to};
use crate::support::{Content, SECOND, request, timed};

type Exchange = BoxService<Request<Content>, Response<Body>, BoxError>;
type Make = dyn Fn(usize) -> Result<Exchange, Infallible> + Send + Sync;

/// Connects what it is told to, and counts.
#[derive(Clone)]
struct Peers {
    make: Arc<Make>,
    made: Arc<Mutex<usize>>,
    fails: bool,
}

fn peers(make: impl Fn(usize) -> Exchange + Send + Sync + 'static) -> Peers {
    Peers { make: Arc::new(move |nth| Ok(make(nth))), made: Arc::default(), fails: false }
}

impl Manage for Peers {
    type Object = Exchange;
    type Error = BoxError;

    async fn connect(&self) -> Result<Exchange, BoxError> {
        let nth = {
            let mut made = self.made.lock().unwrap();
            *made += 1;
            *made
        };
        if self.fails { Err("nobody is there".into()) } else { Ok((self.make)(nth)?) }
    }
}

fn pool(peers: &Peers, settings: PoolSettings) -> Pool<Peers> {
    Pool::builder(peers.clone()).settings(settings).name("peers").build().unwrap()
}

fn answering(body: impl Fn() -> Body + Send + Sync + 'static) -> Peers {
    let body = Arc::new(body);
    peers(move |_| {
        let body = Arc::clone(&body);
        BoxService::new(service_fn(move |_| {
            let body = body();
            async move { Ok(Response::new(body)) }
        }))
    })
}

fn get() -> Request<Content> {
    request(Method::GET)
}

#[tokio::test(start_paused = true)]
async fn it_is_always_ready_and_an_object_is_held_until_the_body_has_ended() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let peers = answering(move || {
        let (into, body) = Channel::<Bytes, Infallible>::new(4);
        sender.send(into).unwrap();
        Body::new(body)
    });
    let mut senders = receiver;
    let pool = pool(&peers, up_to(1));
    let mut service = pool.service();
    assert!(service.poll_ready(&mut Context::from_waker(std::task::Waker::noop())).is_ready());
    let response = service.ready().await.unwrap().call(get()).await.unwrap();
    let mut into = senders.recv().await.unwrap();
    let mut body = response.into_body();
    into.send_data(Bytes::from("one")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    assert_eq!((pool.stats().in_use(), pool.stats().idle()), (1, 0), "in the middle of it");
    assert!(
        service.poll_ready(&mut Context::from_waker(std::task::Waker::noop())).is_ready(),
        "used up, and ready"
    );
    let next = tokio::spawn(service.call(get()));
    settle().await;
    assert!(!next.is_finished());
    drop(into);
    assert!(body.frame().await.is_none());
    let next = next.await.unwrap().unwrap();
    assert_eq!(*peers.made.lock().unwrap(), 1, "the same one");
    // One that nobody reads to its end is in the middle of something.
    let _into = senders.recv().await.unwrap();
    drop(next);
    assert_eq!((pool.stats().open(), pool.stats().closed(stonework::base::PoolClose::Dropped)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn one_whose_connection_speaks_another_protocol_is_not_used_again() {
    for (method, status, kept) in [
        (Method::GET, 101, false),
        (Method::CONNECT, 200, false),
        (Method::CONNECT, 403, true),
        (Method::HEAD, 200, true),
        (Method::GET, 204, true),
    ] {
        let peers = peers(move |_| {
            let answer = move |_| async move { Ok(Response::builder().status(status).body(Body::empty())?) };
            BoxService::new(service_fn(answer))
        });
        let pool = pool(&peers, up_to(1));
        drop(pool.service().oneshot(request(method.clone())).await.unwrap());
        assert_eq!(pool.stats().idle() == 1, kept, "{method} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_or_broke_off_is_closed() {
    let peers = peers(|nth| match nth {
        1 => BoxService::new(service_fn(|_| async { Err("reset".into()) })),
        2 => BoxService::new(service_fn(|_| async {
            let (into, body) = Channel::<Bytes, BoxError>::new(1);
            into.abort("cut off".into());
            Ok(Response::new(Body::new(body)))
        })),
        3 => BoxService::new(service_fn(|_| std::future::pending())),
        _ => BoxService::new(service_fn(|_| async { Ok(Response::new(Body::empty())) })),
    });
    let pool = pool(&peers, up_to(1));
    let error = pool.service().oneshot(get()).await.unwrap_err();
    assert!(format!("{error:#}").contains("reset"));
    assert_eq!(pool.stats().open(), 0);
    let response = pool.service().oneshot(get()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(pool.stats().open(), 0);
    assert!(tokio::time::timeout(SECOND, pool.service().oneshot(get())).await.is_err());
    assert_eq!(pool.stats().open(), 0);
    let response = pool.service().oneshot(get()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    assert_eq!((pool.stats().idle(), *peers.made.lock().unwrap()), (1, 4), "an empty body has ended");
    let again = pool.service().oneshot(get()).await.unwrap();
    drop(again);
    assert_eq!((pool.stats().idle(), pool.stats().handed_out()), (1, 5));
}

/// Ready once so much time has passed since it was asked for the first time; and not, if it was told so.
struct Warm(Option<Instant>, Duration, bool);

impl Service<Request<Content>> for Warm {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let at = *self.0.get_or_insert_with(|| Instant::now() + self.1);
        if at > Instant::now() {
            let waker = cx.waker().clone();
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                waker.wake();
            });
            return Poll::Pending;
        }
        Poll::Ready(if self.2 { Ok(()) } else { Err("cold".into()) })
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        self.0 = None;
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_ready_is_waited_for_and_one_that_fails_to_be_is_closed() {
    let peers = peers(|nth| BoxService::new(Warm(None, 10 * MS, nth == 1)));
    let pool = pool(&peers, up_to(2));
    for _ in 0..2 {
        // The first time it comes from the queue, the second time it lay idle.
        let (response, took) = timed(pool.service().oneshot(get())).await;
        assert_eq!((response.unwrap().status(), took), (StatusCode::OK, 10 * MS));
    }
    let _busy = pool.get().await.unwrap();
    let (error, took) = timed(pool.service().oneshot(get())).await;
    let mut error = error.unwrap_err();
    assert!(format!("{error:#}").contains("cold"));
    assert_eq!((took, pool.stats().open()), (10 * MS, 1));
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.take_request::<Request<Content>>().is_some());
    // So with one that lies idle and is looked at before anybody waits.
    let peers = self::peers(|_| BoxService::new(Warm(None, Duration::ZERO, false)));
    let pool = self::pool(&peers, up_to(1));
    pool.get().await.unwrap().put_back();
    let mut error = pool.service().oneshot(get()).await.unwrap_err();
    assert_eq!((error.delivery(), pool.stats().open()), (Delivery::NotSent, 0));
    assert!(error.take_request::<Request<Content>>().is_some());
}

#[tokio::test(start_paused = true)]
async fn any_request_goes_through_a_pool_of_any_services() {
    struct Echoes;
    impl Manage for Echoes {
        type Object = BoxService<String, String, Infallible>;
        type Error = Infallible;
        async fn connect(&self) -> Result<Self::Object, Infallible> {
            Ok(BoxService::new(service_fn(|text: String| async move { Ok(text + "!") })))
        }
    }
    let pool = Pool::builder(Echoes).settings(up_to(1).max_waiting(0)).build().unwrap();
    let service = pool.service().plain();
    assert_eq!(service.clone().oneshot("hello".to_owned()).await.unwrap(), "hello!");
    assert_eq!(pool.stats().idle(), 1, "back when the response is there");
    let _held = pool.get().await.unwrap();
    let mut error = service.oneshot("again".to_owned()).await.unwrap_err();
    assert!(error.is_overload());
    assert_eq!(error.take_request::<String>().as_deref(), Some("again"), "it was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_what_its_pool_refuses() {
    let peers = answering(Body::empty);
    let pool = pool(&peers, up_to(1).max_waiting(1).wait_timeout(SECOND));
    let service = pool.service().answer();
    let _held = pool.get().await.unwrap();
    let waits = tokio::spawn(service.clone().oneshot(get()));
    settle().await;
    let full = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    let late = waits.await.unwrap().unwrap();
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    drop(late.into_body().collect().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_idle_one_that_was_not_used_for_a_while_is_asked_also_behind_one_that_is_dead() {
    #[derive(Clone, Default)]
    struct Asked(Arc<Mutex<Vec<usize>>>, Arc<Mutex<usize>>);
    struct Numbered(usize, bool);
    impl Service<String> for Numbered {
        type Response = usize;
        type Error = Infallible;
        type Future = std::future::Ready<Result<usize, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: String) -> Self::Future {
            std::future::ready(Ok(self.0))
        }
    }
    impl Manage for Asked {
        type Object = Numbered;
        type Error = Infallible;
        async fn connect(&self) -> Result<Numbered, Infallible> {
            let mut made = self.1.lock().unwrap();
            *made += 1;
            Ok(Numbered(*made, false))
        }
        fn is_usable(&self, object: &Numbered) -> bool {
            // The second one is fine when it is put back, and dead afterwards.
            let mut looks = self.0.lock().unwrap();
            looks.push(object.0);
            object.0 == 1 || object.1 || looks.iter().filter(|number| **number == 2).count() < 3
        }
        async fn check(&self, object: &mut Numbered) -> Result<(), Infallible> {
            object.1 = true;
            Ok(())
        }
    }
    let asked = Asked::default();
    let pool = Pool::builder(asked.clone()).settings(up_to(2).check_after(SECOND)).build().unwrap();
    let one = pool.get().await.unwrap();
    sleep(2 * SECOND).await;
    let two = pool.get().await.unwrap();
    one.put_back();
    two.put_back();
    assert_eq!(pool.service().plain().oneshot(String::new()).await.unwrap(), 1);
    assert!(pool.get().await.unwrap().1, "the older one was asked before it was used");
}

// ───────────────────────────────────────────────────────────────────────────── through other layers

fn retry() -> RetryLayer {
    RetryLayer::from(RetrySettings::new().backoff(Backoff::constant(MS).unwrap()).without_budget())
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_an_overload_that_was_not_sent_through_the_whole_stack() {
    let pool = pool(&answering(Body::empty), up_to(1).max_waiting(0));
    let _held = pool.get().await.unwrap();
    let stack = TimeoutLayer::new(10 * SECOND).layer(retry().layer(pool.service()));
    let error: Error = stack.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Overload, Delivery::NotSent, 3));
    assert_eq!(error.cause::<PoolExhausted>().map(PoolExhausted::pool), Some("peers"));
    assert_eq!(pool.stats().refused(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ran_out_keeps_its_phase_through_the_whole_stack() {
    let pool = pool(&answering(Body::empty), up_to(1).wait_timeout(2 * SECOND));
    let _held = pool.get().await.unwrap();
    let stack = TimeoutLayer::new(10 * SECOND).layer(retry().layer(pool.service()));
    let (error, took) = timed(stack.oneshot(request(Method::POST))).await;
    let error: Error = error.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Timeout, Delivery::NotSent, 3));
    assert_eq!(took, 6 * SECOND + 2 * MS);
    assert_eq!(error.cause::<Elapsed>().map(|elapsed| elapsed.phase()), Some(Phase::Pool));
    // And so where the deadline of the whole call is what runs out.
    let stack = TimeoutLayer::new(SECOND).layer(retry().layer(pool.service()));
    let (error, took) = timed(stack.oneshot(request(Method::POST))).await;
    let error: Error = error.unwrap_err();
    assert_eq!((took, error.kind(), error.delivery()), (SECOND, Kind::Timeout, Delivery::NotSent));
    assert_eq!(error.cause::<Elapsed>().map(|elapsed| elapsed.phase()), Some(Phase::Pool));
    assert!(error.cause::<PoolExhausted>().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_failed_is_told_to_several_through_the_whole_stack() {
    let mut peers = answering(Body::empty);
    peers.fails = true;
    let pool = pool(&peers, up_to(1));
    let start = Instant::now();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let stack = TimeoutLayer::new(10 * SECOND).layer(retry().layer(pool.service()));
            tokio::spawn(stack.oneshot(request(Method::POST)))
        })
        .collect();
    for call in calls {
        let mut error: Error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Connect, Delivery::NotSent, 3));
        assert!(error.cause::<ConnectFailed>().is_some());
        assert!(format!("{error:#}").ends_with("nobody is there"), "{error:#}");
        assert!(error.take_request::<Request<Full<Bytes>>>().is_some(), "it never left");
    }
    // Each attempt of all of them was one dial, after the pause of the pool and that of the retry.
    assert_eq!((*peers.made.lock().unwrap(), start.elapsed()), (3, 202 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_is_not_tried_again() {
    let pool = pool(&answering(Body::empty), up_to(1));
    pool.close().await;
    let error: Error = retry().layer(pool.service()).oneshot(get()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.forbids_retry()), (Kind::Other, 1, true));
    assert!(error.cause::<PoolClosed>().is_some());
}
