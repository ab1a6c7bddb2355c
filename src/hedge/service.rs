use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::HedgeFuture;
use super::layer::Shared;
use super::plan::Plan;
use super::progress::Progress;
use crate::base::body::Replay;
use crate::base::{BoxError, Classify, ClassifyHttp, Error, Spare};

/// Sends a request a second time while the first is still waited for. See the [module](super).
pub struct HedgeService<S, C = ClassifyHttp> {
    inner: S,
    common: Arc<Common<S, C>>,
}

/// What all clones of a service and their calls have in common.
pub(super) struct Common<S, C> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) spare: Spare<S>,
}

impl<S, C> HedgeService<S, C> {
    pub(super) fn with(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, common: Arc::new(Common { shared, spare: Spare::new() }) }
    }
}

impl<S: Clone, C> Clone for HedgeService<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), common: Arc::clone(&self.common) }
    }
}

impl<S, C, B, ResBody> Service<Request<B>> for HedgeService<S, C>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<ResBody>;
    type Error = Error;
    type Future = HedgeFuture<S, B, C, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(plan) = Plan::of(&mut request, &self.common.shared) else {
            return HedgeFuture::once(self.inner.call(request));
        };
        self.common.spare.keep(&self.inner);
        let mut progress = Progress::new(plan, Arc::clone(&self.common));
        let first = progress.within(0, || self.inner.call(request));
        HedgeFuture::new(first, progress)
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for HedgeService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeService")
            .field("inner", &self.inner)
            .field("shared", &self.common.shared)
            .finish()
    }
}
