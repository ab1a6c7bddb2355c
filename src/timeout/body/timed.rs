use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Instant;

#[cfg(feature = "server")]
use super::BodyLimits;
use super::watch::Watch;
use crate::base::{Alarm, BoxError, Delivery, Elapsed, Error, GrpcStatus};

/// A body that fails when it takes too long. See [`BodyLimits`](super::BodyLimits).
///
/// It fails with an [`Error`] of kind `Timeout`, at whose end stands an [`Elapsed`] that says which limit it was. The body
/// inside is dropped then, so that its connection is let go at once, and this one is at its end. Frames, trailers and the
/// size hint pass unchanged.
#[pin_project]
pub struct TimedBody<B> {
    // Nothing, once it has taken too long.
    #[pin]
    body: Option<B>,
    #[pin]
    alarm: Alarm,
    watch: Watch,
    delivery: Delivery,
    /// It ends with a status of gRPC rather than an error.
    with_trailers: bool,
}

impl<B> TimedBody<B> {
    pub(super) const fn new(body: B, watch: Watch, delivery: Delivery) -> Self {
        Self { body: Some(body), alarm: Alarm::new(), watch, delivery, with_trailers: false }
    }

    /// If it takes too long, its end is a status of gRPC.
    pub(super) fn ending_with_trailers(self) -> Self {
        Self { with_trailers: true, ..self }
    }

    /// `body` within these limits, with no deadline.
    #[cfg(feature = "server")]
    pub(crate) fn within(body: B, limits: &BodyLimits, delivery: Delivery) -> Self {
        Self::new(body, Watch::new(limits, Instant::now, None), delivery)
    }

    /// From here on its sender may be silent for as long as it likes.
    #[cfg(feature = "server")]
    pub(crate) fn may_pause(self: Pin<&mut Self>) {
        self.project().watch.may_pause();
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for TimedBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        // What has to be over is over, also when there is more: it may be a sender that never ends. One that has ended was
        // in time, however late its reader asks.
        let may_be_late = this.watch.has_end() && !body.is_end_stream();
        let over = if may_be_late { this.watch.is_over(Instant::now()) } else { None };
        let elapsed = match over {
            Some(elapsed) => elapsed,
            None => {
                // Asked before the clock: what has come is delivered, however late it is fetched.
                if let Poll::Ready(frame) = body.poll_frame(cx) {
                    let now = this.watch.wants_time_of_data().then(Instant::now);
                    let size = match &frame {
                        Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.remaining() as u64),
                        Some(Err(_)) | None => 0,
                    };
                    this.watch.data(size, now);
                    return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
                }
                let Some((at, elapsed)) = this.watch.wait(Instant::now) else { return Poll::Pending };
                if this.alarm.as_mut().poll_until(cx, at).is_pending() {
                    return Poll::Pending;
                }
                elapsed
            }
        };
        this.body.set(None);
        this.alarm.set(Alarm::new());
        Poll::Ready(Some(if *this.with_trailers {
            Ok(Frame::trailers(trailers(&elapsed)))
        } else {
            Err(told(elapsed, *this.delivery))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

fn trailers(elapsed: &Elapsed) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", GrpcStatus::DeadlineExceeded.code().into());
    // Words, numbers and spaces: nothing that would have to be escaped.
    if let Ok(message) = HeaderValue::try_from(elapsed.to_string()) {
        trailers.insert("grpc-message", message);
    }
    trailers
}

fn told(elapsed: Elapsed, delivery: Delivery) -> BoxError {
    Error::from(elapsed).with_delivery(delivery).into()
}

impl<B: Default> Default for TimedBody<B> {
    fn default() -> Self {
        Self::new(B::default(), Watch::nothing(), Delivery::Unknown)
    }
}

/// Never shows the content.
impl<B> fmt::Debug for TimedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedBody").field("watch", &self.watch).finish_non_exhaustive()
    }
}
