use std::fmt;
use std::time::Duration;

use tower_layer::Layer;

use super::gate::{Both, Costs, Rate};
use super::{InvalidQuota, KeyedRateLimiter, Quota, RateLimiter};
use crate::base::{Answer, Http, Plain, Problem};
use crate::limit::Admission;
use crate::limit::gate::{Except, Gated, Keyed, Settings};

/// Limits how many calls there are in which time. See the [module](crate::limit).
///
/// All services made by one layer, by its clones, or from one [`RateLimiter`] share the limit.
///
/// ```
/// use stonework::base::{ByClient, Network};
/// use stonework::limit::{KeyedRateLimiter, Quota, RateLimitLayer, RateLimiter};
///
/// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
/// // Fifty a second from each client, and a thousand from all of them: a call takes from both, or from neither.
/// let clients = KeyedRateLimiter::<Network>::named("client", Quota::per_second(50))?;
/// let layer = RateLimitLayer::keyed(clients, ByClient)
///     .and(RateLimiter::named("all", Quota::per_second(1_000))?)
///     .answer();
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RateLimitLayer<L = RateLimiter, M = Http> {
    settings: Settings<Rate<L>, M>,
}

impl RateLimitLayer {
    /// With a limiter of its own.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], which names the field.
    pub fn new(quota: Quota) -> Result<Self, InvalidQuota> {
        RateLimiter::new(quota).map(Self::from)
    }
}

impl From<RateLimiter> for RateLimitLayer {
    fn from(limiter: RateLimiter) -> Self {
        Self { settings: Settings::new(Rate(limiter), Http) }
    }
}

impl<K, F> RateLimitLayer<Keyed<KeyedRateLimiter<K>, F>> {
    /// With a limit for each key: see [`KeyOf`](crate::base::KeyOf).
    pub const fn keyed(limiter: KeyedRateLimiter<K>, key: F) -> Self {
        Self { settings: Settings::new(Rate(Keyed { limiter, key }), Http) }
    }
}

impl<M> RateLimitLayer<RateLimiter, M> {
    /// What happens to a call for which there is no room. Default: [`Admission::Reject`].
    pub fn admission(mut self, admission: Admission) -> Self {
        self.settings.admission = admission;
        self
    }
}

impl<L, M> RateLimitLayer<L, M> {
    /// Let a call for which there is no room wait for its turn, so long at most: [`Admission::WaitUpTo`]. Whoever would have to wait
    /// longer is refused at once, so no more wait than the quota has in that time. Default: it is refused at once.
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.settings.admission = Admission::WaitUpTo(patience);
        self
    }

    /// A further limit: a call takes from all of them, or from none. Give them names, by which clients can tell them apart. Where calls
    /// [wait](Self::wait_up_to) for one of them, what they take of the others counts from when it was taken, though it is used later. Under
    /// [`Admission::Backpressure`] a layer of several limits decides in the call, and refuses.
    pub fn and<N>(self, limiter: N) -> RateLimitLayer<Both<L, N>, M> {
        RateLimitLayer { settings: self.settings.map(|Rate(first)| Rate(Both { first, second: limiter })) }
    }

    /// A further limit for each key: see [`and`](Self::and).
    pub fn and_keyed<K, F>(
        self,
        limiter: KeyedRateLimiter<K>,
        key: F,
    ) -> RateLimitLayer<Both<L, Keyed<KeyedRateLimiter<K>, F>>, M> {
        self.and(Keyed { limiter, key })
    }

    /// What a request takes of the limits so far. Default: 1. What is free costs 0. Under [`Admission::Backpressure`] it is decided in
    /// the call, by refusal.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use stonework::limit::{Quota, RateLimitLayer};
    ///
    /// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
    /// let cost = |request: &Request<String>| if request.method() == Method::GET { 1 } else { 10 };
    /// let layer = RateLimitLayer::new(Quota::per_minute(1_000))?.cost(cost);
    /// # let _ = layer;
    /// # Ok(()) }
    /// ```
    pub fn cost<F>(self, cost: F) -> RateLimitLayer<Costs<L, F>, M> {
        RateLimitLayer { settings: self.settings.map(|Rate(limit)| Rate(Costs { limit, cost })) }
    }

    /// Exempt requests for which `exempt` is true from the limits so far. They take nothing.
    pub fn except<F>(self, exempt: F) -> RateLimitLayer<Except<L, F>, M> {
        RateLimitLayer { settings: self.settings.map(|Rate(limit)| Rate(Except { limit, exempt })) }
    }

    /// Refuse with a response, a [`Problem`] with status 429 and `Retry-After`, and leave the inner error type alone: for servers. Every
    /// response says how things stand, in the fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
    pub fn answer(self) -> RateLimitLayer<L, Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> RateLimitLayer<L, Answer<R>> {
        RateLimitLayer { settings: self.settings.mode(Answer::with(refuse)) }
    }

    /// Keep to yourself how things stand: responses get no field `RateLimit`, and no `RateLimit-Policy`.
    pub fn without_fields(mut self) -> Self {
        self.settings.tells = false;
        self
    }

    /// Refuse with an error, whatever the type of the response.
    pub fn plain(self) -> RateLimitLayer<L, Plain> {
        RateLimitLayer { settings: self.settings.mode(Plain) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.settings.gate = None;
        }
        self
    }
}

impl<L: Clone, M: Clone> Clone for RateLimitLayer<L, M> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<L: fmt::Debug, M> fmt::Debug for RateLimitLayer<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("limit", &self.settings.gate)
            .field("admission", &self.settings.admission)
            .finish_non_exhaustive()
    }
}

impl<S, L: Clone, M: Clone> Layer<S> for RateLimitLayer<L, M> {
    type Service = Gated<S, Rate<L>, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated::with(inner, self.settings.clone())
    }
}
