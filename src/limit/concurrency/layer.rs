use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use tower_layer::Layer;

use super::{
    Concurrency, ConcurrencyLimiter, ConcurrencySettings, InvalidConcurrency, KeyedConcurrencyLimiter,
    Prioritized,
};
use crate::base::{Answer, Http, Plain, Problem};
use crate::limit::Admission;
#[cfg(feature = "server")]
use crate::limit::QuotaAndRoomLayer;
use crate::limit::gate::{Except, Gated, Keyed, Settings};

/// Limits how many calls are in flight at once. See the [module](crate::limit).
///
/// A call is in flight until the body of its response has ended, unless it is said to [end with the head](Self::until_head), or the limit
/// is [adaptive](crate::limit::AdaptiveSettings). All
/// services made by one layer, by its clones, or from one [`ConcurrencyLimiter`] share the limit.
///
/// ```
/// use stonework::limit::{ConcurrencyLimitLayer, ConcurrencyLimiter};
///
/// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
/// let limiter = ConcurrencyLimiter::new(100)?;
/// // On a server: 503 in place of an error, and nothing for those who ask whether it is well.
/// let layer = ConcurrencyLimitLayer::from(limiter.clone())
///     .except(|request: &http::Request<axum::body::Body>| request.uri().path() == "/healthz")
///     .answer();
/// println!("{} of {}", limiter.in_flight(), limiter.limit());
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ConcurrencyLimitLayer<L = ConcurrencyLimiter, M = Http> {
    settings: Settings<Concurrency<L>, M>,
}

/// When to come back where nobody knows when there will be room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl ConcurrencyLimitLayer {
    /// With a limiter of its own: so many at once.
    ///
    /// # Errors
    ///
    /// [`InvalidConcurrency`], if it is zero.
    pub fn new(settings: impl Into<ConcurrencySettings>) -> Result<Self, InvalidConcurrency> {
        ConcurrencyLimiter::new(settings).map(Self::from)
    }
}

impl From<ConcurrencyLimiter> for ConcurrencyLimitLayer {
    fn from(limiter: ConcurrencyLimiter) -> Self {
        let until_head = limiter.is_adaptive();
        Self { settings: Settings { until_head, ..Settings::new(Concurrency(limiter), Http) } }
    }
}

impl<K: Hash + Eq + Clone, F> ConcurrencyLimitLayer<Keyed<KeyedConcurrencyLimiter<K>, F>> {
    /// With a limit for each key: see [`KeyOf`](crate::base::KeyOf).
    ///
    /// ```
    /// use http::{HeaderValue, Request};
    /// use stonework::limit::{ConcurrencyLimitLayer, KeyedConcurrencyLimiter};
    ///
    /// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
    /// let tenant = |request: &Request<String>| request.headers().get("x-tenant").cloned();
    /// let limiter = KeyedConcurrencyLimiter::<Option<HeaderValue>>::new(10)?;
    /// let layer = ConcurrencyLimitLayer::keyed(limiter, tenant);
    /// # let _ = layer;
    /// # Ok(()) }
    /// ```
    pub fn keyed(limiter: KeyedConcurrencyLimiter<K>, key: F) -> Self {
        let until_head = limiter.settings().is_adaptive();
        Self { settings: Settings { until_head, ..Settings::new(Concurrency(Keyed { limiter, key }), Http) } }
    }
}

impl<M> ConcurrencyLimitLayer<ConcurrencyLimiter, M> {
    /// What happens to a call for which there is no room. Default: [`Admission::Reject`].
    pub fn admission(mut self, admission: Admission) -> Self {
        self.settings.admission = admission;
        self
    }
}

impl<L, M> ConcurrencyLimitLayer<L, M> {
    /// Let a call for which there is no room wait, so long at most: [`Admission::WaitUpTo`]. How many may wait is said by
    /// [`ConcurrencySettings::queue`]. Default: it is refused at once.
    pub fn wait_up_to(mut self, patience: Duration) -> Self {
        self.settings.admission = Admission::WaitUpTo(patience);
        self
    }

