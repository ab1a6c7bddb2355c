//! How long a body may take.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::channel::Sender;
use http_body_util::{BodyExt, Channel};
use stonework::base::{BoxError, Deadline, Delivery, Elapsed, Error, Kind, Phase, deadline};
use stonework::timeout::{
    AttemptTimeoutLayer, BodyLimits, RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer, TimedBody,
    TimeoutLayer,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{SECOND, timed};

const MS: Duration = Duration::from_millis(1);

type Limited<B> = Pin<Box<TimedBody<B>>>;

/// A body of which `sender` sends the frames, behind a layer with these limits.
async fn limited<B: Body + Send + 'static>(limits: BodyLimits, body: B) -> Limited<B> {
    let mut body = Some(body);
    let mut service = ResponseBodyTimeoutLayer::new(limits).layer(service_fn(move |(): ()| {
        let body = body.take().expect("one call");
        async { Ok::<_, Infallible>(Response::new(body)) }
    }));
    Box::pin(service.call(()).await.expect("an answer").into_body())
}

fn phase(error: BoxError) -> Phase {
    let error = Error::wrap(error);
    assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::Answered));
    error.cause::<Elapsed>().expect("a limit").phase()
}

/// Reads to the end: how many bytes came, and what ended it.
async fn read<B>(mut body: Limited<B>) -> (usize, Option<Phase>)
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Err(error) => {
                assert!(body.is_end_stream() && body.frame().await.is_none(), "an error is the end");
                return (bytes, Some(phase(error)));
            }
        }
    }
    (bytes, None)
}

