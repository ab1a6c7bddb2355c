use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::base::BoxError;

/// The body of an answer that may have been shared: all of it, or what was read of it and then the rest as it comes. See
/// [`CoalesceLayer`](super::CoalesceLayer).
#[pin_project]
pub struct Coalesced<B> {
    front: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// What is still to come, unless all of it is there.
    #[pin]
    rest: Option<B>,
}

impl<B> Coalesced<B> {
    pub(super) fn whole(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self { front: Some(data).filter(|data| !data.is_empty()), trailers, rest: None }
    }

    pub(super) fn live(front: Bytes, rest: B) -> Self {
        Self { front: Some(front).filter(|front| !front.is_empty()), trailers: None, rest: Some(rest) }
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Coalesced<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Some(front) = this.front.take() {
            return Poll::Ready(Some(Ok(Frame::data(front))));
        }
        let Some(rest) = this.rest.as_pin_mut() else {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let frame = ready!(rest.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(to_bytes).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_none() && self.trailers.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let front = self.front.as_ref().map_or(0, |front| front.len() as u64);
        let Some(rest) = self.rest.as_ref().map(Body::size_hint) else { return SizeHint::with_exact(front) };
        let mut hint = SizeHint::new();
        // The upper bound first: it may not be set below the lower one, nor the lower above it.
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(front)) {
            hint.set_upper(upper);
        }
        let lower = rest.lower().saturating_add(front);
        hint.set_lower(hint.upper().map_or(lower, |upper| lower.min(upper)));
        hint
    }
}

/// The frame with its data as `Bytes`, which copies nothing if it is `Bytes` already.
pub(super) fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

/// Never shows the content.
impl<B> fmt::Debug for Coalesced<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesced").field("whole", &self.rest.is_none()).finish_non_exhaustive()
    }
}
