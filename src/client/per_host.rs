//! What belongs to one host, or to one of its endpoints: how its answers are read, limits, a circuit.

use http::Response;
use tower::util::MapResponse;
use tower_layer::Layer;

use super::ClientSettings;
use super::builder::Judge;
use super::limits::{LimitedBody, Limits};
use super::service::Guarded;
use super::transport::{Transport, Wired};
use crate::base::body::{Body, Held};
use crate::breaker::{Breakers, BreakersLayer, Judging};
use crate::timeout::{BodyLimits, ResponseBodyTimeoutLayer, TimedBody};

#[derive(Clone)]
pub(super) struct PerHost {
    body: BodyLimits,
    limits: Limits,
    breakers: Option<Breakers>,
    classify: Judge,
}

impl PerHost {
    pub(super) fn new(
        settings: &ClientSettings,
        limits: Limits,
        breakers: Option<Breakers>,
        classify: Judge,
    ) -> Self {
        Self { body: settings.body, limits, breakers, classify }
    }

    /// `key` says which host a request belongs to.
    pub(super) fn around<K: Clone>(&self, transport: Transport, key: K) -> Guarded<K> {
        let wire = ResponseBodyTimeoutLayer::new(self.body).layer(transport);
        let wire = MapResponse::new(self.limits.around(key.clone(), wire), boxed as fn(_) -> _);
        let breakers = self.breakers.clone();
        let on = breakers.is_some();
        let breaker = BreakersLayer::keyed(breakers.unwrap_or_default(), key).when(on);
        MapResponse::new(breaker.classify(self.classify.clone()).layer(wire), guarded as fn(_) -> _)
    }
}

fn guarded(response: Response<Held<Body, Option<Judging<Judge>>>>) -> Response<Body> {
    response.map(Body::new)
}

fn boxed(response: Response<LimitedBody<TimedBody<Wired>>>) -> Response<Body> {
    response.map(Body::new)
}
