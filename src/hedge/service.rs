use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::HedgeFuture;
use super::layer::Shared;
use super::plan::Plan;
use crate::base::body::Replay;
use crate::base::{BoxError, Classify, ClassifyHttp, Error, take};

/// Sends a request a second time while the first is still waited for. See the [module](super).
#[derive(Debug)]
pub struct HedgeService<S, C = ClassifyHttp> {
    inner: S,
    shared: Arc<Shared<C>>,
}

impl<S, C> HedgeService<S, C> {
    pub(super) const fn with(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, shared }
    }
}

impl<S: Clone, C> Clone for HedgeService<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S, C, B, ResBody> Service<Request<B>> for HedgeService<S, C>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
{
    type Response = Response<ResBody>;
    type Error = Error;
    type Future = HedgeFuture<S, B, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(plan) = Plan::of(&mut request, &self.shared) else {
            return HedgeFuture::once(self.inner.call(request));
        };
        // The service that was made ready makes the first attempt, and every further one once it is ready again.
        let service = take(&mut self.inner);
        HedgeFuture::new(service, request, plan, Arc::clone(&self.shared))
    }
}
