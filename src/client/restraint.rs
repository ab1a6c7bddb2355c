//! What is not sent, since its server would not take it.

use http::Response;
use tower::ServiceExt;
use tower::util::{Either, option_layer};
use tower_layer::Layer;

use super::ClientSettings;
use super::builder::Judge;
use super::instead::Boxed;
use super::service::Guarded;
use crate::base::body::{Body, Held};
use crate::base::{Rng, WallClock};
use crate::limit::{AdaptiveThrottleLayer, KeyedAdaptiveThrottle, ServerQuotaLayer, ServerQuotas};

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
        service: Guarded,
    ) -> Either<Boxed, Guarded> {
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
            Some(quotas) => Either::Left(quotas.layer(service).map_response(boxed)),
            None => Either::Right(service),
        };
        let throttle = self.throttle.clone().map(AdaptiveThrottleLayer::from);
        let throttle = throttle.map(|throttle| throttle.classify(classify.clone()));
        Either::Left(Boxed::new(option_layer(throttle).layer(service)))
    }
}

fn boxed(response: Response<Held<Body, ()>>) -> Response<Body> {
    response.map(Body::new)
}
