use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::gather::Gathered;
use crate::base::BoxError;

/// A response body that was collected: all of it, or what was read of one over the cap and then the rest as it comes.
///
/// Trailers come at the end, as ever. The size hint is exact when the whole body is there. Its errors are those of the
/// rest. See [`CollectLayer`](super::CollectLayer).
#[pin_project]
pub struct Collected<B> {
    front: Gathered,
    /// What is still to come, unless all of it is there.
    #[pin]
    rest: Option<B>,
}

impl<B> Collected<B> {
    pub(super) fn whole(front: Gathered) -> Self {
        Self { front, rest: None }
    }

    pub(super) fn live(front: Gathered, rest: B) -> Self {
        Self { front, rest: Some(rest) }
    }

    /// Whether all of the body is in memory, so that reading it neither waits nor fails.
    #[must_use]
    pub fn is_whole(&self) -> bool
    where
        B: Body,
    {
        self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Collected<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Some(frame) = this.front.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = this.rest.as_pin_mut() else { return Poll::Ready(None) };
        let frame = ready!(rest.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map(to_bytes).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let front = self.front.data();
        let Some(rest) = self.rest.as_ref().filter(|rest| !rest.is_end_stream()) else {
            return SizeHint::with_exact(front);
        };
        let rest = rest.size_hint();
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

/// Bytes in memory where that is all there is, and the body inside where nothing was read of it.
impl From<Collected<Self>> for crate::base::body::Body {
    fn from(collected: Collected<Self>) -> Self {
        match collected {
            Collected { front, rest: Some(rest) } if front.is_empty() => rest,
            Collected { front, rest: None } if front.is_single() => front.into_first().into(),
            more => Self::new(more),
        }
    }
}

/// Never shows the content.
impl<B> fmt::Debug for Collected<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Collected");
        shown.field("bytes", &self.front.data()).field("whole", &self.rest.is_none()).finish_non_exhaustive()
    }
}

/// The frame with its data as `Bytes`, which copies nothing if it is `Bytes` already.
pub(super) fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::base::body::Body as Ours;

    #[tokio::test]
    async fn what_was_collected_is_the_same_as_a_body_of_this_crate() {
        for pieces in [&[][..], &["whole"], &["in ", "two"]] {
            let mut front = Gathered::default();
            for piece in pieces {
                let _ = front.push(Frame::data(Bytes::from(*piece)), 100);
            }
            let body = Ours::from(Collected::whole(front));
            assert_eq!(body.collect().await.unwrap().to_bytes(), pieces.concat());
        }
    }
}
