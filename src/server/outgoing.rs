use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::shared::InFlight;
use super::stall;
use crate::base::body::Held;

/// The body of an answer on its way out. While it is, the request is in flight.
#[pin_project]
pub(super) struct Outgoing<B> {
    #[pin]
    body: Held<B, InFlight>,
}

impl<B> Outgoing<B> {
    pub(super) const fn new(body: Held<B, InFlight>) -> Self {
        Self { body }
    }
}

impl<B: Body<Data = Bytes>> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = self.project().body.poll_frame(cx);
        stall::offered(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
