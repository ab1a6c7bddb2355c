use std::sync::Arc;

use tower_layer::Layer;

use super::{CoalesceService, CoalesceSettings};

/// Makes one call of several that ask for the same at the same time. See the [module](super).
///
/// A service that it makes shares calls with its clones, and with no other.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct CoalesceLayer {
    settings: Arc<CoalesceSettings>,
    is_on: bool,
}

impl Default for CoalesceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<CoalesceSettings> for CoalesceLayer {
    fn from(settings: CoalesceSettings) -> Self {
        Self { settings: Arc::new(settings), is_on: true }
    }
}

impl CoalesceLayer {
    /// With the defaults: see [`CoalesceSettings`].
    pub fn new() -> Self {
        Self::from(CoalesceSettings::new())
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(self, on: bool) -> Self {
        Self { is_on: on, ..self }
    }
}

impl<S> Layer<S> for CoalesceLayer {
    type Service = CoalesceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CoalesceService::with(inner, Arc::clone(&self.settings), self.is_on)
    }
}
