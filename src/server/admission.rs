//! What stands before the service: who is asking, and whether it may come in.

use tower_layer::Layer;

use super::ServerSettings;
use crate::base::{Answer, ByClient, Network, Problem};
use crate::limit::{
    Admission as Wait, ClientAddressLayer, ClientAddressService, Concurrency, ConcurrencyLimitLayer,
    ConcurrencyLimiter, Gated, Keyed, KeyedRateLimiter, Rate, RateLimitLayer,
};

type ByNetwork = Keyed<KeyedRateLimiter<Network>, ByClient>;

/// A service behind all of it.
pub(super) type Admitted<S> = ClientAddressService<
    Gated<Gated<S, Rate<ByNetwork>, Answer<Problem>>, Concurrency<ConcurrencyLimiter>, Answer<Problem>>,
>;

/// The layers, outermost first: who it is has to be known first, and what is refused because there is too much in flight has not
/// spent any of its client's quota.
#[derive(Debug)]
pub(super) struct Admission {
    address: ClientAddressLayer,
    concurrency: ConcurrencyLimitLayer<ConcurrencyLimiter, Answer<Problem>>,
    rate: RateLimitLayer<ByNetwork, Answer<Problem>>,
    pub(super) limiter: Option<ConcurrencyLimiter>,
    pub(super) rates: Option<KeyedRateLimiter<Network>>,
}

impl Admission {
    /// The settings were checked.
    pub(super) fn new(
        settings: &ServerSettings,
        limiter: Option<ConcurrencyLimiter>,
        rates: Option<KeyedRateLimiter<Network>>,
    ) -> Self {
        let own = || settings.concurrency.and_then(|settings| ConcurrencyLimiter::new(settings).ok());
        let limiter = limiter.or_else(own);
        let own = || settings.rate_limit.and_then(|quota| KeyedRateLimiter::named("client", quota).ok());
        let rates = rates.or_else(own);
        // One that is switched off holds a limiter that nobody asks.
        let unlimited = || ConcurrencyLimiter::new(1).expect("more than zero");
        let concurrency = ConcurrencyLimitLayer::from(limiter.clone().unwrap_or_else(unlimited));
        let unlimited = || KeyedRateLimiter::new(crate::limit::Quota::per_second(1)).expect("more than zero");
        let rate = RateLimitLayer::keyed(rates.clone().unwrap_or_else(unlimited), ByClient);
        Self {
            address: ClientAddressLayer::new(settings.trusted_proxies.clone()),
            concurrency: concurrency
                .admission(settings.queue_timeout.map_or(Wait::Reject, Wait::WaitUpTo))
                .answer()
                .when(limiter.is_some()),
            rate: rate.answer().when(rates.is_some()),
            limiter,
            rates,
        }
    }

    pub(super) fn around<S>(&self, service: S) -> Admitted<S> {
        self.address.layer(self.concurrency.layer(self.rate.layer(service)))
    }
}
