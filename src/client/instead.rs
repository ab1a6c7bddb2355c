//! What a client asks when a call has failed. Its type is not known before the builder is told, so it is behind a box.

use std::sync::Arc;

use http::{Request, Response};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};
use tower_layer::Layer;

use super::service::Calls;
use crate::base::body::Body;
use crate::base::{BoxError, Error, Observer};
use crate::fallback::{FallbackLayer, FallbackSettings};

pub(super) type Boxed = BoxCloneSyncService<Request<Body>, Response<Body>, Error>;

type Wrap = dyn Fn(Calls, FallbackSettings, Option<Arc<dyn Observer>>) -> Boxed + Send + Sync;

#[derive(Clone)]
pub(super) struct Instead {
    wrap: Arc<Wrap>,
    /// What it is, in words.
    pub(super) told: &'static str,
}

impl Instead {
    pub(super) fn service<S>(backup: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        // Boxed, since the layer's future would else be as large as both services'.
        let backup = BoxCloneSyncService::new(backup.map_err(Error::wrap));
        let wrap = move |calls, settings, observer| {
            BoxCloneSyncService::new(
                tuned(FallbackLayer::service(backup.clone()), settings, observer).layer(calls),
            )
        };
        Self { wrap: Arc::new(wrap), told: "another service" }
    }

    pub(super) fn value(value: impl Fn(&Error) -> Response<Body> + Send + Sync + 'static) -> Self {
        let value = Arc::new(value);
        let wrap = move |calls, settings, observer| {
            let value = Arc::clone(&value);
            let layer = FallbackLayer::value(move |error: &Error| value(error));
            BoxCloneSyncService::new(tuned(layer, settings, observer).layer(calls))
        };
        Self { wrap: Arc::new(wrap), told: "a value" }
    }

    pub(super) fn around(
        &self,
        calls: Calls,
        settings: FallbackSettings,
        observer: Option<Arc<dyn Observer>>,
    ) -> Boxed {
        (self.wrap)(calls, settings, observer)
    }
}

fn tuned<F: Clone>(
    layer: FallbackLayer<F>,
    settings: FallbackSettings,
    observer: Option<Arc<dyn Observer>>,
) -> FallbackLayer<F> {
    let layer = layer.settings(settings);
    match observer {
        Some(observer) => layer.observer(observer),
        None => layer,
    }
}
