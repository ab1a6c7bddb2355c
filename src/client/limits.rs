//! How much at once, and in which time, goes to each host.

use tower_layer::Layer;

use super::ClientSettings;
use crate::base::body::Held;
use crate::base::{ByHost, HostPort};
use crate::limit::{
    Concurrency, ConcurrencyLimitLayer, ConcurrencySettings, Gated, Keyed, KeyedConcurrencyLimiter,
    KeyedRateLimiter, Permit, Quota, Rate, RateLimitLayer,
};

type Rates = Rate<Keyed<KeyedRateLimiter<HostPort>, ByHost>>;
type AtOnce = Concurrency<Keyed<KeyedConcurrencyLimiter<HostPort>, ByHost>>;

/// A service below both limits. Who waits for the rate is in flight: what it takes of the rate, it uses at once.
pub(super) type Limited<S> = Gated<Gated<S, Rates>, AtOnce>;
/// The body of an answer of it.
pub(super) type LimitedBody<B> = Held<Held<B, ()>, Option<Permit>>;

/// The limits of a client, as far as it has any.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) concurrency: Option<KeyedConcurrencyLimiter<HostPort>>,
    pub(super) rates: Option<KeyedRateLimiter<HostPort>>,
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
        Self { concurrency, rates: rates.or_else(own) }
    }

    pub(super) fn around<S>(&self, settings: &ClientSettings, service: S) -> Limited<S> {
        // One that is switched off holds a limiter that nobody asks.
        let nobody = || KeyedConcurrencyLimiter::new(ConcurrencySettings::new(1)).expect("more than zero");
        let at_once = ConcurrencyLimitLayer::keyed(self.concurrency.clone().unwrap_or_else(nobody), ByHost);
        let nobody = || KeyedRateLimiter::new(Quota::per_second(1)).expect("more than zero");
        let rate = RateLimitLayer::keyed(self.rates.clone().unwrap_or_else(nobody), ByHost);
        let (at_once, rate) = match settings.queue_timeout {
            Some(patience) => (at_once.wait_up_to(patience), rate.wait_up_to(patience)),
            None => (at_once, rate),
        };
        at_once.when(self.concurrency.is_some()).layer(rate.when(self.rates.is_some()).layer(service))
    }
}
