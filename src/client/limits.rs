//! How much at once, and in which time, goes to each host.

use std::time::Duration;

use tower_layer::Layer;

use super::ClientSettings;
use crate::base::HostPort;
use crate::base::body::Held;
use crate::limit::{
    Concurrency, ConcurrencyLimitLayer, ConcurrencySettings, Gated, Keyed, KeyedConcurrencyLimiter,
    KeyedRateLimiter, Permit, Quota, Rate, RateLimitLayer,
};

type Rates<K> = Rate<Keyed<KeyedRateLimiter<HostPort>, K>>;
type AtOnce<K> = Concurrency<Keyed<KeyedConcurrencyLimiter<HostPort>, K>>;

/// A service below both limits. Who waits for the rate is in flight: what it takes of the rate, it uses at once.
pub(super) type Limited<S, K> = Gated<Gated<S, Rates<K>>, AtOnce<K>>;
/// The body of an answer of it.
pub(super) type LimitedBody<B> = Held<Held<B, ()>, Option<Permit>>;

/// The limits of a client, as far as it has any.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) concurrency: Option<KeyedConcurrencyLimiter<HostPort>>,
    pub(super) rates: Option<KeyedRateLimiter<HostPort>>,
    queue_timeout: Option<Duration>,
}

impl Limits {
    /// Those that were given, or those of the settings, which were checked.
    pub(super) fn new(
        settings: &ClientSettings,
        concurrency: Option<KeyedConcurrencyLimiter<HostPort>>,
        rates: Option<KeyedRateLimiter<HostPort>>,
    ) -> Self {
        let own = || settings.concurrency.and_then(|settings| KeyedConcurrencyLimiter::new(settings).ok());
        let concurrency = concurrency.or_else(own);
        let own = || settings.rate_limit.and_then(|quota| KeyedRateLimiter::named("host", quota).ok());
        Self { concurrency, rates: rates.or_else(own), queue_timeout: settings.queue_timeout }
    }

    /// `key` says which host a request belongs to.
    pub(super) fn around<S, K: Clone>(&self, key: K, service: S) -> Limited<S, K> {
        // One that is switched off holds a limiter that nobody asks.
        let nobody = || KeyedConcurrencyLimiter::new(ConcurrencySettings::new(1)).expect("more than zero");
        let at_once =
            ConcurrencyLimitLayer::keyed(self.concurrency.clone().unwrap_or_else(nobody), key.clone());
        let nobody = || KeyedRateLimiter::new(Quota::per_second(1)).expect("more than zero");
        let rate = RateLimitLayer::keyed(self.rates.clone().unwrap_or_else(nobody), key);
        let (at_once, rate) = match self.queue_timeout {
            Some(patience) => (at_once.wait_up_to(patience), rate.wait_up_to(patience)),
            None => (at_once, rate),
        };
        at_once.when(self.concurrency.is_some()).layer(rate.when(self.rates.is_some()).layer(service))
    }
}
