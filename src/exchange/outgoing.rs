use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

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
        Pin::new(&mut self.0).poll_frame(cx).map_err(|error| RequestBodyFailed(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The request body could not be read to its end; its own error is the [`source`](StdError::source).
///
/// ```
/// use std::io;
/// use bytes::Bytes;
/// use futures_util::stream;
/// use http_body_util::StreamBody;
/// use stonework::Body;
/// use stonework::client::{Client, RequestBodyFailed};
/// use stonework::testing::{ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let server = ScriptedServer::start(|_| respond(200)).await;
/// let broken = stream::iter([Err::<http_body::Frame<Bytes>, _>(io::Error::other("the disk is gone"))]);
/// let request = Client::new().post(server.uri("/")).body(Body::new(StreamBody::new(broken)));
/// let error = request.send().await.unwrap_err();
/// assert!(error.cause::<RequestBodyFailed>().is_some());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RequestBodyFailed(Arc<dyn StdError + Send + Sync>);

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
    pub(crate) fn new(error: impl Into<crate::base::BoxError>) -> Self {
        Self(error.into().into())
    }
}
