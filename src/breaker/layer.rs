use tower_layer::Layer;

use super::{Breaker, BreakerService};
use crate::base::{Answer, ClassifyHttp, Http, Plain, Problem};

/// Guards services by one circuit. See the [module](super).
///
/// All services made by one layer, by its clones, or from one [`Breaker`] share the circuit: with one layer for the endpoints
/// of several hosts, one sick host refuses the calls to all. For a circuit for each there is
/// [`BreakersLayer`](super::BreakersLayer).
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct BreakerLayer<C = ClassifyHttp, M = Http> {
    pub(super) breaker: Option<Breaker>,
    pub(super) classify: C,
    pub(super) mode: M,
    pub(super) waits: bool,
}

impl BreakerLayer {
    /// With a circuit of its own and the defaults: see [`BreakerSettings`](super::BreakerSettings).
    pub fn new() -> Self {
        Self::from(Breaker::default())
    }
}

impl Default for BreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Breaker> for BreakerLayer {
    fn from(breaker: Breaker) -> Self {
        Self { breaker: Some(breaker), classify: ClassifyHttp, mode: Http, waits: false }
    }
}

impl<C, M> BreakerLayer<C, M> {
    /// Judge responses and errors by this. Default: [`ClassifyHttp`].
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D, M> {
        let Self { breaker, classify: _, mode, waits } = self;
        BreakerLayer { breaker, classify, mode, waits }
    }

    /// Refuse with a response, a [`Problem`] with status 503 and `Retry-After`, and leave the inner error type alone: for
    /// servers. An error of the inner service is then a failure, whatever it is.
    pub fn answer(self) -> BreakerLayer<C, Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> BreakerLayer<C, Answer<R>> {
        self.mode(Answer::with(refuse))
    }

    /// Refuse with an error, whatever the type of the response; a call is over when its response is returned.
    pub fn plain(self) -> BreakerLayer<C, Plain> {
        self.mode(Plain)
    }

    fn mode<N>(self, mode: N) -> BreakerLayer<C, N> {
        let Self { breaker, classify, mode: _, waits } = self;
        BreakerLayer { breaker, classify, mode, waits }
    }

    /// Be not ready while the circuit lets no call through, instead of refusing calls: **for endpoints below a load balancer**,
    /// which then picks another. A caller who waits for readiness with no limit waits until the circuit closes. A call that comes
    /// all the same, or after another has taken the last probe, is refused.
    pub fn not_ready_when_open(mut self) -> Self {
        self.waits = true;
        self
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.breaker = None;
        }
        self
    }

    /// The circuit, unless the layer is switched off.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }
}

impl<S, C: Clone, M: Clone> Layer<S> for BreakerLayer<C, M> {
    type Service = BreakerService<S, C, M>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService::with(inner, self.clone())
    }
}
