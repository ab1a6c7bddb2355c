//! One call for all who ask for the same.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::header::{HeaderMap, HeaderName};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::base::body::Body;
use stonework::base::{Deadline, Delivery, Error, Kind, RequestId, Rng};
use stonework::coalesce::{CoalesceLayer, CoalesceSettings, Coalesced, SharedCallFailed};
use stonework::observe::RequestIdLayer;
use stonework::testing::Step;
use stonework::timeout::TimeoutLayer;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Backend, Content, SECOND, answer, with_header};

const MS: Duration = Duration::from_millis(1);

fn get() -> Request<Content> {
    Request::get("http://a.test/x").body(Content::default()).unwrap()
}

fn with(name: &'static str, value: &str) -> Request<Content> {
    crate::support::with_request_header(get(), name, value)
}

fn says(text: &'static str) -> Response<Content> {
    answer(200).map(|_| Content::from(text))
}

async fn read<B>(response: Response<B>) -> Bytes
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    response.into_body().collect().await.unwrap().to_bytes()
}

/// With a type that hides what is below: otherwise the compiler wants to know of a `BoxError` for which lifetime it is one.
fn over(
    backend: Backend,
) -> impl Service<Request<Content>, Response = Response<Coalesced<Content>>, Error = Error, Future: Send>
+ Clone
+ Send
+ 'static {
    CoalesceLayer::new().layer(backend)
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_for_the_same_at_the_same_time_share_one_call_and_who_comes_later_has_another() {
    let backend = Backend::script(|_, _| Step::AnswerAfter(SECOND, says("the answer")));
    let (seen, service) = (backend.seen(), over(backend));
    let start = Instant::now();
    let tasks = (0..100).map(|at| {
        let service = service.clone();
        tokio::spawn(async move {
            sleep(at * 9 * MS).await;
            read(service.oneshot(get()).await.unwrap()).await
        })
    });
    for answer in join_all(tasks).await {
        assert_eq!(answer.unwrap(), "the answer");
    }
    assert_eq!((seen.count(), start.elapsed()), (1, SECOND));
    service.oneshot(get()).await.unwrap();
    assert_eq!(seen.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_says_anything_else_has_a_call_of_their_own() {
    let backend = Backend::script(|_, _| Step::AnswerAfter(SECOND, answer(200)));
    let (seen, service) = (backend.seen(), over(backend));
    let post =
        |method| Request::builder().method(method).uri("http://a.test/x").body(Content::default()).unwrap();
    let others: [fn() -> Request<Content>; 10] = [
        || with("authorization", "Bearer a"),
        || with("authorization", "Bearer b"),
        || with("cookie", "id=1"),
        || with("x-api-key", "k"),
        || with("range", "bytes=0-1"),
        || with("if-none-match", "\"v1\""),
        || with("accept", "text/html"),
        || Request::get("http://b.test/x").body(Content::default()).unwrap(),
        || Request::get("http://a.test/x?y").body(Content::default()).unwrap(),
        || Request::head("http://a.test/x").body(Content::default()).unwrap(),
    ];
    let twice = others.iter().chain(&others).map(|request| service.clone().oneshot(request()));
    join_all(twice).await;
    assert_eq!(seen.take().len(), others.len(), "one for each");
    let never: [fn() -> Request<Content>; 3] = [
        || with("cache-control", "no-cache"),
        || with("upgrade", "websocket"),
        || get().map(|_| Content::from("a body")),
    ];
    let twice = never.iter().chain(&never).map(|request| service.clone().oneshot(request()));
    join_all(twice).await;
    assert_eq!(seen.take().len(), 2 * never.len());
    join_all(
        [Method::POST, Method::POST, Method::PUT, Method::PUT]
            .into_iter()
            .map(|method| service.clone().oneshot(post(method))),
    )
    .await;
    assert_eq!(seen.take().len(), 4);
    let off = CoalesceLayer::new().when(false).layer(service);
    let off = CoalesceLayer::new().when(false).layer(off);
    join_all([(); 2].map(|()| off.clone().oneshot(with("cache-control", "no-store")))).await;
    assert_eq!(seen.take().len(), 2, "switched off");
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_one_is_given_to_one_and_the_others_ask_themselves() {
    for (name, value, calls) in [
        ("set-cookie", "id=1", 5),
        ("cache-control", "private", 5),
        ("cache-control", "no-store", 5),
        ("vary", "*", 5),
        ("cache-control", "max-age=60", 1),
        ("vary", "accept, authorization", 1),
    ] {
        let number = AtomicUsize::new(0);
        let backend = Backend::script(move |_, _| {
            let number = number.fetch_add(1, Ordering::Relaxed).to_string();
            Step::AnswerAfter(SECOND, with_header(with_header(answer(200), name, value), "number", &number))
        });
        let (seen, service) = (backend.seen(), over(backend));
        let answers = join_all([(); 5].map(|()| service.clone().oneshot(get()))).await;
        let mut numbers: Vec<_> =
            answers.into_iter().map(|answer| answer.unwrap().headers()["number"].clone()).collect();
        numbers.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        numbers.dedup();
        assert_eq!((seen.count(), numbers.len()), (calls, calls), "{name}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn fields_that_do_not_count_count_where_the_answer_varies_by_them() {
    let backend = Backend::script(|_, request| {
        let tenant = request.headers().get("x-request-id").map_or("none", |value| value.to_str().unwrap());
        let answer = with_header(with_header(answer(200), "of", tenant), "vary", "X-Request-Id");
        Step::AnswerAfter(SECOND, if request.uri().path() == "/x" { answer } else { says("all") })
    });
    let (seen, service) = (backend.seen(), over(backend));
    let ask = |tenant| service.clone().oneshot(with("x-request-id", tenant));
    let answers = join_all(["a", "b", "a"].map(ask)).await;
    let of: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().headers()["of"].clone()).collect();
    assert_eq!(
        (of, seen.take().len()),
        (vec!["a", "b", "a"].into_iter().map(|of| of.parse().unwrap()).collect(), 2)
    );
    let elsewhere = |tenant| {
        let mut request = with("x-request-id", tenant);
        *request.uri_mut() = "http://a.test/y".parse().unwrap();
        service.clone().oneshot(request)
    };
    join_all(["a", "b", "a"].map(elsewhere)).await;
    assert_eq!(seen.take().len(), 1);
    let none = CoalesceSettings::new().ignored_headers([] as [HeaderName; 0]);
    let strict =
        CoalesceLayer::from(none).layer(Backend::script(|_, _| Step::AnswerAfter(SECOND, answer(200))));
    let answers = join_all(["a", "b"].map(|id| strict.clone().oneshot(with("x-request-id", id)))).await;
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn who_is_left_alone_with_an_answer_that_varies_asks_for_itself() {
    let backend = Backend::script(|_, request| {
        let tenant = request.headers()["x-request-id"].to_str().unwrap();
        let varies = with_header(answer(200), "vary", "X-Request-Id");
        Step::AnswerAfter(SECOND, with_header(varies, "of", tenant))
    });
    let (seen, service) = (backend.seen(), over(backend));
    for (follower, calls) in [("a", 1), ("b", 2)] {
        let begins = tokio::spawn(service.clone().oneshot(with("x-request-id", "a")));
        sleep(100 * MS).await;
        let follows = tokio::spawn(service.clone().oneshot(with("x-request-id", follower)));
        sleep(100 * MS).await;
        begins.abort();
        assert_eq!(follows.await.unwrap().unwrap().headers()["of"], follower);
        assert_eq!(seen.take().len(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_one_who_began_leaves_the_others_go_on_with_the_same_call() {
    let backend = Backend::script(|_, _| Step::AnswerAfter(SECOND, says("the answer")));
    let (seen, service) = (backend.seen(), over(backend));
    let begins = tokio::spawn(service.clone().oneshot(get()));
    sleep(100 * MS).await;
    let follows: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(get()))).collect();
    sleep(100 * MS).await;
    begins.abort();
    follows[0].abort();
    let start = Instant::now();
    for task in follows.into_iter().skip(1) {
        assert_eq!(read(task.await.unwrap().unwrap()).await, "the answer");
    }
    assert_eq!((seen.count(), start.elapsed()), (1, 800 * MS));
    // With the last one it is dropped, and the next begins anew.
    let alone = tokio::spawn(service.clone().oneshot(get()));
    sleep(100 * MS).await;
    assert_eq!(seen.in_flight(), 1);
    alone.abort();
    sleep(MS).await;
    assert_eq!((seen.in_flight(), seen.abandoned()), (0, 1));
    service.oneshot(get()).await.unwrap();
    assert_eq!(seen.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_call_has_the_name_of_the_one_who_began_it_whoever_drives_it() {
    let backend = service_fn(|_: Request<Content>| async {
        let name = RequestId::current();
        sleep(SECOND).await;
        assert!(name.is_some());
        assert_eq!(RequestId::current(), name);
        Ok::<_, Error>(says("the answer"))
    });
    let service = RequestIdLayer::new().layer(CoalesceLayer::new().layer(backend));
    let begins = tokio::spawn(service.clone().oneshot(get()));
    sleep(100 * MS).await;
    let follows = tokio::spawn(service.oneshot(get()));
    sleep(100 * MS).await;
    begins.abort();
    assert_eq!(read(follows.await.unwrap().unwrap()).await, "the answer");
}

#[tokio::test(start_paused = true)]
async fn each_leaves_at_their_own_deadline_and_takes_nothing_from_the_others() {
    let backend = service_fn(|_: Request<Content>| async {
        assert_eq!(Deadline::current(), None, "it is a part of nobody's time");
        sleep(SECOND).await;
        Ok::<_, Error>(says("the answer"))
    });
    let service = CoalesceLayer::new().layer(backend);
    let asks = [100, 2_000, 500].map(|limit| {
        let service = TimeoutLayer::new(limit * MS).layer(service.clone());
        async move {
            let start = Instant::now();
            (service.oneshot(get()).await.map_err(|error| error.kind()).is_ok(), start.elapsed())
        }
    });
    let ends = join_all(asks).await;
    assert_eq!(ends, [(false, 100 * MS), (true, SECOND), (false, 500 * MS)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_and_is_what_it_is_to_one() {
    let failed =
        || Error::new(Kind::Overload, "full").with_delivery(Delivery::Unknown).with_retry_after(SECOND);
    let backend = Backend::script(move |_, _| Step::FailAfter(SECOND, failed().into()));
    let (seen, service) = (backend.seen(), over(backend));
    let results = join_all([(); 3].map(|()| service.clone().oneshot(get()))).await;
    let mut alone = 0;
    for result in results {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::Unknown));
        assert_eq!(error.retry_after(), Some(SECOND));
        match error.cause::<SharedCallFailed>() {
            Some(shared) => assert!(shared.error().is_overload()),
            None => alone += 1,
        }
    }
    assert!(alone <= 1, "the last one has the error itself");
    assert_eq!(seen.count(), 1);
    let unsent = service_fn(|request: Request<Content>| async {
        Err::<Response<Content>, _>(Error::new(Kind::Connect, "refused").with_request(request))
    });
    let mut error = CoalesceLayer::new().layer(unsent).oneshot(get()).await.unwrap_err();
    assert!(error.take_request::<Request<Content>>().is_some(), "nothing is lost of what is for one");
}

/// An answer in pieces, of which one comes each second.
fn in_pieces(pieces: usize, broken: bool) -> Response<Body> {
    let frames = futures_util::stream::unfold(0, move |at| async move {
        sleep(SECOND).await;
        match at {
            at if at < pieces => Some((Ok(Frame::data(Bytes::from_static(b"0123456789"))), at + 1)),
            at if at == pieces && broken => Some((Err(Error::new(Kind::Body, "broken off")), at + 1)),
            at if at == pieces => {
                let trailers =
                    HeaderMap::from_iter([(HeaderName::from_static("sum"), "ok".parse().unwrap())]);
                Some((Ok(Frame::trailers(trailers)), at + 1))
            }
            _ => None,
        }
    });
    Response::new(Body::new(StreamBody::new(Box::pin(frames))))
}

type Calls = Arc<AtomicUsize>;

fn streams(
    pieces: usize,
    broken: bool,
) -> (
    impl Service<Request<Content>, Response = Response<Body>, Error = Error, Future: Send> + Clone + Send,
    Calls,
) {
    let calls = Calls::default();
    let counted = Arc::clone(&calls);
    let service = service_fn(move |_: Request<Content>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(SECOND).await;
            Ok(in_pieces(pieces, broken))
        }
    });
    (service, calls)
}

#[tokio::test(start_paused = true)]
async fn bodies_are_shared_with_their_trailers_up_to_the_limit_and_beyond_it_never_cut_short() {
    let settings = CoalesceSettings::new().max_body(30);
    for (pieces, calls) in [(0, 1), (3, 1), (4, 4), (100, 4)] {
        let (inner, counted) = streams(pieces, false);
        let service = CoalesceLayer::from(settings.clone()).layer(inner);
        let asks = [(); 4].map(|()| async {
            let body = service.clone().oneshot(get()).await.unwrap().into_body();
            let all = body.collect().await.unwrap();
            assert_eq!(all.trailers().unwrap()["sum"], "ok");
            all.to_bytes()
        });
        for body in join_all(asks).await {
            assert_eq!(body, "0123456789".repeat(pieces));
        }
        assert_eq!(counted.load(Ordering::Relaxed), calls, "{pieces} pieces");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_shares_streams_and_is_not_joined_any_more() {
    let (inner, counted) = streams(1_000, false);
    let service = CoalesceLayer::new().layer(inner);
    let start = Instant::now();
    let response = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(start.elapsed(), SECOND, "with its head");
    drop(service.oneshot(get()).await.unwrap());
    assert_eq!(counted.load(Ordering::Relaxed), 2);
    drop::<Response<Coalesced<Body>>>(response);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_fails_the_call_of_all_who_share_it() {
    let (inner, counted) = streams(2, true);
    let service = CoalesceLayer::new().layer(inner);
    for result in join_all([(); 3].map(|()| service.clone().oneshot(get()))).await {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered));
    }
    assert_eq!(counted.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_call_leaves_nobody_waiting() {
    let service = CoalesceLayer::new().layer(service_fn(|_: Request<Content>| async {
        sleep(SECOND).await;
        if Instant::now().elapsed().is_zero() {
            panic!("on purpose");
        }
        Ok::<_, Error>(says("never"))
    }));
    let asks = [(); 3].map(|()| AssertUnwindSafe(service.clone().oneshot(get())).catch_unwind());
    let ends = tokio::time::timeout(10 * SECOND, join_all(asks)).await.unwrap();
    assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 1, "whoever drove it");
    assert!(ends.into_iter().flatten().all(|end| end.is_err()));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_at_whatever_moment_the_others_are_answered_and_nothing_is_left() {
    for seed in 0..200 {
        let rng = Rng::seeded(seed);
        let script = rng.clone();
        let backend = Backend::script(move |_, _| {
            let after = script.below(40) as u32 * MS;
            match script.below(6) {
                0 => Step::FailAfter(after, "lost".into()),
                1 => Step::AnswerAfter(after, with_header(says("the answer"), "set-cookie", "id=1")),
                _ => Step::AnswerAfter(after, says("the answer")),
            }
        });
        let (seen, service) = (backend.seen(), over(backend));
        let callers = (0..20).map(|_| {
            let (begins, stays) = (rng.below(60) as u32 * MS, rng.below(50) as u32 * MS);
            let (leaves, service) = (rng.below(2) == 0, service.clone());
            tokio::spawn(async move {
                sleep(begins).await;
                let call = service.oneshot(get());
                if leaves {
                    let _ = tokio::time::timeout(stays, call).await;
                    return;
                }
                let ended = tokio::time::timeout(SECOND, call).await.expect("nobody waits for ever");
                if let Ok(response) = ended {
                    assert_eq!(read(response).await, "the answer");
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        assert_eq!(seen.in_flight(), 0, "seed {seed}");
        assert!(seen.count() <= 20, "seed {seed}");
    }
}

/// In real time and on real threads, since that is where wake-ups are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_threads() {
    let calls = Calls::default();
    let counted = Arc::clone(&calls);
    let service = CoalesceLayer::new().layer(service_fn(move |_: Request<Content>| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            for _ in 0..number % 7 {
                tokio::task::yield_now().await;
            }
            Ok::<_, Error>(says("the answer"))
        }
    }));
    let tasks = (0..8).map(|at| {
        let service = service.clone();
        tokio::spawn(async move {
            for round in 0..2_000 {
                let mut call = Box::pin(service.clone().oneshot(get()));
                if (round + at) % 5 == 0 {
                    // One poll, and away.
                    let _ = futures_util::poll!(&mut call);
                    continue;
                }
                assert_eq!(read(call.await.unwrap()).await, "the answer");
            }
        })
    });
    let all = tokio::time::timeout(Duration::from_secs(60), join_all(tasks.collect::<Vec<_>>()));
    assert!(all.await.expect("somebody hangs").iter().all(Result::is_ok));
    assert!(calls.load(Ordering::Relaxed) > 0);
}
