use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project::pin_project;

use super::pieces::InPieces;
use super::shared::InFlight;
use super::stall;
use crate::Body;
use crate::base::BoxError;
use crate::base::body::Held;

/// The body of an answer on its way out. While it is, the request is in flight.
#[pin_project(project = OutgoingProjection)]
pub(super) enum Outgoing<B> {
    Service(#[pin] Held<InPieces<B>, InFlight>),
    /// Made by the server itself.
    Own(#[pin] Held<Body, InFlight>),
}

impl<B> http_body::Body for Outgoing<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.project() {
            OutgoingProjection::Service(body) => body.poll_frame(cx).map_err(Into::into),
            OutgoingProjection::Own(body) => body.poll_frame(cx).map_err(Into::into),
        };
        stall::offered(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
