//! What is not sent, since its server would not take it: the settings that say so, and the layers.

use tower::util::{Either, option_layer};
use tower_layer::Layer;

use super::ClientSettings;
use super::builder::Judge;
use super::instead::Boxed;
use super::service::Balanced;
use super::unified::Unified;
use crate::base::{Rng, WallClock};
use crate::limit::{
    AdaptiveThrottleLayer, KeyedAdaptiveThrottle, ServerQuotaLayer, ServerQuotas, ThrottleSettings,
};

/// How a client holds back, as far as it does. Boxed: those who do not are not to pay for the size of the futures.
#[derive(Clone, Debug, Default)]
pub(super) struct Restraint {
    pub(super) throttle: Option<KeyedAdaptiveThrottle>,
    pub(super) quotas: Option<ServerQuotas>,
}

impl Restraint {
    /// What was given, or what the settings, which were checked, ask for.
    pub(super) fn or_of(self, settings: &ClientSettings, rng: Option<&Rng>, wall: &WallClock) -> Self {
        let own = || {
            let own = settings.throttle.and_then(|settings| KeyedAdaptiveThrottle::new(settings).ok())?;
            Some(match rng {
                Some(rng) => own.rng(rng.clone()),
                None => own,
            })
        };
        let throttle = self.throttle.or_else(own);
        let own = || settings.server_quotas.then(|| ServerQuotas::new().wall_clock(wall.clone()));
        Self { throttle, quotas: self.quotas.or_else(own) }
    }

    /// The throttle outermost: it does not count what a quota keeps back, and what it keeps back takes nothing of a quota.
    pub(super) fn around(
        &self,
        settings: &ClientSettings,
        classify: &Judge,
        service: Balanced,
    ) -> Either<Boxed, Balanced> {
        if self.throttle.is_none() && self.quotas.is_none() {
            return Either::Right(service);
        }
        let quotas = self.quotas.clone().map(|quotas| {
            let layer = ServerQuotaLayer::from(quotas);
            match settings.queue_timeout {
                Some(patience) => layer.wait_up_to(patience),
                None => layer,
            }
        });
        let service = match quotas {
            Some(quotas) => Either::Left(Unified(quotas.layer(service))),
            None => Either::Right(service),
        };
        let throttle = self.throttle.clone().map(AdaptiveThrottleLayer::from);
        let throttle = throttle.map(|throttle| throttle.classify(classify.clone()));
        Either::Left(Boxed::new(option_layer(throttle).layer(service)))
    }
}

impl ClientSettings {
    /// Keep to what servers say of their limits, in `RateLimit` and `RateLimit-Policy` or with 429 and `Retry-After`: see
    /// [`ServerQuotaLayer`](crate::limit::ServerQuotaLayer). An attempt for which nothing is left waits as long as
    /// [`queue_timeout`](Self::queue_timeout) says; else it is not sent, and the next one is made when there is more. Default: off. In a
    /// file: `server_quotas = true`.
    pub const fn server_quotas(mut self) -> Self {
        self.server_quotas = true;
        self
    }

    /// Do not send a host what it would most likely refuse, by what it took lately: see
    /// [`AdaptiveThrottle`](crate::limit::AdaptiveThrottle). Each attempt counts; one that is held back is not repeated. Default: off.
    ///
    /// ```
    /// use stonework::client::{Client, ClientSettings};
    /// use stonework::limit::ThrottleSettings;
    ///
    /// let settings = ClientSettings::new().throttle(ThrottleSettings::new().multiplier(1.5));
    /// let client = Client::builder().settings(settings).build()?;
    /// assert!(client.explain().contains("throttle: by host and port; up to 1.5 times what is taken"));
    /// # Ok::<(), stonework::client::InvalidClient>(())
    /// ```
    pub const fn throttle(mut self, settings: ThrottleSettings) -> Self {
        self.throttle = Some(settings);
        self
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tower_service::Service;

    use super::super::service::{Guarded, Timed};
    use super::*;
    use crate::base::body::Body;

    /// How large the future of a call is.
    const fn size<S: Service<Request<Body>>>() -> usize {
        size_of::<S::Future>()
    }

    /// What is on is behind a box: what is off is a word at most.
    #[test]
    fn a_call_is_no_larger_for_layers_that_are_off() {
        assert!(size::<Either<Boxed, Balanced>>() <= size::<Guarded>() + 2 * size_of::<usize>());
        assert!(size::<Either<Boxed, Timed>>() <= size::<Timed>() + size_of::<usize>());
    }
}
