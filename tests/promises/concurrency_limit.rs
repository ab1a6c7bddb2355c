//! What a limit on calls in flight promises: how many there are at once, who is next, and when a place is free again.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use stonework::base::{CircuitState, DO_NOT_RETRY, Delivery, Error, Kind};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::limit::{
    Admission, ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings, KeyedConcurrencyLimiter,
    Overloaded,
};
use stonework::retry::RetryLayer;
use stonework::testing::{Scripted, Step, Strict};
use stonework::timeout::TimeoutLayer;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::pieces::{Piece, Pieces, broken, data, pieces};
use crate::support::{
    Backend, Content, NeverReady, SECOND, answer, answered, polled, request, timed, use_up_the_budget,
};

const MS: Duration = Duration::from_millis(1);

/// Answers every call a second after it came.
fn slow() -> Backend {
    Backend::script(|_, _| Step::AnswerAfter(SECOND, answer(200)))
}

fn limiter(settings: impl Into<ConcurrencySettings>) -> ConcurrencyLimiter {
    ConcurrencyLimiter::new(settings).expect("more than zero")
}

fn ask() -> Request<Content> {
    request(Method::GET)
}

fn with(name: &'static str, value: impl ToString) -> Request<Content> {
    let mut request = ask();
    request.headers_mut().insert(name, value.to_string().parse().expect("a valid value"));
    request
}

fn user<B>(request: &Request<B>) -> String {
    request.headers().get("user").map_or("", |value| value.to_str().unwrap()).to_owned()
}

fn is_probe<B>(request: &Request<B>) -> bool {
    request.headers().contains_key("probe")
}

/// How each of so many calls ended, all of them made at once, and after how long.
async fn at_once<S>(service: &S, calls: usize) -> Vec<(Result<S::Response, S::Error>, Duration)>
where
    S: Service<Request<Content>, Future: Send> + Clone + Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    let mut all = JoinSet::new();
    for number in 0..calls {
        let service = service.clone();
        all.spawn(async move { (number, timed(service.oneshot(with("user", number))).await) });
        tokio::task::yield_now().await;
    }
    let mut all = all.join_all().await;
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, ended)| ended).collect()
}

// ───────────────────────────────────────────────────────────────────────────── refusing

