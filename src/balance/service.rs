use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::core::Core;
use super::flight::InUse;
use super::future::BalancerFuture;
use super::{Balancer, NotSticky, Sticky};
use crate::base::{Anchored, BoxError, Classify, ClassifyHttp, Error, Hold, Http, Plain};

/// Sends each call to one of the endpoints of a [`Balancer`]. See the [module](super).
pub struct BalancerService<S, K = NotSticky, C = ClassifyHttp, M = Http> {
    shared: Arc<Anchored<Core<S>>>,
    sticky: K,
    classify: C,
    mode: M,
}

impl<S> BalancerService<S> {
    pub(super) const fn new(shared: Arc<Anchored<Core<S>>>) -> Self {
        Self { shared, sticky: NotSticky, classify: ClassifyHttp, mode: Http }
    }
}

impl<S, K, C, M> BalancerService<S, K, C, M> {
    /// Send requests with the same key to the same endpoint, as long as it can be picked and has no more than a quarter above its
    /// share of the calls under way. Default: nothing sticks.
    #[must_use]
    pub fn sticky<L>(self, sticky: L) -> BalancerService<S, L, C, M> {
        BalancerService { shared: self.shared, sticky, classify: self.classify, mode: self.mode }
    }

    /// Judge responses and errors by this. Default: [`ClassifyHttp`].
    #[must_use]
    pub fn classify<D>(self, classify: D) -> BalancerService<S, K, D, M> {
        BalancerService { shared: self.shared, sticky: self.sticky, classify, mode: self.mode }
    }

    /// Take any request and response; a call is over when its response is returned.
    #[must_use]
    pub fn plain(self) -> BalancerService<S, K, C, Plain> {
        BalancerService { shared: self.shared, sticky: self.sticky, classify: self.classify, mode: Plain }
    }
}

impl<S: Clone + Send + Sync + 'static, K, C, M> BalancerService<S, K, C, M> {
    /// The balancer.
    #[must_use]
    pub fn balancer(&self) -> Balancer<S> {
        Balancer::of(Arc::clone(&self.shared))
    }
}

impl<S, K: Clone, C: Clone, M: Clone> Clone for BalancerService<S, K, C, M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            sticky: self.sticky.clone(),
            classify: self.classify.clone(),
            mode: self.mode.clone(),
        }
    }
}

impl<S, Req, K, C, M> Service<Req> for BalancerService<S, K, C, M>
where
    S: Service<Req, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    Req: Send + 'static,
    K: Sticky<Req>,
    C: Classify<S::Response> + Clone,
    M: Hold<Req, S::Response, S::Error, Option<InUse<S, C>>, Error = Error> + Clone,
{
    type Response = M::Response;
    type Error = Error;
    type Future = BalancerFuture<S, Req, C, M>;

    /// Always: the wait for an endpoint, and for that to be ready, is part of the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (asked, key) = (self.mode.note(&request), self.sticky.key(&request));
        let key = key.map(|key| key.0);
        BalancerFuture::new(
            Arc::clone(self.shared.anchor()),
            key,
            (self.classify.clone(), self.mode.clone()),
            asked,
            request,
        )
    }
}

impl<S, K, C, M> fmt::Debug for BalancerService<S, K, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancerService").field("balancer", &self.shared.core().name).finish_non_exhaustive()
    }
}