    /// Exempt requests for which `exempt` is true. They do not count either.
    pub fn except<F>(self, exempt: F) -> ConcurrencyLimitLayer<Except<L, F>, M> {
        let settings = self.settings.map(|Concurrency(limit)| Concurrency(Except { limit, exempt }));
        ConcurrencyLimitLayer { settings }
    }

    /// Let `priority` say how much a request matters: when there is too much to do, what matters less is refused first. Default: all matter
    /// the same.
    ///
    /// | priority | where nobody waits | in the [queue](Admission::Queue) |
    /// |---|---|---|
    /// | [`Health`](crate::base::Priority::Health) | always comes in, and does not count | likewise |
    /// | [`Interactive`](crate::base::Priority::Interactive) | comes in as long as there is room | comes before batch, and takes its place in a full queue |
    /// | [`Batch`](crate::base::Priority::Batch) | keeps off the last tenth of the limit | comes when nobody else waits |
    ///
    /// Where calls wait [in the order of arrival](Self::wait_up_to), only `Health` makes a difference.
    ///
    /// ```
    /// use http::Request;
    /// use stonework::base::Priority;
    /// use stonework::limit::{Admission, AdaptiveSettings, ConcurrencyLimitLayer};
    ///
    /// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
    /// let layer = ConcurrencyLimitLayer::new(AdaptiveSettings::new())?
    ///     .admission(Admission::Queue)
    ///     .priority(|request: &Request<axum::body::Body>| match request.uri().path() {
    ///         "/healthz" => Priority::Health,
    ///         "/export" => Priority::Batch,
    ///         _ => Priority::Interactive,
    ///     })
    ///     .answer();
    /// # let _ = layer;
    /// # Ok(()) }
    /// ```
    pub fn priority<F>(self, priority: F) -> ConcurrencyLimitLayer<Prioritized<L, F>, M> {
        let settings = self.settings.map(|Concurrency(limit)| Concurrency(Prioritized { limit, priority }));
        ConcurrencyLimitLayer { settings }
    }

    /// Let calls for which there is no room wait in a queue that never gets old: [`Admission::Queue`].
    pub fn queue(mut self) -> Self {
        self.settings.admission = Admission::Queue;
        self
    }

    /// Count a call until the head of its response has come, and not its body: where bodies are large, and cost the service nothing. So it
    /// is at any rate with an [adaptive](crate::limit::AdaptiveSettings) limit, which does not know how long bodies may take.
    pub fn until_head(mut self) -> Self {
        self.settings.until_head = true;
        self
    }

    /// Refuse with a response, a [`Problem`] with status 503 that asks to come back in a second, and leave the inner error type alone:
    /// for servers.
    pub fn answer(self) -> ConcurrencyLimitLayer<L, Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> ConcurrencyLimitLayer<L, Answer<R>> {
        let mut settings = self.settings.mode(Answer::with(refuse));
        settings.retry_after.get_or_insert(RETRY_AFTER);
        ConcurrencyLimitLayer { settings }
    }

    /// Say in refusals when to come back. Default: after a second where they are responses, and nothing where they are errors.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.settings.retry_after = Some(delay);
        self
    }

    /// Refuse with an error, whatever the type of the response; a call is over when its response is returned.
    pub fn plain(self) -> ConcurrencyLimitLayer<L, Plain> {
        ConcurrencyLimitLayer { settings: self.settings.mode(Plain) }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.settings.gate = None;
        }
        self
    }
}

impl<L: Clone, M: Clone> Clone for ConcurrencyLimitLayer<L, M> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<L: fmt::Debug, M> fmt::Debug for ConcurrencyLimitLayer<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer")
            .field("limit", &self.settings.gate)
            .field("admission", &self.settings.admission)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "server")]
impl<L, M> ConcurrencyLimitLayer<L, M> {
    /// With a quota, of which a call takes 1 if it comes in.
    pub(crate) fn with_quota<R>(self, quota: Option<R>) -> QuotaAndRoomLayer<R, L, M> {
        QuotaAndRoomLayer::new(quota, self.settings)
    }
}

impl<S, L: Clone, M: Clone> Layer<S> for ConcurrencyLimitLayer<L, M> {
    type Service = Gated<S, Concurrency<L>, M>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated::with(inner, self.settings.clone())
    }
}
