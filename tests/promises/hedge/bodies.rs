//! What becomes of the body of the request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::Error;
use stonework::base::body::{Body, Replay, ReplayBody};
use stonework::base::{BoxError, Delivery, Event, Kind, Skip};
use stonework::hedge::HedgeLayer;
use stonework::testing::{Recorder, Step};
use stonework::timeout::TimeoutLayer;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use super::{MS, after, fixed};
use crate::support::{Content, SECOND, answer, with_header};

/// A request whose body is four pieces of three bytes, each so long after the one before.
fn upload(pause: Duration) -> Request<ReplayBody<Body>> {
    let pieces = futures_util::stream::unfold(0, move |sent| async move {
        sleep(pause).await;
        let frame = Frame::data(Bytes::from_static(b"abc"));
        (sent < 4).then_some((Ok::<_, BoxError>(frame), sent + 1))
    });
    let body = Body::new(StreamBody::new(Box::pin(pieces)));
    Request::put("/").body(ReplayBody::new(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_before_it_has_read_the_body_takes_nothing_of_it_from_the_next_attempt() {
    let calls = Arc::new(AtomicUsize::new(0));
    let early = service_fn({
        let calls = Arc::clone(&calls);
        move |request: Request<ReplayBody<Body>>| {
            let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if is_first {
                    // It is read on, as a connection does it whose answer is there.
                    tokio::spawn(request.into_body().collect());
                    return Ok(with_header(answer(503), "retry-after", "1"));
                }
                let content = request.into_body().collect().await?.to_bytes();
                Ok::<_, BoxError>(Response::new(Content::from(content)))
            }
        }
    });
    let service = HedgeLayer::from(fixed().replay_cap(6)).layer(early);
    let response = service.oneshot(upload(300 * MS)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abcabcabcabc");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn where_the_body_has_outgrown_its_limit_a_failure_is_the_whole_result() {
    let events = Recorder::new();
    let reads = service_fn(|request: Request<ReplayBody<Body>>| async move {
        let _ = request.into_body().collect().await?;
        let mut response = Response::new(Content::from("why not"));
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, BoxError>(response)
    });
    let service = HedgeLayer::from(fixed().replay_cap(6)).observer(events.clone()).layer(reads);
    let response = service.oneshot(upload(10 * MS)).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "why not");
    assert!(matches!(events.events()[..], [Event::HedgeSkipped { why: Skip::Body, .. }]));
}

/// Of nothing, and of one's own making: it says that it can be sent again, until it cannot.
struct Fickle(Arc<AtomicBool>);

impl http_body::Body for Fickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

impl Replay for Fickle {
    fn record(&mut self, _: usize) -> bool {
        true
    }

    fn fork(&self) -> Option<Self> {
        (!self.0.load(Ordering::Relaxed)).then(|| Self(Arc::clone(&self.0)))
    }
}

/// Calls a service whose first two attempts end like this, with a body that can no longer be sent again half a second after it came.
async fn ask_fickle(steps: [Step<Response<Content>, BoxError>; 2]) -> Error {
    let gone = Arc::new(AtomicBool::new(false));
    let mut steps = steps.into_iter();
    let service = tower::ServiceBuilder::new()
        .layer(TimeoutLayer::new(5 * SECOND))
        .layer(HedgeLayer::from(fixed().attempts(3)))
        .service(stonework::testing::Scripted::script(move |_, _: &Request<Fickle>| {
            steps.next().expect("no more than were written")
        }));
    let call = tokio::spawn(service.oneshot(Request::put("/").body(Fickle(Arc::clone(&gone))).unwrap()));
    sleep(500 * MS).await;
    gone.store(true, Ordering::Relaxed);
    call.await.unwrap().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_lost_while_a_pause_is_kept_is_what_the_caller_hears_of() {
    let later = || Step::AnswerAfter(10 * MS, with_header(answer(503), "retry-after", "1"));
    let error = ask_fickle([later(), after(10, 200)]).await;
    assert_eq!((error.kind(), error.attempts(), error.delivery()), (Kind::Body, 1, Delivery::Answered));
    // Unless another attempt was under way, which nobody could wait for any longer.
    let error = ask_fickle([Step::Hang, later()]).await;
    assert_eq!((error.kind(), error.attempts(), error.delivery()), (Kind::Timeout, 2, Delivery::Unknown));
}
