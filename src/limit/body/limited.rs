use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::size;
use crate::base::{BoxError, Delivery};

/// A body that fails when it grows over a limit. See the [module](crate::limit).
///
/// It fails with an [`Error`](crate::Error) of kind `Body` in place of the frame that passes the limit; then the body inside
/// is dropped, and this one is at its end. All else passes unchanged.
#[pin_project]
pub struct LimitedBody<B> {
    // Nothing, once it was too large.
    #[pin]
    body: Option<B>,
    cap: u64,
    left: u64,
    delivery: Delivery,
    grown: Option<Grown>,
}

/// Whether the body has grown over its limit: for whoever answers when the body is long gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Grown(Arc<AtomicBool>);

impl Grown {
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> LimitedBody<B> {
    pub(super) const fn new(body: B, cap: u64, delivery: Delivery, grown: Option<Grown>) -> Self {
        Self { body: Some(body), cap, left: cap, delivery, grown }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for LimitedBody<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let Some(frame) = ready!(body.poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        };
        let size = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        Poll::Ready(Some(match size::left(*this.left, size) {
            Some(left) => {
                *this.left = left;
                Ok(frame)
            }
            None => {
                this.body.set(None);
                if let Some(grown) = this.grown {
                    grown.0.store(true, Ordering::Relaxed);
                }
                Err(size::refusal(*this.cap, *this.delivery).into())
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Without a limit.
impl<B: Default> Default for LimitedBody<B> {
    fn default() -> Self {
        Self::new(B::default(), u64::MAX, Delivery::Unknown, None)
    }
}

/// Never shows the content.
impl<B> fmt::Debug for LimitedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedBody")
            .field("cap", &self.cap)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
