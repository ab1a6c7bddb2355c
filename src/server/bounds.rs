//! What a server asks of a service and of its answers, in one word each for those inside. The public functions spell it out.

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use crate::Body;
use crate::base::BoxError;

/// A service that can be served, whose answers have bodies `B`.
pub(super) trait Served<B>:
    Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Served<B> for S where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The body of an answer.
pub(super) trait Sent: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}

impl<B> Sent for B where B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static {}
