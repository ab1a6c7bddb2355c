//! What belongs to one host, or to one of its endpoints: how its answers are read, limits, a circuit.

use tower_layer::Layer;

use super::ClientSettings;
use super::builder::Judge;
use super::limits::Limits;
use super::service::Guarded;
use super::transport::Transport;
use super::unified::Unified;
use crate::breaker::{Breakers, BreakersLayer};
use crate::timeout::{BodyLimits, ResponseBodyTimeoutLayer};

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
        let wire = Unified(self.limits.around(key.clone(), wire));
        let breakers = self.breakers.clone();
        let on = breakers.is_some();
        let breaker = BreakersLayer::keyed(breakers.unwrap_or_default(), key).when(on);
        Unified(breaker.classify(self.classify.clone()).layer(wire))
    }
}
