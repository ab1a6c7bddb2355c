use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::ResponseFuture;
use super::layer::Shared;
use crate::base::body::Replay;
use crate::base::{BoxError, Classify, ClassifyHttp, Error, take};

/// Sends a request again when that may help and can do no harm. See the [module](super).
#[derive(Debug)]
pub struct Retry<S, C = ClassifyHttp> {
    inner: S,
    shared: Arc<Shared<C>>,
}

impl<S, C> Retry<S, C> {
    pub(super) const fn with(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, shared }
    }
}

impl<S: Clone, C> Clone for Retry<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S, C, B, ResBody> Service<Request<B>> for Retry<S, C>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<ResBody>;
    type Error = Error;
    type Future = ResponseFuture<S, B, C, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was made ready makes the first attempt, and every further one once it is ready again.
        let service = take(&mut self.inner);
        ResponseFuture::new(service, request, Arc::clone(&self.shared))
    }
}