/// Sends so many bytes, one at a time, each after this pause.
fn drip(mut sender: Sender<Bytes>, bytes: usize, pause: Duration) {
    tokio::spawn(async move {
        for _ in 0..bytes {
            sleep(pause).await;
            if sender.send_data(Bytes::from_static(b".")).await.is_err() {
                return;
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_byte_now_and_then_passes_the_idle_limit_and_not_the_others() {
    let drop_feed = 900 * MS;
    for (limits, bytes, ended) in [
        (BodyLimits::new().idle(SECOND), 20, None),
        (BodyLimits::new().idle(SECOND / 2), 0, Some(Phase::BodyIdle)),
        (BodyLimits::new().idle(SECOND).total(10 * SECOND), 11, Some(Phase::BodyTotal)),
        (BodyLimits::new().idle(SECOND).min_rate(10, 5 * SECOND), 5, Some(Phase::BodyRate)),
        (BodyLimits::new().idle(SECOND).min_rate(5, 5 * SECOND), 20, None),
        (BodyLimits::none(), 20, None),
    ] {
        let (sender, body) = Channel::<Bytes>::new(1);
        drip(sender, 20, drop_feed);
        assert_eq!(read(limited(limits, body).await).await, (bytes, ended), "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_limit_ends_the_body_exactly_when_it_says() {
    for (limits, after) in [
        (BodyLimits::new(), 30 * SECOND),
        (BodyLimits::streaming(), 300 * SECOND),
        (BodyLimits::new().idle(7 * SECOND), 7 * SECOND),
        (BodyLimits::new().total(9 * SECOND), 9 * SECOND),
        (BodyLimits::new().min_rate(1, 8 * SECOND), 8 * SECOND),
        (BodyLimits::new().idle(7 * SECOND).total(6 * SECOND).min_rate(1, 8 * SECOND), 6 * SECOND),
    ] {
        let (_silent, body) = Channel::<Bytes>::new(1);
        let ((bytes, ended), took) = timed(read(limited(limits, body).await)).await;
        assert_eq!((bytes, ended.is_some(), took), (0, true, after), "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_never_blamed_for_what_it_does_not_fetch() {
    let (mut sender, body) = Channel::<Bytes>::new(8);
    let mut body = limited(BodyLimits::new().idle(SECOND).min_rate(1, SECOND), body).await;
    for _ in 0..5 {
        sender.send_data(Bytes::from_static(b"data")).await.unwrap();
    }
    for _ in 0..5 {
        sleep(60 * SECOND).await;
        assert!(body.frame().await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_while_the_reader_was_away_is_delivered_and_what_did_not_come_is_silence() {
    // It asked, was told to wait, and turned away.
    let asked = |body: &mut Limited<Channel<Bytes>>| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        body.as_mut().poll_frame(&mut cx).is_pending()
    };
    let (mut sender, body) = Channel::<Bytes>::new(8);
    let mut body = limited(BodyLimits::new().idle(SECOND), body).await;
    assert!(asked(&mut body));
    sender.send_data(Bytes::from_static(b"late")).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "late");

    assert!(asked(&mut body));
    sleep(10 * SECOND).await;
    let (result, took) = timed(body.frame()).await;
    assert_eq!((phase(result.unwrap().unwrap_err()), took), (Phase::BodyIdle, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_away_while_a_window_of_the_rate_ran_out_begins_a_new_one() {
    let (mut sender, body) = Channel::<Bytes>::new(8);
    let mut body = limited(BodyLimits::none().min_rate(10, 4 * SECOND), body).await;
    // It asked, and turned away; what it asked for came at once.
    assert!(body.as_mut().poll_frame(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    sender.send_data(Bytes::from_static(b"half.")).await.unwrap();
    sleep(3_600 * SECOND).await;
    assert!(body.frame().await.unwrap().is_ok());
    let (result, took) = timed(body.frame()).await;
    assert_eq!((phase(result.unwrap().unwrap_err()), took), (Phase::BodyRate, 4 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_taken_up_again_and_again_is_one_read() {
    let (_silent, body) = Channel::<Bytes>::new(8);
    let mut body = limited(BodyLimits::new().idle(SECOND), body).await;
    let start = Instant::now();
    let error = loop {
        tokio::select! {
            frame = body.frame() => break frame.unwrap().unwrap_err(),
            () = sleep(300 * MS) => {}
        }
    };
    assert_eq!((phase(error), start.elapsed()), (Phase::BodyIdle, SECOND));

    // And one that gets its data in time loses none of it.
    let (sender, body) = Channel::<Bytes>::new(8);
    drip(sender, 20, 700 * MS);
    let mut body = limited(BodyLimits::new().idle(SECOND), body).await;
    let mut bytes = 0;
    loop {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(frame) => bytes += frame.unwrap().into_data().unwrap().len(),
                None => break,
            },
            () = sleep(300 * MS) => {}
        }
    }
    assert_eq!(bytes, 20);
}

#[tokio::test(start_paused = true)]
async fn the_total_limit_runs_on_while_nobody_reads_and_fails_the_next_read() {
    let (mut sender, body) = Channel::<Bytes>::new(8);
    let mut body = limited(BodyLimits::none().total(5 * SECOND), body).await;
    sender.send_data(Bytes::from_static(b"in time")).await.unwrap();
    sleep(4 * SECOND).await;
    assert!(body.frame().await.unwrap().is_ok());
    sender.send_data(Bytes::from_static(b"too late")).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(phase(body.frame().await.unwrap().unwrap_err()), Phase::BodyTotal);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_had_ended_in_time_is_no_failure_of_a_reader_who_notices_late() {
    let whole = http_body_util::Full::new(Bytes::from_static(b"all of it"));
    let mut body = limited(BodyLimits::none().total(SECOND), whole).await;
    assert!(body.frame().await.unwrap().is_ok());
    sleep(60 * SECOND).await;
    assert!(body.frame().await.is_none(), "{body:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_stream_lives_as_long_as_its_heart_beats() {
    let (sender, body) = Channel::<Bytes>::new(1);
    drip(sender, 240, 15 * SECOND);
    let ((bytes, ended), took) = timed(read(limited(BodyLimits::streaming(), body).await)).await;
    assert_eq!((bytes, ended, took), (240, None, 3_600 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ran_out_of_time_lets_its_connection_go_at_once() {
    struct Silent(Arc<AtomicBool>);
    impl Drop for Silent {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let mut body = limited(BodyLimits::new().idle(SECOND), Silent(Arc::clone(&dropped))).await;
    assert!(body.frame().await.unwrap().is_err());
    assert!(dropped.load(Ordering::Relaxed), "although the body itself is still held");
}

#[tokio::test(start_paused = true)]
async fn a_body_ends_at_the_deadline_of_its_call_if_the_caller_chose_so() {
    for (limits, ended) in
        [(BodyLimits::none().until_deadline(), Some(Phase::BodyTotal)), (BodyLimits::none(), None)]
    {
        let (sender, body) = Channel::<Bytes>::new(1);
        drip(sender, 10, SECOND);
        let mut body = Some(body);
        let mut stack = ServiceBuilder::new().layer(ResponseBodyTimeoutLayer::new(limits)).service(
            service_fn(move |_: Request<()>| {
                let body = body.take().expect("one call");
                async { Ok::<_, Infallible>(Response::new(body)) }
            }),
        );
        // The limit on the call wants a service that can be cloned, which a body that is given once cannot be part of.
        let call = Deadline::within(5 * SECOND).bound(async { stack.call(Request::new(())).await });
        let (sent, took) =
            timed(async { read(Box::pin(call.await.unwrap().unwrap().into_body())).await }).await;
        assert_eq!(sent.1, ended, "{limits:?}");
        assert_eq!(took, if ended.is_some() { 5 * SECOND } else { 10 * SECOND });
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_body_is_that_of_the_call_and_not_the_limit_on_its_attempt() {
    for (answers_at, ended_at) in [(Duration::ZERO, 10 * SECOND), (SECOND, 10 * SECOND)] {
        let stack = ServiceBuilder::new()
            .layer(TimeoutLayer::new(10 * SECOND))
            .layer(AttemptTimeoutLayer::new(2 * SECOND))
            .layer(ResponseBodyTimeoutLayer::new(BodyLimits::none().until_deadline()))
            .service_fn(move |_: Request<()>| async move {
                sleep(answers_at).await;
                let (sender, body) = Channel::<Bytes>::new(1);
                drip(sender, 20, SECOND);
                Ok::<_, Infallible>(Response::new(body))
            });
        let response = stack.oneshot(Request::new(()));
        let (sent, took) = timed(async { read(Box::pin(response.await.unwrap().into_body())).await }).await;
        assert_eq!((sent.1, took), (Some(Phase::BodyTotal), ended_at));
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_brings_its_deadline_along_brings_that_of_the_call_too() {
    let streams = ResponseBodyTimeoutLayer::new(BodyLimits::none().until_deadline()).layer(service_fn(
        |_: Request<()>| async {
            let (sender, body) = Channel::<Bytes>::new(1);
            drip(sender, 20, SECOND);
            Ok::<_, Infallible>(Response::new(body))
        },
    ));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(10 * SECOND))
        .layer(AttemptTimeoutLayer::new(2 * SECOND))
        .service_fn(move |request| {
            tokio::spawn(deadline::carry(streams.clone().oneshot(request)))
                .map(|ended| ended.expect("no panic"))
        });
    let response = stack.oneshot(Request::new(()));
    let (sent, took) = timed(async { read(Box::pin(response.await.unwrap().into_body())).await }).await;
    assert_eq!((sent.1, took), (Some(Phase::BodyTotal), 10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_request_body_is_limited_from_the_call_on() {
    for (limits, ended) in [
        (BodyLimits::new().idle(SECOND), Phase::BodyIdle),
        (BodyLimits::none().total(4 * SECOND), Phase::BodyTotal),
        (BodyLimits::none().min_rate(10, 4 * SECOND), Phase::BodyRate),
    ] {
        let (sender, body) = Channel::<Bytes>::new(1);
        drip(sender, 10, 1_200 * MS);
        let reading = service_fn(|request: Request<TimedBody<Channel<Bytes>>>| async move {
            let error = Error::wrap(request.into_body().collect().await.expect_err("too slow"));
            assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::Unknown));
            Ok::<_, Infallible>(error.cause::<Elapsed>().expect("a limit").phase())
        });
        let service = RequestBodyTimeoutLayer::new(limits).layer(reading);
        assert_eq!(service.oneshot(Request::new(body)).await.unwrap(), ended);
    }
}

#[tokio::test(start_paused = true)]
async fn frames_trailers_and_the_length_pass_unchanged() {
    let (mut sender, body) = Channel::<Bytes>::new(8);
    sender.send_data(Bytes::from_static(b"data")).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("digest", "x".parse().unwrap());
    sender.send_trailers(trailers.clone()).await.unwrap();
    drop(sender);
    let whole = limited(BodyLimits::new().total(SECOND), body).await.collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(whole.to_bytes(), "data");
    let full = limited(BodyLimits::new(), http_body_util::Full::<Bytes>::from("12345")).await;
    assert_eq!((full.size_hint().exact(), full.is_end_stream()), (Some(5), false));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_switched_off_waits_for_ever() {
    let (_silent, body) = Channel::<Bytes>::new(1);
    let off = ResponseBodyTimeoutLayer::new(BodyLimits::new().total(SECOND)).when(false);
    let body = std::cell::RefCell::new(Some(body));
    let service = off.layer(service_fn(|(): ()| {
        let body = body.borrow_mut().take().expect("one call");
        async { Ok::<_, Infallible>(Response::new(body)) }
    }));
    let mut body = Box::pin(service.oneshot(()).await.unwrap().into_body());
    assert!(timeout(3_600 * SECOND, body.frame()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_grpc_stream_of_a_server_that_takes_too_long_ends_with_a_status_and_any_other_with_an_error() {
    for (kind, answers, status) in [
        ("application/grpc", true, Some("4")),
        ("application/grpc+proto", true, Some("4")),
        ("application/grpc", false, None),
        ("text/plain", true, None),
    ] {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let mut body = Some(body);
        let layer = ResponseBodyTimeoutLayer::new(BodyLimits::none().total(SECOND));
        let layer = if answers { layer.answer() } else { layer };
        let mut service = layer.layer(service_fn(move |(): ()| {
            let mut response = Response::new(body.take().expect("one call"));
            response.headers_mut().insert("content-type", kind.parse().unwrap());
            async { Ok::<_, Infallible>(response) }
        }));
        let mut body = Box::pin(service.call(()).await.unwrap().into_body());
        sender.send_data("a message".into()).await.unwrap();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        let start = Instant::now();
        let end = body.frame().await.unwrap();
        assert_eq!(start.elapsed(), SECOND);
        match (end, status) {
            (Ok(trailers), Some(status)) => {
                let trailers = trailers.into_trailers().unwrap();
                assert_eq!(trailers["grpc-status"], status);
                assert!(!trailers["grpc-message"].is_empty());
            }
            (Err(error), None) => assert_eq!(phase(error), Phase::BodyTotal),
            (end, _) => panic!("{kind}, {answers}: {end:?}"),
        }
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }
}
