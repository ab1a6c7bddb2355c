use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::ResponseFuture;
use super::attempts::{Copies, Plan};
use super::future::State;
use super::layer::Shared;
use super::progress::{Progress, UnderWay};
use crate::base::body::Replay;
use crate::base::{BoxError, Classify, ClassifyHttp, Error, Spare, Tried, nesting};

/// Sends a request again when that may help and can do no harm. See the [module](super).
pub struct Retry<S, C = ClassifyHttp> {
    inner: S,
    common: Arc<Common<S, C>>,
}

/// What all clones of a service and their calls have in common.
pub(super) struct Common<S, C> {
    pub(super) shared: Arc<Shared<C>>,
    pub(super) spare: Spare<S>,
}

impl<S, C> Retry<S, C> {
    pub(super) fn with(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, common: Arc::new(Common { shared, spare: Spare::new() }) }
    }
}

impl<S: Clone, C> Clone for Retry<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), common: Arc::clone(&self.common) }
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.common.spare.keep(&self.inner);
        let common = Arc::clone(&self.common);
        let plan = Plan::decide(&mut request, &common.shared.settings, &common.shared.rng);
        let copies = Copies::of(&mut request, &plan, &common.shared.settings);
        let under_way = UnderWay::first(common, &plan);
        let entered = plan.enter(&copies, 1, Tried::default());
        let answer = self.inner.call(request);
        let found = entered.map(nesting::Entered::leave);
        let progress = Progress::first(plan, under_way, found);
        // Here, and not in a function that takes them: these are large, and are moved once.
        ResponseFuture { state: State::Called { answer }, copies, progress }
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Retry<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("inner", &self.inner).field("shared", &self.common.shared).finish()
    }
}
