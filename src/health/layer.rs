use tower_layer::Layer;

use super::{Health, HealthService};

/// Answers probes, and hands all else on. It belongs outside of every other layer of a server, so that no limit refuses a probe.
/// See the [module](super).
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct HealthLayer {
    // Nothing, if the layer is off.
    health: Option<Health>,
    grpc: bool,
}

impl From<Health> for HealthLayer {
    fn from(health: Health) -> Self {
        Self { health: Some(health), grpc: true }
    }
}

impl HealthLayer {
    /// Leave gRPC's health service to the inner service, which has one of its own.
    pub const fn without_grpc(mut self) -> Self {
        self.grpc = false;
        self
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.health = None;
        }
        self
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> HealthService<S> {
        HealthService::with(inner, self.health.clone(), self.grpc)
    }
}
