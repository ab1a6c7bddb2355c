use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, StreamBody};
use stonework::base::{Deadline, Delivery, Elapsed, Error, Kind, Phase, deadline};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Scripted, Step};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::{Instant, advance, sleep, sleep_until};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Backend, NeverReady, SECOND, answer, answered, request, timed, with_header};

fn phase(error: &Error) -> Option<Phase> {
    error.cause::<Elapsed>().map(Elapsed::phase)
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_becomes_a_timeout_at_exactly_the_limit() {
    for late in [Duration::from_millis(1_001), 2 * SECOND, 1_000 * SECOND] {
        let slow = Scripted::<&str, &str>::steps([Step::AnswerAfter(late, "late")]);
        let service = TimeoutLayer::new(SECOND).layer(slow);
        let (result, took) = timed(service.oneshot("hello")).await;
        let error = result.unwrap_err();
        assert_eq!(took, SECOND);
        assert!(error.is_timeout());
        assert_eq!(error.cause::<Elapsed>().unwrap().granted(), Some(SECOND));
        assert_eq!(error.delivery(), Delivery::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_passes_through_untouched() {
    let slow = Scripted::<&str, &str>::steps([Step::AnswerAfter(SECOND / 2, "in time")]);
    let service = TimeoutLayer::new(SECOND).layer(AttemptTimeoutLayer::new(SECOND).layer(slow));
    let (result, took) = timed(service.oneshot("hello")).await;
    assert_eq!((result.unwrap(), took), ("in time", SECOND / 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_and_the_deadline_in_the_same_poll_yield_the_answer() {
    let at = Instant::now() + SECOND;
    let punctual = service_fn(move |()| async move {
        sleep_until(at).await;
        Ok::<_, io::Error>("in time")
    });
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(AttemptTimeoutLayer::new(SECOND))
        .service(punctual);
    let call = service.oneshot(());
    assert_eq!(call.await.unwrap(), "in time");

    // A task that is woken far too late finds both: the work is done and paid for.
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let answers = service_fn(move |()| {
        let done = Arc::clone(&seen);
        poll_fn(move |_| match done.load(Ordering::SeqCst) {
            true => Poll::Ready(Ok::<_, io::Error>("in time")),
            false => Poll::Pending,
        })
    });
    let mut call = Box::pin(TimeoutLayer::new(SECOND).layer(answers).oneshot(()));
    assert!(poll_once(&mut call).is_pending());
    tokio::time::advance(10 * SECOND).await;
    done.store(true, Ordering::SeqCst);
    assert!(matches!(poll_once(&mut call), Poll::Ready(Ok("in time"))));
}

fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_is_part_of_the_call() {
    let mut service = TimeoutLayer::new(SECOND).layer(NeverReady);
    let service = ServiceExt::<Request<()>>::ready(&mut service).await.expect("always ready");
    let (result, took) = timed(service.call(Request::new(()))).await;
    let error = result.unwrap_err();
    assert_eq!(took, SECOND);
    assert_eq!(phase(&error), Some(Phase::Readiness));
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_becomes_ready_when_the_time_is_over_is_not_called() {
    for late in [SECOND, 10 * SECOND] {
        let backend = Backend::script(|_, _| answered(200)).stall_ready(1, SECOND);
        let seen = backend.seen();
        let mut call = Box::pin(TimeoutLayer::new(SECOND).layer(backend).oneshot(request(Method::POST)));
        assert!(poll_once(&mut call).is_pending());
        tokio::time::advance(late).await;
        let error = call.await.unwrap_err();
        assert_eq!((seen.count(), phase(&error)), (0, Some(Phase::Readiness)));
        assert_eq!(error.delivery(), Delivery::NotSent);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_limit_covers_the_readiness_it_waits_for_and_never_breaks_the_service() {
    let backend = Backend::steps([answered(200), answered(200)]).stall_ready(1, 5 * SECOND);
    let mut service = AttemptTimeoutLayer::new(SECOND).layer(backend);

    let (ready, took) = timed(async { service.ready().await.map(|_| ()) }).await;
    ready.expect("running out of time is told by the call, not by the readiness");
    assert_eq!(took, SECOND);
    let error = service.call(request(Method::GET)).await.unwrap_err();
    assert_eq!((phase(&error), error.delivery()), (Some(Phase::Readiness), Delivery::NotSent));

    // Once the service has recovered, so has the layer.
    sleep(10 * SECOND).await;
    let response = service.ready().await.unwrap().call(request(Method::GET)).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_is_not_charged_to_the_next_attempt() {
    let backend = Backend::script(|_, _| answered(200)).stall_ready(1, SECOND / 2);
    let mut service = AttemptTimeoutLayer::new(SECOND).layer(backend);
    let given_up = ServiceExt::<Request<crate::support::Content>>::ready(&mut service);
    assert!(tokio::time::timeout(SECOND / 10, given_up).await.is_err());
    sleep(10 * SECOND).await;
    let response = service.ready().await.unwrap().call(request(Method::GET)).await;
    assert_eq!(response.expect("the service has long been ready").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_wait_whose_end_nobody_made_use_of_is_not_charged_to_the_next_attempt() {
    // Ready in time, for a call that never came.
    let hang = Backend::steps([Step::Hang]).stall_ready(1, 9 * SECOND / 10);
    let mut service = AttemptTimeoutLayer::new(SECOND).layer(hang);
    ServiceExt::<Request<crate::support::Content>>::ready(&mut service).await.unwrap();
    sleep(20 * SECOND).await;
    let (result, took) =
        timed(async { service.ready().await.unwrap().call(request(Method::GET)).await }).await;
    assert_eq!((phase(&result.unwrap_err()), took), (Some(Phase::Response), SECOND));
}

#[tokio::test(start_paused = true)]
async fn two_that_are_never_ready_do_not_wait_for_each_other_for_ever() {
    let hangs = || Backend::steps([Step::Hang]).stall_ready(1, 3_600 * SECOND);
    let [mut one, mut other] = [(); 2].map(|()| AttemptTimeoutLayer::new(2 * SECOND).layer(hangs()));
    // As a service of services does. What was ready is so still.
    let both = std::future::poll_fn(|cx| {
        let one = Service::<Request<crate::support::Content>>::poll_ready(&mut one, cx);
        let other = Service::<Request<crate::support::Content>>::poll_ready(&mut other, cx);
        if one.is_ready() && other.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    });
    let ((), took) = timed(both).await;
    assert_eq!(took, 2 * SECOND);
    let begun = Instant::now();
    let in_turn = async {
        ServiceExt::<Request<crate::support::Content>>::ready(&mut one).await.unwrap();
        sleep(20 * SECOND).await;
        ServiceExt::<Request<crate::support::Content>>::ready(&mut other).await.unwrap();
        ServiceExt::<Request<crate::support::Content>>::ready(&mut one).await.unwrap();
    };
    in_turn.await;
    assert_eq!(begun.elapsed(), 20 * SECOND);
    assert_eq!(phase(&one.call(request(Method::GET)).await.unwrap_err()), Some(Phase::Readiness));
}

#[tokio::test(start_paused = true)]
async fn what_never_reached_a_service_that_broke_before_it_was_called_was_not_sent() {
    for stalled in [false, true] {
        let backend = Backend::steps([]).fail_ready(1, "out of file descriptors".into());
        let backend = if stalled { backend.stall_ready(1, SECOND / 2) } else { backend };
        let service = TimeoutLayer::new(SECOND).layer(backend);
        let error = service.oneshot(request(Method::POST)).await.unwrap_err();
        assert!(format!("{error:#}").contains("out of file descriptors"));
        assert_eq!(error.delivery(), Delivery::NotSent, "stalled: {stalled}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_breaks_while_it_is_waited_for_says_so_itself() {
    let mut asked = 0;
    let mut service = AttemptTimeoutLayer::new(SECOND).layer(Readies(move |cx: &mut Context<'_>| {
        cx.waker().wake_by_ref();
        asked += 1;
        match asked {
            1 => Poll::Pending,
            2 => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            _ => panic!("nobody asks a broken service again"),
        }
    }));
    let error = ServiceExt::<()>::ready(&mut service).await.map(|_| ()).unwrap_err();
    assert_eq!(error.cause::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_ready_in_the_last_moment_is_called_and_has_all_the_time_there_is() {
    let end = Instant::now() + SECOND;
    let mut service = AttemptTimeoutLayer::new(SECOND).layer(Readies(move |_: &mut Context<'_>| {
        if Instant::now() < end { Poll::Pending } else { Poll::Ready(Ok(())) }
    }));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Service::<()>::poll_ready(&mut service, &mut cx).is_pending());
    advance(SECOND).await;
    assert!(matches!(Service::<()>::poll_ready(&mut service, &mut cx), Poll::Ready(Ok(()))));
    assert!(Service::<()>::call(&mut service, ()).await.is_ok());
}

/// A service that is as ready as this says.
#[derive(Clone)]
struct Readies<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Poll<io::Result<()>>> Service<()> for Readies<F> {
    type Response = ();
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<()>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (self.0)(cx)
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_readiness_took_is_missing_from_the_attempt() {
    let hang = Backend::steps([Step::Hang]).stall_ready(1, SECOND / 2);
    let service = AttemptTimeoutLayer::new(SECOND).layer(hang);
    let (result, took) = timed(service.oneshot(request(Method::GET))).await;
    assert_eq!(phase(&result.unwrap_err()), Some(Phase::Response));
    assert_eq!(took, SECOND);
}

#[tokio::test(start_paused = true)]
async fn every_phase_ends_exactly_at_the_deadline_and_the_error_names_it() {
    let second_attempt_never_ready =
        Backend::steps([answered(500), answered(200)]).stall_ready(2, 1_000 * SECOND);
    let hangs = Backend::steps([Step::Hang]);
    let first_never_ready = Backend::steps([answered(200)]).stall_ready(1, 1_000 * SECOND);
    let second_hangs = Backend::steps([answered(500), Step::Hang]);
    for (backend, expected, attempts, delivery) in [
        (first_never_ready, Phase::Readiness, 0, Delivery::NotSent),
        (hangs, Phase::Response, 1, Delivery::Unknown),
        (second_attempt_never_ready, Phase::Readiness, 1, Delivery::Answered),
        (second_hangs, Phase::Response, 2, Delivery::Unknown),
    ] {
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::new(3 * SECOND))
            .layer(RetryLayer::new())
            .service(backend);
        let (result, took) = timed(service.oneshot(request(Method::GET))).await;
        let error = result.unwrap_err();
        assert_eq!(took, 3 * SECOND, "{error:?}");
        assert_eq!(phase(&error), Some(expected), "{error:?}");
        assert_eq!((error.attempts(), error.delivery()), (attempts, delivery), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_limited_and_cut_to_what_is_left_of_the_call() {
    let backend = Backend::script(|_, _| Step::Hang);
    let seen = backend.seen();
    let settings = RetrySettings::new().attempts(10).backoff(
        stonework::base::Backoff::constant(Duration::from_millis(100))
            .expect("valid")
            .jitter(stonework::base::Jitter::None),
    );
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(2_500)))
        .layer(RetryLayer::from(settings))
        .layer(AttemptTimeoutLayer::new(SECOND))
        .service(backend);
    let (result, took) = timed(service.oneshot(request(Method::GET))).await;
    let error = result.unwrap_err();
    // 1 s, pause, 1 s, pause, and the 300 ms that are left.
    assert_eq!((took, error.attempts()), (Duration::from_millis(2_500), 3));
    assert_eq!(error.cause::<Elapsed>().unwrap().granted(), Some(Duration::from_millis(300)));
    assert_eq!(seen.abandoned(), 3, "an attempt that timed out is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_would_outlast_the_deadline_is_not_begun() {
    let busy = with_header(answer(503), "retry-after", "10");
    let backend = Backend::steps([Step::Answer(busy)]);
    let service =
        ServiceBuilder::new().layer(TimeoutLayer::new(3 * SECOND)).layer(RetryLayer::new()).service(backend);
    let (result, took) = timed(service.oneshot(request(Method::GET))).await;
    let response = result.expect("the last answer is returned");
    assert_eq!((response.status().as_u16(), took), (503, Duration::ZERO));
    assert_eq!(response.headers()["retry-after"], "10");
}

#[tokio::test(start_paused = true)]
async fn a_spent_deadline_refuses_before_any_work() {
    let backend = Backend::script(|_, _| answered(200));
    let seen = backend.seen();
    let limited = TimeoutLayer::new(SECOND).layer(backend.clone());
    let attempt = AttemptTimeoutLayer::new(SECOND).layer(backend);
    let spent = Deadline::at(Instant::now());
    let work = async {
        let whole = limited.oneshot(request(Method::GET)).await.unwrap_err();
        let single = attempt.oneshot(request(Method::GET)).await.unwrap_err();
        (whole.delivery(), single.delivery())
    };
    // `bound` polls the work once, whatever the time.
    assert_eq!(spent.bound(work).await.unwrap(), (Delivery::NotSent, Delivery::NotSent));
    assert_eq!(seen.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_ends_the_wait_in_the_first_poll() {
    let past = Deadline::at(Instant::now());
    tokio::time::advance(SECOND).await;
    // Nobody would wake it, so it must not wait.
    assert!(matches!(poll_once(&mut Box::pin(past.bound(pending::<()>()))), Poll::Ready(Err(_))));
    let inner = Deadline::within(SECOND).bound(past.bound(pending::<()>()));
    assert!(matches!(poll_once(&mut Box::pin(inner)), Poll::Ready(Ok(Err(_)))));
}

#[tokio::test(start_paused = true)]
async fn detached_work_is_not_cut_short_by_the_deadline_but_dropped_with_whoever_awaits_it() {
    let limited = || TimeoutLayer::new(5 * SECOND).layer(service_fn(|()| pending::<io::Result<()>>()));
    // The limit inside keeps its own time, and is served by the timer of the one outside.
    let inside = Deadline::within(SECOND).bound(deadline::detached(limited().oneshot(())));
    let (result, took) = timed(inside).await;
    assert_eq!((result.is_err(), took), (true, SECOND));
    let mut work = Box::pin(deadline::detached(limited().oneshot(())));
    let start = Instant::now();
    assert!(Deadline::within(SECOND).bound(&mut work).await.is_err());
    assert!(work.await.unwrap_err().is_timeout(), "it goes on where its first limit is gone");
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_outer_limit_is_visible_inside_and_can_only_be_shortened() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let inner = service_fn(move |()| {
        let log = Arc::clone(&log);
        log.lock().unwrap().push(Deadline::current());
        async move {
            log.lock().unwrap().push(Deadline::current());
            tokio::task::yield_now().await;
            log.lock().unwrap().push(Deadline::current());
            Ok::<_, io::Error>(())
        }
    });
    let start = Instant::now();
    let stack = |outer: u32, inner_limit: u32| {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(outer * SECOND))
            .layer(AttemptTimeoutLayer::new(inner_limit * SECOND))
            .service(inner.clone())
    };
    stack(5, 2).oneshot(()).await.unwrap();
    stack(2, 5).oneshot(()).await.unwrap();
    let two_seconds = Some(Deadline::after(start, 2 * SECOND));
    assert_eq!(*seen.lock().unwrap(), [two_seconds; 6]);
    assert_eq!(Deadline::current(), None, "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_server_limit_reaches_the_client_in_its_handler_and_spawned_work_only_if_carried() {
    let client = TimeoutLayer::new(60 * SECOND).layer(Scripted::<&str, &str>::script(|_, _| Step::Hang));
    let handler = service_fn(move |_: Request<()>| {
        let client = client.clone();
        async move {
            let spawned = tokio::spawn(async { Deadline::current() }).await.unwrap();
            let carried = tokio::spawn(deadline::carry(async { Deadline::current() })).await.unwrap();
            assert_eq!((spawned, carried), (None, Deadline::current()));
            let error = client.oneshot("downstream").await.unwrap_err();
            Err::<Response<Full<bytes::Bytes>>, _>(error)
        }
    });
    let server = TimeoutLayer::new(SECOND).layer(handler);
    let (result, took) = timed(server.oneshot(Request::new(()))).await;
    assert_eq!((result.unwrap_err().kind(), took), (Kind::Timeout, SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_inner_error_keeps_its_identity() {
    let broken = Scripted::<&str, ()>::steps([Step::fail(io::Error::from(io::ErrorKind::BrokenPipe))]);
    let error = TimeoutLayer::new(SECOND).layer(broken).oneshot("x").await.unwrap_err();
    assert_eq!(error.cause::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_drops_the_call_inside() {
    let backend = Backend::script(|_, _| Step::Hang);
    let seen = backend.seen();
    let service = TimeoutLayer::new(SECOND).layer(AttemptTimeoutLayer::new(SECOND).layer(backend));
    let mut call = Box::pin(service.oneshot(request(Method::GET)));
    assert!(poll_once(&mut call).is_pending());
    assert_eq!((seen.in_flight(), seen.abandoned()), (1, 0));
    drop(call);
    assert_eq!((seen.in_flight(), seen.abandoned()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_enormous_limit_does_not_overflow() {
    let backend = Scripted::<&str, &str>::steps([Step::AnswerAfter(1_000_000 * SECOND, "at last")]);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::MAX))
        .layer(AttemptTimeoutLayer::new(Duration::MAX))
        .service(backend);
    assert_eq!(service.oneshot("x").await.unwrap(), "at last");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_switched_off_limits_nothing() {
    let backend = Scripted::<&str, &str>::steps([Step::AnswerAfter(100 * SECOND, "late")]);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND).when(false))
        .layer(AttemptTimeoutLayer::new(SECOND).when(false))
        .service(backend);
    assert_eq!(service.oneshot("x").await.unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_504_as_a_problem_and_keeps_the_error_type_of_its_handler() {
    let handler = service_fn(|_: Request<()>| {
        pending::<Result<Response<Full<bytes::Bytes>>, std::convert::Infallible>>()
    });
    let service = TimeoutLayer::new(SECOND).answer().layer(handler);
    let (result, took) = timed(service.oneshot(Request::new(()))).await;
    let Ok(response) = result;
    assert_eq!((response.status().as_u16(), took), (504, SECOND));
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(
        response.body().size_hint().exact(),
        Some(response.into_body().collect().await.unwrap().to_bytes().len() as u64)
    );
}

#[tokio::test(start_paused = true)]
async fn a_streaming_answer_keeps_the_deadline_in_scope_while_it_is_read() {
    let stream = |_: Request<()>| async {
        let frames = futures_util::stream::once(async {
            let seen = Deadline::current().is_some();
            Ok::<_, io::Error>(http_body::Frame::data(bytes::Bytes::from(if seen { "seen" } else { "lost" })))
        });
        Ok::<_, io::Error>(Response::new(StreamBody::new(Box::pin(frames))))
    };
    let service = TimeoutLayer::new(SECOND).answer().layer(service_fn(stream));
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "seen");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_answer_has_the_deadline_of_the_call_and_not_the_limit_on_its_attempt() {
    let stream = |_: Request<()>| async {
        let frames = futures_util::stream::once(async {
            let left = Deadline::current().expect("that of the call").remaining(Instant::now());
            Ok::<_, io::Error>(http_body::Frame::data(bytes::Bytes::from(left.as_secs().to_string())))
        });
        Ok::<_, io::Error>(Response::new(StreamBody::new(Box::pin(frames))))
    };
    let attempt = AttemptTimeoutLayer::new(2 * SECOND).answer();
    let service = TimeoutLayer::new(60 * SECOND).answer().layer(attempt.layer(service_fn(stream)));
    let response = service.oneshot(Request::new(())).await.unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "55");
}
