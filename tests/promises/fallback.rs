use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use stonework::base::body::ReplayBody;
use stonework::base::{
    Attempts, Backoff, BoxError, Call, Deadline, Delivery, Elapsed, Error, Event, Jitter, Kind, Phase,
};
use stonework::fallback::{Fallback, FallbackFailed, FallbackLayer, FallbackSettings};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Recorder, Scripted, Step, Strict};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Backend, Content, Counted, SECOND, answer, answered, request, timed};

fn failed(kind: Kind, delivery: Delivery) -> Step<Response<Content>> {
    Step::fail(Error::new(kind, "the first one").with_delivery(delivery))
}

/// Fails whatever it is asked, having sent nothing.
fn unreachable() -> Backend {
    Backend::script(|_, _| failed(Kind::Connect, Delivery::NotSent))
}

/// Answers with a status that tells it from the others.
fn backup() -> Backend {
    Backend::script(|_, _| answered(203))
}

fn once_a_second() -> RetryLayer {
    RetryLayer::from(RetrySettings::new().backoff(Backoff::constant(SECOND).unwrap().jitter(Jitter::None)))
}

/// Whether a call with this request, which fails like this, is answered by the other service.
async fn falls_back(sent: Request<Content>, failure: Step<Response<Content>>) -> bool {
    let mut failure = Some(failure);
    let primary = Backend::script(move |_, _| failure.take().expect("asked once"));
    let other = backup();
    let seen = other.seen();
    let result = FallbackLayer::service(other).layer(primary).oneshot(sent).await;
    assert_eq!(seen.count(), usize::from(result.is_ok()));
    result.is_ok_and(|response| response.status() == 203 && Fallback::of(&response).is_some())
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_ready_is_called_where_it_lies() {
    let (inner, clones) = Counted::of(Backend::script(|_, _| answered(200)));
    let mut with_service = FallbackLayer::service(backup()).layer(inner.clone());
    let mut with_value = FallbackLayer::value(|_| answer(203)).layer(inner);
    let before = clones.load(Ordering::Relaxed);
    for _ in 0..3 {
        with_service.ready().await.unwrap().call(request(Method::GET)).await.unwrap();
        with_value.ready().await.unwrap().call(request(Method::GET)).await.unwrap();
    }
    assert_eq!(clones.load(Ordering::Relaxed), before);
}

#[tokio::test(start_paused = true)]
async fn a_second_service_is_asked_when_the_replay_table_allows_it() {
    use Delivery::{Answered, NotSent, Refused, Unknown};
    let keyed = || {
        let mut keyed = request(Method::POST);
        keyed.headers_mut().insert("idempotency-key", "\"8e03978e\"".parse().unwrap());
        keyed
    };
    let harmless = || {
        let mut harmless = request(Method::POST);
        Call::edit(harmless.extensions_mut(), Call::dangerously_assume_idempotent);
        harmless
    };
    for delivery in [NotSent, Refused, Unknown, Answered] {
        let failure = || failed(Kind::Transport, delivery);
        let processed = matches!(delivery, Unknown | Answered);
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert!(falls_back(request(method), failure()).await, "{delivery:?}");
        }
        assert!(falls_back(keyed(), failure()).await, "{delivery:?}");
        assert!(falls_back(harmless(), failure()).await, "{delivery:?}");
        assert_eq!(falls_back(request(Method::POST), failure()).await, !processed, "{delivery:?}");
        assert_eq!(falls_back(request(Method::PATCH), failure()).await, !processed, "{delivery:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_may_have_been_received_fails_with_what_it_failed_with() {
    let primary = Backend::steps([failed(Kind::Timeout, Delivery::Unknown)]);
    let other = backup();
    let seen = other.seen();
    let service = FallbackLayer::service(other).layer(primary);
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert!(error.is_timeout() && error.cause::<FallbackFailed>().is_none());
    assert_eq!((error.delivery(), seen.count()), (Delivery::Unknown, 0));
}

#[tokio::test(start_paused = true)]
async fn unless_told_otherwise_it_falls_back_on_what_means_that_nobody_answered() {
    use Kind::{Body, CircuitOpen, Connect, Invalid, Other, Overload, Timeout, Transport};
    let value = || FallbackLayer::value(|_: &Error| answer(203));
    for kind in [Body, CircuitOpen, Connect, Invalid, Other, Overload, Timeout, Transport] {
        let nobody = !matches!(kind, Body | Invalid | Other);
        let failure = || failed(kind, Delivery::NotSent);
        assert_eq!(falls_back(request(Method::GET), failure()).await, nobody, "{kind:?}");
        let ask = |layer: Option<&[Kind]>| {
            let layer = layer.map_or(value(), |kinds| value().on(kinds.iter().copied()));
            layer.layer(Backend::steps([failure()])).oneshot(request(Method::GET))
        };
        assert_eq!(ask(None).await.is_ok(), nobody, "{kind:?}");
        assert!(ask(Some(&[Timeout, kind])).await.is_ok(), "{kind:?}: stated");
        let others = [Body, Connect].into_iter().filter(|other| *other != kind).collect::<Vec<_>>();
        assert!(ask(Some(&others)).await.is_err(), "{kind:?}: not stated");
    }
    let settings = FallbackSettings::new().on([Other]);
    let layer = value().settings(settings).layer(Backend::steps([failed(Other, Delivery::Unknown)]));
    assert!(layer.oneshot(request(Method::GET)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_an_answer_whatever_its_status() {
    for status in [200, 404, 500, 503] {
        let other = backup();
        let seen = other.seen();
        let service = FallbackLayer::service(other).layer(Backend::script(move |_, _| answered(status)));
        let response = service.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!((response.status().as_u16(), seen.count()), (status, 0));
        assert!(Fallback::of(&response).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_stands_in_whatever_the_request_and_however_far_it_got() {
    for delivery in [Delivery::NotSent, Delivery::Refused, Delivery::Unknown, Delivery::Answered] {
        for method in [Method::GET, Method::POST] {
            let primary = Backend::steps([failed(Kind::Overload, delivery)]);
            let layer = FallbackLayer::value(|error: &Error| {
                assert!(error.is_overload());
                answer(203)
            });
            let response = layer.layer(primary).oneshot(request(method)).await.unwrap();
            assert_eq!(response.status(), 203);
            assert_eq!(Fallback::of(&response).unwrap().error().delivery(), delivery);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_asks_nothing_of_a_body() {
    struct Once;
    let primary =
        service_fn(|_: Request<Once>| async { Err::<Response<&str>, _>(Error::wrap(Kind::Connect)) });
    let layer = FallbackLayer::value(|_: &Error| Response::new("instead"));
    let response = layer.layer(primary).oneshot(Request::new(Once)).await.unwrap();
    assert_eq!(*response.body(), "instead");
}

#[tokio::test(start_paused = true)]
async fn the_response_keeps_the_error_in_whose_place_it_stands() {
    let late = Error::from(Elapsed::new(Phase::Response, SECOND)).with_attempts(2);
    let primary = Backend::steps([Step::fail(late)]);
    let response =
        FallbackLayer::service(backup()).layer(primary).oneshot(request(Method::GET)).await.unwrap();
    let error = Fallback::of(&response).unwrap().error();
    assert!(error.is_timeout() && error.cause::<Elapsed>().is_some());
    assert_eq!(error.attempts(), 2);
    assert_eq!(Attempts::of(response.extensions()), None, "the other service was asked once");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_single_attempt_is_handed_on_only_if_it_came_back_unsent() {
    let once = || {
        let mut once = request(Method::GET);
        Call::edit(once.extensions_mut(), Call::never_retry);
        once
    };
    for delivery in [Delivery::NotSent, Delivery::Unknown] {
        assert!(!falls_back(once(), failed(Kind::Transport, delivery)).await, "no copy of it was kept");
    }
    let returns = |delivery| {
        service_fn(move |request: Request<Content>| async move {
            let error = Error::new(Kind::CircuitOpen, "open").with_request(request);
            Err::<Response<Content>, _>(error.with_delivery(delivery))
        })
    };
    for (delivery, expected) in [(Delivery::NotSent, 1), (Delivery::Refused, 1), (Delivery::Unknown, 0)] {
        let other = backup();
        let seen = other.seen();
        let _ = FallbackLayer::service(other).layer(returns(delivery)).oneshot(once()).await;
        assert_eq!(seen.count(), expected, "{delivery:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_single_attempt_that_was_never_made_is_handed_on() {
    for pending in [0, 2] {
        let primary = Strict::new(Backend::steps([])).pending_first(pending);
        let primary = primary.fail_readiness_at(u64::from(pending) + 1, || BoxError::from(Kind::Overload));
        let mut once = request(Method::POST);
        Call::edit(once.extensions_mut(), Call::never_retry);
        let response = FallbackLayer::service(backup()).layer(primary).oneshot(once).await.unwrap();
        assert_eq!(response.status(), 203);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_falls_back_on_nothing_still_hands_the_request_back() {
    let primary = service_fn(|request: Request<Content>| async move {
        Err::<Response<Content>, _>(Error::new(Kind::Invalid, "no").with_request(request))
    });
    let service = FallbackLayer::service(backup()).layer(primary);
    let mut error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert!(error.take_request::<Request<Content>>().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_other_service_gets_the_request_as_the_caller_wrote_it() {
    for comes_back in [false, true] {
        // A layer inside adds what is meant for its own service, and the error may hand that back.
        let primary = service_fn(move |mut request: Request<Content>| async move {
            request.headers_mut().insert("authorization", "of the first".parse().unwrap());
            *request.uri_mut() = "http://first.test/".parse().unwrap();
            let error = Error::new(Kind::Connect, "refused");
            Err::<Response<Content>, _>(if comes_back { error.with_request(request) } else { error })
        });
        let other = backup();
        let seen = other.seen();
        let mut sent = request(Method::POST);
        sent.headers_mut().insert("accept", "text/plain".parse().unwrap());
        Call::edit(sent.extensions_mut(), Call::tell_attempts);
        FallbackLayer::service(other).layer(primary).oneshot(sent).await.unwrap();

        let got = seen.take().remove(0);
        assert_eq!((got.method(), got.uri().to_string().as_str()), (&Method::POST, "/"));
        assert_eq!(got.headers().len(), 1);
        assert_eq!(got.headers()["accept"], "text/plain");
        assert_eq!(Call::of(got.extensions()), &Call::new().tell_attempts());
        assert_eq!(got.into_body().collect().await.unwrap().to_bytes(), "content");
    }
}

type Frames = std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>;
type Stream = ReplayBody<StreamBody<futures_util::stream::Iter<Frames>>>;

/// A body of unknown length.
fn stream(frames: usize, size: usize) -> Request<Stream> {
    let frames: Vec<_> = (0..frames).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; size])))).collect();
    let body = ReplayBody::new(StreamBody::new(futures_util::stream::iter(frames)));
    Request::put("/").body(body).unwrap()
}

/// Reads so many frames, keeps the rest, and fails.
fn reads(frames: usize, kept: Arc<Mutex<Option<Stream>>>) -> impl Primary {
    service_fn(move |request: Request<Stream>| {
        let kept = Arc::clone(&kept);
        async move {
            let mut body = request.into_body();
            for _ in 0..frames {
                body.frame().await.expect("a frame").expect("no error");
            }
            *kept.lock().unwrap() = Some(body);
            Err::<Response<Content>, _>(Error::new(Kind::Transport, "broke off"))
        }
    })
}

trait Primary:
    Service<Request<Stream>, Response = Response<Content>, Error = Error, Future: Send> + Clone
{
}
impl<S: Service<Request<Stream>, Response = Response<Content>, Error = Error, Future: Send> + Clone> Primary
    for S
{
}

/// Says how much it was sent.
fn counts() -> impl Service<Request<Stream>, Response = Response<Content>, Error = BoxError> + Clone {
    service_fn(|request: Request<Stream>| async {
        let length = request.into_body().collect().await?.to_bytes().len();
        Ok::<_, BoxError>(Response::new(Full::from(length.to_string())))
    })
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_partly_read_is_read_from_its_start_and_by_nobody_else() {
    let kept = Arc::default();
    let service = FallbackLayer::service(counts()).layer(reads(2, Arc::clone(&kept)));
    let response = service.oneshot(stream(4, 1_000)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "4000");
    let mut first = kept.lock().unwrap().take().expect("still there");
    let error = first.frame().await.expect("its end").expect_err("it was taken over");
    assert!(error.is::<stonework::base::body::Superseded>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_body_beyond_the_cap_is_sent_once_and_its_error_returned() {
    for (size, cap, falls_back) in [(1_000, 4_000, true), (1_000, 3_999, false), (100, 0, false)] {
        let settings = FallbackSettings::new().replay_cap(cap);
        let layer = FallbackLayer::service(counts()).settings(settings);
        let result = layer.layer(reads(4, Arc::default())).oneshot(stream(4, size)).await;
        assert_eq!(result.is_ok(), falls_back, "{cap}");
        assert!(result.is_ok() || result.unwrap_err().cause::<FallbackFailed>().is_none());
    }
    // What is known to be larger is not copied, and is handed on if it comes back.
    let primary = service_fn(|request: Request<Content>| async move {
        Err::<Response<Content>, _>(Error::new(Kind::Connect, "refused").with_request(request))
    });
    let other = backup();
    let seen = other.seen();
    let layer = FallbackLayer::service(other).settings(FallbackSettings::new().replay_cap(6));
    layer.layer(primary).oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(seen.take().remove(0).into_body().collect().await.unwrap().to_bytes(), "content");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_once_a_response_has_begun() {
    type Breaking = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Error>>>>;
    let breaks = || async {
        let frames = vec![Ok(Frame::data(Bytes::from("half"))), Err(Error::new(Kind::Transport, "reset"))];
        Ok::<_, Error>(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
    };
    let primary = service_fn(move |_: Request<Content>| breaks());
    let value = |_: &Error| -> Response<Breaking> { panic!("asked") };
    let never =
        service_fn(
            move |_: Request<Content>| async move { Ok::<_, Error>(value(&Error::wrap(Kind::Other))) },
        );
    let by_service = FallbackLayer::service(never).layer(primary).oneshot(request(Method::GET)).await;
    let by_value = FallbackLayer::value(value).layer(primary).oneshot(request(Method::GET)).await;
    for result in [by_service, by_value] {
        let mut body = result.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        assert_eq!(body.frame().await.unwrap().unwrap_err().kind(), Kind::Transport);
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn when_both_fail_the_error_is_that_of_the_first_and_shows_the_second() {
    let first = Backend::script(|_, _| {
        Step::FailAfter(SECOND, Error::from(Elapsed::new(Phase::Response, SECOND)).into())
    });
    let second = Backend::script(|_, _| failed(Kind::Connect, Delivery::NotSent));
    let layer = FallbackLayer::service(once_a_second().layer(second));
    let error = layer.layer(once_a_second().layer(first)).oneshot(request(Method::GET)).await.unwrap_err();
    assert!(error.is_timeout() && error.cause::<Elapsed>().is_some());
    assert_eq!((error.attempts(), error.delivery()), (6, Delivery::Unknown));
    let both = error.cause::<FallbackFailed>().unwrap();
    assert_eq!((both.original().attempts(), both.backup().attempts()), (3, 3));
    assert!(both.backup().is_connect());
    let text = format!("{error:#}");
    assert!(text.contains("no answer within 1s") && text.contains("the first one"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_may_have_a_fallback() {
    let last = FallbackLayer::value(|_: &Error| answer(204))
        .layer(Backend::script(|_, _| failed(Kind::Overload, Delivery::NotSent)));
    let service = FallbackLayer::service(last).layer(unreachable());
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.status(), 204);
    assert!(Fallback::of(&response).unwrap().error().is_connect(), "what the call failed with at first");
}

#[tokio::test(start_paused = true)]
async fn both_services_are_made_ready_within_the_call() {
    let primary = Strict::new(unreachable()).pending_first(2);
    let other = Strict::new(backup().stall_ready(1, SECOND)).capacity(1);
    let (first, second) = (primary.ledger(), other.ledger());
    let mut service = FallbackLayer::service(other).layer(primary);
    let call = service.ready().await.unwrap().call(request(Method::POST));
    assert_eq!((first.calls(), second.polls()), (0, 0), "nothing is reserved before it is needed");
    let (response, took) = timed(call).await;
    assert_eq!((response.unwrap().status().as_u16(), took), (203, SECOND));
    assert_eq!((first.calls(), second.calls()), (1, 1));
    drop(service);
    first.assert_settled();
    second.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_before_it_is_called_has_failed_with_nothing_sent() {
    let broken = || Error::new(Kind::Overload, "out of handles").with_delivery(Delivery::Unknown);
    // Broken at once, and broken after a wait.
    for pending in [0, 2] {
        let primary = Strict::new(Backend::steps([])).pending_first(pending);
        let primary = primary.fail_readiness_at(u64::from(pending) + 1, move || BoxError::from(broken()));
        let response = FallbackLayer::service(backup()).layer(primary).oneshot(request(Method::POST)).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 203, "a POST, for it never left");
        assert_eq!(Fallback::of(&response).unwrap().error().delivery(), Delivery::NotSent);
    }
    let other = backup().fail_ready(1, broken().into());
    let seen = other.seen();
    let service = FallbackLayer::service(other).layer(unreachable());
    let error = service.oneshot(request(Method::POST)).await.unwrap_err();
    assert!(error.is_connect() && error.cause::<FallbackFailed>().unwrap().backup().is_overload());
    assert_eq!((error.delivery(), seen.count()), (Delivery::NotSent, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_on_once_the_deadline_has_passed() {
    let late = Backend::script(|_, _| Step::FailAfter(SECOND, Kind::Transport.into()));
    let other = backup();
    let seen = other.seen();
    let told = Recorder::new();
    let service = FallbackLayer::service(other).observer(told.clone()).layer(late);
    // `bound` polls the work before it looks at the clock.
    let result = Deadline::within(SECOND).bound(service.oneshot(request(Method::GET))).await;
    let error = result.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Transport);
    assert!(error.cause::<FallbackFailed>().is_none());
    assert_eq!((seen.count(), told.events().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_value_stands_in_at_the_very_moment_when_the_time_is_over() {
    let hangs = Backend::script(|_, _| Step::Hang);
    let seen = hangs.seen();
    let fails_then = Backend::script(|_, _| Step::FailAfter(SECOND, Kind::Transport.into()));
    let never_ready = Backend::steps([]).stall_ready(1, 1_000 * SECOND);
    for (primary, kind, delivery) in [
        (hangs, Kind::Timeout, Delivery::Unknown),
        (fails_then, Kind::Transport, Delivery::Unknown),
        (never_ready, Kind::Timeout, Delivery::NotSent),
    ] {
        let service = FallbackLayer::value(|_: &Error| answer(203)).layer(primary);
        let limited = TimeoutLayer::new(SECOND).layer(service).oneshot(request(Method::POST));
        let (result, took) = timed(limited).await;
        let response = result.unwrap();
        assert_eq!((took, response.status().as_u16()), (SECOND, 203));
        let error = Fallback::of(&response).unwrap().error();
        assert_eq!((error.kind(), error.delivery()), (kind, delivery));
    }
    assert_eq!(seen.abandoned(), 1, "what hung is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_value_for_other_failures_leaves_the_deadline_as_it_is() {
    let layer = || FallbackLayer::value(|_: &Error| answer(203));
    for layer in [layer().on([Kind::Connect]), layer().when(false)] {
        let service = layer.layer(Backend::script(|_, _| Step::Hang));
        let (result, took) =
            timed(TimeoutLayer::new(SECOND).layer(service).oneshot(request(Method::GET))).await;
        let error = result.unwrap_err();
        assert_eq!((took, error.kind(), error.delivery()), (SECOND, Kind::Timeout, Delivery::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_first_is_told_when_the_time_runs_out_for_the_second() {
    let hangs = Backend::script(|_, _| Step::Hang);
    let slow = backup().stall_ready(1, 1_000 * SECOND);
    let ready_too_late = backup().stall_ready(1, SECOND);
    for (other, phase, delivery) in [
        (hangs, Phase::Response, Delivery::Unknown),
        (slow, Phase::Readiness, Delivery::NotSent),
        (ready_too_late, Phase::Readiness, Delivery::NotSent),
    ] {
        let seen = other.seen();
        let service = FallbackLayer::service(other).layer(unreachable());
        let limited = TimeoutLayer::new(SECOND).layer(service).oneshot(request(Method::POST));
        let (result, took) = timed(limited).await;
        let error = result.unwrap_err();
        assert_eq!((took, error.kind(), error.delivery()), (SECOND, Kind::Connect, delivery));
        let both = error.cause::<FallbackFailed>().unwrap();
        assert_eq!(both.backup().cause::<Elapsed>().unwrap().phase(), phase);
        assert_eq!(seen.abandoned(), u64::from(phase == Phase::Response), "what hung is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_to_be_made_is_known_not_to_be_sent_when_its_time_is_over() {
    let ready_too_late = Backend::steps([]).stall_ready(1, SECOND);
    let slow = Backend::steps([]).stall_ready(1, 1_000 * SECOND);
    for primary in [ready_too_late, slow] {
        let service = FallbackLayer::service(backup()).layer(primary);
        let limited = TimeoutLayer::new(SECOND).layer(service).oneshot(request(Method::POST));
        let (result, took) = timed(limited).await;
        let error = result.unwrap_err();
        assert_eq!((took, error.delivery()), (SECOND, Delivery::NotSent));
        assert_eq!(error.cause::<Elapsed>().unwrap().phase(), Phase::Readiness);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_inside_leaves_time_for_the_other_service() {
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(3 * SECOND))
        .layer(FallbackLayer::service(Backend::steps([Step::AnswerAfter(SECOND, answer(203))])))
        .layer(AttemptTimeoutLayer::new(SECOND))
        .service(Backend::steps([Step::Hang]));
    let (response, took) = timed(service.oneshot(request(Method::GET))).await;
    assert_eq!((response.unwrap().status().as_u16(), took), (203, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn the_call_that_failed_is_gone_before_the_other_service_is_called() {
    /// Says when it is dropped.
    struct Place(Arc<AtomicBool>);
    impl Drop for Place {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let free = Arc::new(AtomicBool::new(false));
    let (given_back, seen) = (Arc::clone(&free), free);
    let primary = service_fn(move |_: Request<Content>| {
        let place = Place(Arc::clone(&given_back));
        poll_fn(move |_| {
            // Given back by the drop, and not by the answer.
            assert!(!place.0.load(Ordering::SeqCst));
            Poll::Ready(Err::<Response<Content>, _>(Error::new(Kind::Connect, "refused")))
        })
    });
    let other = service_fn(move |_: Request<Content>| {
        assert!(seen.load(Ordering::SeqCst), "the place is free");
        async { Ok::<_, Infallible>(answer(203)) }
    });
    let service = FallbackLayer::service(other).layer(primary);
    assert_eq!(service.oneshot(request(Method::GET)).await.unwrap().status(), 203);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_drops_the_service_that_it_waits_for() {
    let hangs = || Strict::new(Backend::script(|_, _| Step::Hang)).capacity(1);
    // In the second call, and while it waits for that service to become ready.
    for held in [false, true] {
        let other = if held { hangs().held() } else { hangs() };
        let ledger = other.ledger();
        let service = FallbackLayer::service(other).layer(unreachable());
        {
            let mut call = pin!(service.oneshot(request(Method::GET)));
            let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            assert_eq!((ledger.in_flight(), ledger.waiting()), if held { (0, 1) } else { (1, 0) });
        }
        assert_eq!((ledger.in_flight(), ledger.waiting(), ledger.reservations_out()), (0, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_in_the_other_service_still_retries_when_that_of_the_first_gave_up() {
    let broken = Backend::script(|_, _| failed(Kind::Transport, Delivery::Unknown));
    let other = Backend::steps([answered(503), failed(Kind::Transport, Delivery::Unknown), answered(203)]);
    let (first, second) = (broken.seen(), other.seen());
    let layer = FallbackLayer::service(once_a_second().layer(other));
    let service = layer.layer(once_a_second().layer(broken));
    let (response, took) = timed(service.oneshot(request(Method::GET))).await;
    let response = response.unwrap();
    assert_eq!((response.status().as_u16(), took), (203, 4 * SECOND));
    assert_eq!((first.count(), second.count()), (3, 3));
    assert_eq!(Fallback::of(&response).unwrap().error().attempts(), 3);
    assert_eq!(Attempts::of(response.extensions()), Some(3), "of the other service");
}

#[tokio::test(start_paused = true)]
async fn of_retries_outside_and_in_the_other_service_one_acts() {
    // It repeats all of it, so the ones inside do not.
    let (broken, other) = (unreachable(), Backend::steps([answered(503), answered(203)]));
    let (first, second) = (broken.seen(), other.seen());
    let layer = FallbackLayer::service(once_a_second().layer(other));
    let service = once_a_second().layer(layer.layer(broken));
    assert_eq!(service.oneshot(request(Method::GET)).await.unwrap().status(), 203);
    assert_eq!((first.count(), second.count()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn whoever_listens_is_told_what_failed_when_something_else_is_asked() {
    let events = Recorder::new();
    let other = FallbackLayer::service(backup()).observer(events.clone());
    let value = FallbackLayer::value(|_: &Error| answer(203)).observer(events.clone());
    let overloaded = || {
        Backend::script(|call, _| match call {
            1 => failed(Kind::Overload, Delivery::Refused),
            2 => failed(Kind::Other, Delivery::NotSent),
            _ => answered(200),
        })
    };
    let (mut by_service, mut by_value) = (other.layer(overloaded()), value.layer(overloaded()));
    for _ in 0..3 {
        let _ = by_service.ready().await.unwrap().call(request(Method::POST)).await;
        let _ = by_value.ready().await.unwrap().call(request(Method::POST)).await;
    }
    let told = events.take();
    assert_eq!(told.len(), 2, "of each the one that fell back: {told:?}");
    for event in &told {
        let Event::FellBack { kind, delivery, .. } = event else { panic!("{event:?}") };
        assert_eq!((*kind, *delivery), (Kind::Overload, Delivery::Refused));
    }
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_passes_errors_on_and_asks_nobody() {
    let other = backup();
    let seen = other.seen();
    let layer = FallbackLayer::service(other).when(false);
    let error = layer.layer(unreachable()).oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!((error.is_connect(), seen.count()), (true, 0));
    let layer = FallbackLayer::value(|_: &Error| answer(203)).when(false).when(true);
    assert!(layer.layer(unreachable()).oneshot(request(Method::GET)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_service_costs_its_time_and_no_more() {
    let pause = Duration::from_millis(700);
    let primary = Scripted::script(move |_, _: &Request<Content>| {
        Step::<Response<Content>>::FailAfter(pause, Error::wrap(Kind::Connect).into())
    });
    let (response, took) =
        timed(FallbackLayer::service(backup()).layer(primary).oneshot(request(Method::GET))).await;
    assert_eq!((response.unwrap().status().as_u16(), took), (203, pause));
}