#[tokio::test(start_paused = true)]
async fn of_many_that_come_at_once_exactly_as_many_as_may_be_in_flight_come_in() {
    let strict = Strict::new(slow());
    let ledger = strict.ledger();
    let limiter = limiter(7);
    let service = ConcurrencyLimitLayer::from(limiter.clone()).layer(strict);
    let all = at_once(&service, 100).await;
    assert_eq!(all.iter().filter(|(result, took)| result.is_ok() && *took == SECOND).count(), 7);
    let refused: Vec<_> = all.into_iter().filter_map(|(result, took)| Some((result.err()?, took))).collect();
    assert_eq!(refused.len(), 93);
    assert!(refused.iter().all(|(error, took)| error.is_overload() && *took == Duration::ZERO));
    assert_eq!((ledger.peak_in_flight(), limiter.in_flight(), limiter.refused()), (7, 0, 93));
    drop(service);
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_handle_of_a_layer_and_of_a_service_share_one_limit_and_two_limits_share_nothing() {
    let limiter = limiter(3);
    let layer = ConcurrencyLimitLayer::from(limiter.clone());
    let service = layer.layer(slow());
    let ways = [service.clone(), service, layer.clone().layer(slow())];
    let mut calls: Vec<_> = ways.map(|way| Box::pin(way.oneshot(ask()))).into();
    for call in &mut calls {
        assert!(polled(call).await.is_pending());
    }
    assert!(limiter.try_acquire().is_none());
    assert!(layer.layer(slow()).oneshot(ask()).await.is_err());
    assert!(ConcurrencyLimitLayer::new(1).unwrap().layer(slow()).oneshot(ask()).await.is_ok());
    drop(calls);
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn on_a_client_a_refusal_is_an_overload_that_was_not_sent_and_hands_the_request_back() {
    let limiter = limiter(1);
    let _taken = limiter.try_acquire().unwrap();
    for patience in [Duration::ZERO, SECOND] {
        let layer = ConcurrencyLimitLayer::from(limiter.clone()).wait_up_to(patience);
        let mut error = layer.layer(slow()).oneshot(with("user", "ann")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
        assert_eq!((error.retry_after(), error.forbids_retry()), (None, false));
        assert_eq!(error.cause::<Overloaded>().map(Overloaded::limit), Some(1));
        let request: Request<Content> = error.take_request().expect("it was not used up");
        assert_eq!(user(&request), "ann");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "content");
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_server_a_refusal_is_503_that_asks_to_come_back_in_a_second_unless_it_is_told_another_time() {
    let limiter = limiter(1);
    let _taken = limiter.try_acquire().unwrap();
    let layer = ConcurrencyLimitLayer::from(limiter);
    for (layer, after) in [
        (layer.clone().answer(), "1"),
        (layer.clone().retry_after(MS).answer(), "1"),
        (layer.clone().retry_after(30 * SECOND).answer(), "30"),
        (layer.answer().retry_after(90 * SECOND), "90"),
    ] {
        let service = layer.layer(slow());
        let refused = service.clone().oneshot(ask()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert_eq!(refused.headers()["retry-after"], after);
        assert!(!refused.headers().contains_key(DO_NOT_RETRY));
        let body = refused.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["status"], 503);

        let refused = service.clone().oneshot(request(Method::HEAD)).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.into_body().collect().await.unwrap().to_bytes().is_empty());

        let grpc = service.oneshot(with("content-type", "application/grpc")).await.unwrap();
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_exempt_comes_in_and_does_not_count() {
    let limiter = limiter(1);
    let service = ConcurrencyLimitLayer::from(limiter.clone()).except(is_probe).answer().layer(slow());
    let mut probe = Box::pin(service.clone().oneshot(with("probe", 1)));
    assert!(polled(&mut probe).await.is_pending());
    assert_eq!(limiter.in_flight(), 0);
    let mut call = Box::pin(service.clone().oneshot(ask()));
    assert!(polled(&mut call).await.is_pending());
    assert_eq!(limiter.in_flight(), 1);
    assert_eq!(service.clone().oneshot(with("probe", 1)).await.unwrap().status(), 200);
    assert_eq!(service.oneshot(ask()).await.unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_switched_off_is_not_there() {
    for admission in [Admission::Reject, Admission::WaitUpTo(SECOND), Admission::Backpressure] {
        let layer = ConcurrencyLimitLayer::new(1).unwrap().admission(admission).when(false);
        let all = at_once(&layer.layer(slow()), 10).await;
        assert!(all.iter().all(|(result, took)| result.is_ok() && *took == SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_above_a_limit_does_not_count_what_it_refuses_and_a_retry_comes_again() {
    let limiter = limiter(1);
    let taken = limiter.try_acquire().unwrap();
    let breaker = Breaker::new(BreakerSettings::new().consecutive_failures(1)).unwrap();
    let limited = ConcurrencyLimitLayer::from(limiter.clone()).layer(slow());
    let service = BreakerLayer::from(breaker.clone()).layer(limited.clone());
    for _ in 0..100 {
        assert!(service.clone().oneshot(ask()).await.unwrap_err().is_overload());
    }
    assert_eq!(breaker.state(), CircuitState::Closed);

    let told = ConcurrencyLimitLayer::from(limiter).retry_after(5 * SECOND).layer(slow());
    let mut call = Box::pin(RetryLayer::new().layer(told).oneshot(ask()));
    assert!(polled(&mut call).await.is_pending());
    drop(taken);
    let (result, took) = timed(call).await;
    assert_eq!(result.unwrap().status(), 200);
    assert!(took >= 6 * SECOND && took < 7 * SECOND, "{took:?}");
}

// ───────────────────────────────────────────────────────────────────────────── waiting

#[tokio::test(start_paused = true)]
async fn those_who_wait_come_in_in_the_order_in_which_they_came() {
    let backend = slow();
    let seen = backend.seen();
    let limiter = limiter(ConcurrencySettings::new(2).queue(100));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).wait_up_to(60 * SECOND).layer(backend);
    for (number, (result, took)) in at_once(&service, 20).await.into_iter().enumerate() {
        assert!(result.is_ok());
        assert_eq!(took, (u32::try_from(number).unwrap() / 2 + 1) * SECOND);
    }
    let order: Vec<_> = seen.take().iter().map(user).collect();
    assert_eq!(order, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!((limiter.in_flight(), limiter.waiting_count(), limiter.refused()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_the_settings_say_and_who_comes_then_is_refused_at_once() {
    for (settings, places) in [
        (ConcurrencySettings::new(3), 3),
        (ConcurrencySettings::new(3).queue(5), 5),
        (ConcurrencySettings::new(3).queue(0), 0),
    ] {
        let layer = ConcurrencyLimitLayer::new(settings).unwrap().wait_up_to(60 * SECOND);
        let all = at_once(&layer.layer(slow()), 20).await;
        for (number, (result, took)) in all.into_iter().enumerate() {
            if number < 3 + places {
                assert!(result.is_ok(), "{number}");
            } else {
                assert!(result.unwrap_err().is_overload());
                assert_eq!(took, Duration::ZERO, "{number}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_refused_exactly_when_patience_ends() {
    let limiter = limiter(1);
    let taken = limiter.try_acquire().unwrap();
    let backend = slow();
    let seen = backend.seen();
    let service = ConcurrencyLimitLayer::from(limiter.clone()).wait_up_to(250 * MS).layer(backend);
    for (result, took) in at_once(&service, 1).await {
        assert!(result.unwrap_err().is_overload());
        assert_eq!(took, 250 * MS);
    }
    assert_eq!((seen.count(), limiter.waiting_count(), limiter.refused()), (0, 0, 1));
    let mut call = Box::pin(service.oneshot(ask()));
    assert!(polled(&mut call).await.is_pending());
    sleep(249 * MS).await;
    drop(taken);
    assert_eq!(call.await.unwrap().status(), 200, "in time");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_in_a_queue_ends_exactly_at_its_deadline_unserved() {
    let limiter = limiter(1);
    let _taken = limiter.try_acquire().unwrap();
    let backend = slow();
    let seen = backend.seen();
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).wait_up_to(60 * SECOND);

    let service = TimeoutLayer::new(3 * SECOND).layer(layer.clone().layer(backend.clone()));
    let (result, took) = timed(service.oneshot(ask())).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), took), (Kind::Overload, Delivery::NotSent, 3 * SECOND));

    let service = TimeoutLayer::new(3 * SECOND).answer().layer(layer.answer().layer(backend));
    let (result, took) = timed(service.oneshot(ask())).await;
    assert_eq!((result.unwrap().status().as_u16(), took), (503, 3 * SECOND));
    assert_eq!((seen.count(), limiter.waiting_count(), limiter.in_flight()), (0, 0, 1));

    // The same for what has no layer.
    let acquire = limiter.acquire(60 * SECOND);
    let (result, took) = timed(stonework::base::Deadline::within(2 * SECOND).bound(acquire)).await;
    assert_eq!(took, 2 * SECOND);
    assert!(result.is_err() || result.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_gives_up_its_place() {
    let limiter = limiter(ConcurrencySettings::new(1).queue(3));
    let taken = limiter.try_acquire().unwrap();
    let service = ConcurrencyLimitLayer::from(limiter.clone()).wait_up_to(60 * SECOND).layer(slow());
    let mut waiters: Vec<_> = (0..3).map(|_| Box::pin(service.clone().oneshot(ask()))).collect();
    for waiter in &mut waiters {
        assert!(polled(waiter).await.is_pending());
    }
    assert!(service.clone().oneshot(ask()).await.is_err(), "nobody else may wait");
    drop(waiters.remove(0));
    assert_eq!(limiter.waiting_count(), 2);
    let mut another = Box::pin(service.clone().oneshot(ask()));
    assert!(polled(&mut another).await.is_pending(), "it has the place");

    // Called, and gone before it noticed: the next one is called.
    drop(taken);
    assert_eq!((limiter.in_flight(), limiter.waiting_count()), (1, 2));
    drop(waiters.remove(0));
    assert_eq!((limiter.in_flight(), limiter.waiting_count()), (1, 1));
    let (result, took) = timed(waiters.remove(0)).await;
    assert!(result.is_ok());
    assert_eq!(took, SECOND);
    assert!(another.await.is_ok());
    assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_waiter_is_woken_once_though_timers_wait_with_it() {
    let layer = ConcurrencyLimitLayer::new(ConcurrencySettings::new(1).queue(100)).unwrap();
    let service = layer.wait_up_to(600 * SECOND).layer(slow());
    let polls = Arc::new(AtomicUsize::new(0));
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let (mut call, polls) = (service.clone().oneshot(ask()).boxed(), polls.clone());
        all.spawn(async move {
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                call.as_mut().poll(cx)
            })
            .await
            .unwrap();
        });
    }
    all.join_all().await;
    // To begin, when it is called, and when it is answered; the first is not called.
    assert_eq!(polls.load(Ordering::Relaxed), 299);
}

#[tokio::test(start_paused = true)]
async fn patience_without_end_is_possible() {
    let settings = ConcurrencySettings::new(1).queue(usize::MAX);
    let layer = ConcurrencyLimitLayer::new(settings).unwrap().wait_up_to(Duration::MAX);
    let all = at_once(&layer.layer(slow()), 100).await;
    assert_eq!(
        all.into_iter().filter(|(result, _)| result.is_ok()).map(|(_, took)| took).max(),
        Some(100 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn another_limit_holds_from_now_on_and_lets_in_those_who_wait() {
    let limiter = limiter(ConcurrencySettings::new(1).queue(100));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).wait_up_to(60 * SECOND).layer(slow());
    let changes = async {
        sleep(SECOND / 2).await;
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (1, 9));
        limiter.set_limit(4);
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (4, 6));
        limiter.set_limit(2);
        assert_eq!((limiter.in_flight(), limiter.limit()), (4, 2), "nobody is thrown out");
        // At 1 s one of four leaves, and at 1.5 s the three others, of whom two hand their place on.
        sleep(SECOND + MS).await;
        assert_eq!(limiter.in_flight(), 2);
        limiter.set_limit(0);
        sleep(10 * SECOND).await;
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 4), "nobody comes in");
        limiter.set_limit(10);
    };
    let (all, ()) = tokio::join!(at_once(&service, 10), changes);
    assert!(all.iter().all(|(result, _)| result.is_ok()));
    assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
}

// ───────────────────────────────────────────────────────────────────────────── until when

type Streaming = Scripted<Request<Content>, Response<Pieces>>;

fn streaming(make: impl Fn() -> Response<Pieces> + Send + 'static) -> Streaming {
    Streaming::script(move |_, _| Step::Answer(make()))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_in_flight_until_its_body_has_ended() {
    let of_two = || pieces([data("one"), Piece::Wait(SECOND), data("two")]);
    let with_trailers = || pieces([data("one"), Piece::Wait(SECOND), Piece::Trailers]);
    let that_breaks = || pieces([data("one"), Piece::Wait(SECOND), broken()]);
    let of_known_length = || pieces([data("one"), Piece::Wait(SECOND), data("two"), Piece::Hang]);
    let endless = || pieces([data("one"), Piece::Hang]);

    let limiter = limiter(1);
    let layer = ConcurrencyLimitLayer::from(limiter.clone());
    let call = async |make: &dyn Fn() -> Response<Pieces>| {
        let response = make();
        let response = std::sync::Mutex::new(Some(response));
        let service = layer.layer(streaming(move || response.lock().unwrap().take().unwrap()));
        let response = service.oneshot(ask()).await.unwrap();
        assert_eq!(limiter.in_flight(), 1, "the head has come, the body has not");
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(limiter.in_flight(), 1, "there is more");
        body
    };
    let length = [("content-length", "6")];
    for (what, make) in [
        ("it ended", &(|| of_two().with(200, [])) as &dyn Fn() -> Response<Pieces>),
        ("with its trailers", &(|| with_trailers().with(200, []))),
        ("with the error that it ended with", &(|| that_breaks().with(200, []))),
        ("with the last byte that the head promised", &(|| of_known_length().with(200, length))),
    ] {
        let mut body = call(make).await;
        let _ = body.frame().await;
        assert_eq!(limiter.in_flight(), 0, "{what}, and is still there");
        drop(body);
        assert_eq!(limiter.in_flight(), 0, "{what}: once");
    }
    let body = call(&|| endless().with(200, [])).await;
    drop(body);
    assert_eq!(limiter.in_flight(), 0, "it was dropped");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_answer_has_no_body_is_over_with_its_head() {
    let limiter = limiter(1);
    let layer = ConcurrencyLimitLayer::from(limiter.clone());
    let endless = || pieces([data("one"), Piece::Hang]);
    for (method, status, fields) in [
        (Method::HEAD, 200, vec![("content-length", "6")]),
        (Method::GET, 204, vec![]),
        (Method::GET, 304, vec![]),
        (Method::GET, 200, vec![("content-length", "0")]),
    ] {
        let make = move || endless().with(status, fields.clone());
        let make_again = make.clone();
        let answer = layer.layer(streaming(make)).oneshot(request(method.clone())).await.unwrap();
        assert_eq!(limiter.in_flight(), 0, "{method} {status}");
        drop(answer);
        let answering = layer.clone().answer();
        let answer = answering.layer(streaming(make_again)).oneshot(request(method)).await.unwrap();
        assert_eq!(limiter.in_flight(), 0);
        drop(answer);
    }
}

#[tokio::test(start_paused = true)]
async fn until_the_head_or_in_the_plain_mode_the_body_does_not_count() {
    let limiter = limiter(1);
    let layer = ConcurrencyLimitLayer::from(limiter.clone());
    let endless = || pieces([data("one"), Piece::Hang]).with(200, []);
    let answer = layer.clone().until_head().layer(streaming(endless)).oneshot(ask()).await.unwrap();
    assert_eq!(limiter.in_flight(), 0);
    let plain = layer.plain().layer(streaming(endless)).oneshot(ask()).await.unwrap();
    assert_eq!(limiter.in_flight(), 0);
    drop((answer, plain));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_hangs_and_is_dropped_or_panics_gives_its_place_back() {
    let limiter = limiter(1);
    let layer = ConcurrencyLimitLayer::from(limiter.clone());

    let mut failed = Box::pin(layer.layer(Backend::script(|_, _| Step::fail("broken"))).oneshot(ask()));
    assert!(matches!(polled(&mut failed).await, Poll::Ready(Err(_))));
    assert_eq!(limiter.in_flight(), 0, "though the future is still there");

    let mut hangs = Box::pin(layer.layer(Backend::script(|_, _| Step::Hang)).oneshot(ask()));
    assert!(polled(&mut hangs).await.is_pending());
    assert_eq!(limiter.in_flight(), 1);
    drop(hangs);
    assert_eq!(limiter.in_flight(), 0);

    let panics = service_fn(|_: Request<Content>| async {
        panic!("on purpose") as Result<Response<Content>, Infallible>
    });
    let call = AssertUnwindSafe(layer.layer(panics).oneshot(ask()));
    assert!(call.catch_unwind().await.is_err());
    assert_eq!(limiter.in_flight(), 0);

    for admission in [Admission::Reject, Admission::WaitUpTo(SECOND), Admission::Backpressure] {
        let panics =
            service_fn(|_: Request<Content>| -> std::future::Ready<Result<Response<Content>, Infallible>> {
                panic!("on purpose")
            });
        let layer = layer.clone().admission(admission);
        let call = AssertUnwindSafe(layer.layer(panics).oneshot(ask()));
        assert!(call.catch_unwind().await.is_err());
        assert_eq!(limiter.in_flight(), 0, "{admission:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_place_is_kept_while_the_service_is_not_ready_and_given_back_if_nobody_waits_for_it() {
    let limiter = limiter(1);
    let layer = ConcurrencyLimitLayer::from(limiter.clone());
    let mut call = Box::pin(layer.layer(NeverReady).oneshot(ask()));
    assert!(polled(&mut call).await.is_pending());
    assert_eq!(limiter.in_flight(), 1);
    assert!(layer.layer(slow()).oneshot(ask()).await.unwrap_err().is_overload());
    drop(call);
    assert_eq!(limiter.in_flight(), 0);

    let (result, took) = timed(layer.layer(slow().stall_ready(1, SECOND)).oneshot(ask())).await;
    assert_eq!((result.unwrap().status().as_u16(), took), (200, 2 * SECOND));
    let error = layer.layer(slow().fail_ready(1, "broken".into())).oneshot(ask()).await.unwrap_err();
    assert!(!error.is_overload());
    assert_eq!(limiter.in_flight(), 0);
}

// ───────────────────────────────────────────────────────────────────────────── backpressure

#[tokio::test(start_paused = true)]
async fn under_backpressure_a_service_is_ready_when_there_is_room_and_keeps_the_place_for_its_call() {
    let limiter = limiter(2);
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).admission(Admission::Backpressure);
    let service = layer.layer(slow());
    let times: Vec<_> = at_once(&service, 8).await.into_iter().map(|(_, took)| took / 1_000).collect();
    let expected: Vec<_> = (0..8).map(|number| (number / 2 + 1) * MS).collect();
    assert_eq!(times, expected);

    let (mut one, mut two, mut three) = (service.clone(), service.clone(), service);
    one.ready().await.unwrap();
    two.ready().await.unwrap();
    let mut waiting = Box::pin(three.ready());
    assert!(polled(&mut waiting).await.is_pending());
    let clone = one.clone();
    assert_eq!(limiter.in_flight(), 2, "a clone has nothing reserved");
    drop(one);
    assert!(polled(&mut waiting).await.is_ready(), "the place of the one that was dropped");
    drop(waiting);
    drop((clone, two, three));
    assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_exempt_gives_back_what_readiness_reserved_for_it() {
    let limiter = limiter(1);
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).admission(Admission::Backpressure);
    let mut service = layer.except(is_probe).layer(slow());
    let mut call = Box::pin(service.ready().await.unwrap().call(with("probe", 1)));
    assert!(polled(&mut call).await.is_pending());
    assert_eq!(limiter.in_flight(), 0);
}

// ───────────────────────────────────────────────────────────────────────────── keys

#[tokio::test(start_paused = true)]
async fn one_client_does_not_touch_another_and_is_forgotten_when_nothing_of_it_is_in_flight() {
    let limiter = KeyedConcurrencyLimiter::new(ConcurrencySettings::new(2).queue(1)).unwrap();
    let layer = ConcurrencyLimitLayer::keyed(limiter.clone(), user).wait_up_to(60 * SECOND);
    let service = layer.layer(slow());
    let mut calls = Vec::new();
    for name in ["ann", "bob", "eve"] {
        for number in 0..4 {
            let mut call = Box::pin(service.clone().oneshot(with("user", name)));
            match polled(&mut call).await {
                Poll::Pending => assert!(number < 3),
                Poll::Ready(ended) => assert!(number == 3 && ended.unwrap_err().is_overload()),
            }
            if number < 3 {
                calls.push(call);
            }
        }
    }
    let mut in_flight = limiter.in_flight();
    in_flight.sort();
    assert_eq!(in_flight, [("ann", 2), ("bob", 2), ("eve", 2)].map(|(name, count)| (name.to_owned(), count)));
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(limiter.in_flight(), []);

    for number in 0..100_000 {
        drop(limiter.try_acquire(&number.to_string()).expect("it is alone"));
    }
    assert!(limiter.len() < 1_000, "{}", limiter.len());
}

// ───────────────────────────────────────────────────────────────────────────── the scheduler

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_in_one_task_that_never_yields_are_let_in_while_there_is_room() {
    let limiter = limiter(1);
    let backend = Backend::script(|_, _| answered(200));
    let reject = ConcurrencyLimitLayer::from(limiter.clone());
    for admission in [Admission::Reject, Admission::WaitUpTo(SECOND), Admission::Backpressure] {
        let mut service = reject.clone().admission(admission).layer(backend.clone());
        tokio::task::yield_now().await;
        use_up_the_budget().await;
        for number in 0..10_000 {
            std::future::poll_fn(|cx| {
                assert!(service.poll_ready(cx).is_ready(), "{number}");
                Poll::Ready(())
            })
            .await;
            let mut call = Box::pin(service.call(ask()));
            assert!(matches!(polled(&mut call).await, Poll::Ready(Ok(_))), "{admission:?} {number}");
        }
        assert!(!tokio::task::coop::has_budget_remaining());
    }
    assert_eq!((limiter.refused(), limiter.in_flight()), (0, 0));
}

#[test]
fn never_more_are_in_flight_than_may_be_however_many_threads_come_and_go() {
    const LIMIT: usize = 8;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    for admission in [Admission::Reject, Admission::WaitUpTo(60 * SECOND), Admission::Backpressure] {
        let limiter = limiter(ConcurrencySettings::new(LIMIT).queue(500));
        let (now, peak, served) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let service = service_fn({
            let (now, peak, served) = (now.clone(), peak.clone(), served.clone());
            move |_: Request<Content>| {
                let (now, peak, served) = (now.clone(), peak.clone(), served.clone());
                async move {
                    /// Counts down also when the call is dropped.
                    struct Leaves(Arc<AtomicUsize>);
                    impl Drop for Leaves {
                        fn drop(&mut self) {
                            self.0.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let leaves = Leaves(now);
                    for _ in 0..fastrand::u32(0..5) {
                        tokio::task::yield_now().await;
                    }
                    served.fetch_add(1, Ordering::SeqCst);
                    drop(leaves);
                    Ok::<_, Infallible>(answer(200))
                }
            }
        });
        let service = ConcurrencyLimitLayer::from(limiter.clone()).admission(admission).layer(service);
        runtime.block_on(async {
            let mut all = JoinSet::new();
            for _ in 0..1_000 {
                let service = service.clone();
                all.spawn(async move {
                    for _ in 0..5 {
                        let mut call = Box::pin(service.clone().oneshot(ask()));
                        let polls = if fastrand::bool() { usize::MAX } else { fastrand::usize(0..10) };
                        let mut left = polls;
                        // Given up after so many polls.
                        let _: Option<Result<_, Error>> = std::future::poll_fn(|cx| {
                            if left == 0 {
                                return Poll::Ready(None);
                            }
                            left -= 1;
                            let polled = call.as_mut().poll(cx).map(Some);
                            if polled.is_pending() && polls != usize::MAX {
                                cx.waker().wake_by_ref();
                            }
                            polled
                        })
                        .await;
                    }
                });
            }
            tokio::time::timeout(30 * SECOND, all.join_all()).await.expect("nobody is forgotten");
        });
        assert!(peak.load(Ordering::SeqCst) <= LIMIT, "{admission:?}: {peak:?}");
        let least = if admission == Admission::Reject { LIMIT } else { 1_000 };
        assert!(served.load(Ordering::SeqCst) >= least, "{admission:?}: {served:?}");
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0), "{admission:?}");
        drop(service);
    }
}
