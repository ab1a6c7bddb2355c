use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::base::BoxError;
use crate::base::body::Body;

/// A request body whose failures can be told from those of the connection.
#[derive(Debug)]
pub(crate) struct Outgoing(pub(crate) Body);

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = RequestBodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(RequestBodyFailed)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The request body could not be read to its end; its own error is the [`source`](StdError::source).
#[derive(Debug)]
pub struct RequestBodyFailed(BoxError);

impl fmt::Display for RequestBodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl StdError for RequestBodyFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(feature = "client")]
impl RequestBodyFailed {
    pub(crate) fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}
