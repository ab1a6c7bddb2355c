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
use crate::base::{BoxError, Classify, ClassifyHttp, Error, Tried, nesting, take};

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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let plan = Plan::decide(&mut request, &shared.settings, &shared.rng);
        let copies = Copies::of(&mut request, &plan, &shared.settings);
        let under_way = UnderWay::first(shared);
        // The service that was made ready makes the first attempt, and every further one once it is ready again.
        let mut service = take(&mut self.inner);
        let entered = plan.enter(&copies, 1, Tried::default());
        let answer = service.call(request);
        let found = entered.map(nesting::Entered::leave);
        let progress = Progress::first(plan, under_way, found);
        // Here, and not in a function that takes them: these are large, and are moved once.
        ResponseFuture { state: State::Called { answer }, service, copies, progress }
    }
}
