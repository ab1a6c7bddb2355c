use std::task::{Context, Poll};

use http::{Extensions, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::base::{Route, context};

/// What a router of axum has matched.
#[cfg(feature = "axum")]
pub(super) fn matched(extensions: &Extensions) -> Option<Route> {
    extensions.get::<axum::extract::MatchedPath>().map(|path| Route::from(path.as_str()))
}

#[cfg(not(feature = "axum"))]
pub(super) const fn matched(_: &Extensions) -> Option<Route> {
    None
}

/// Says which [`Route`] a request was taken for, to everything outside of it that has to do with requests, such as an
/// [`AccessLogLayer`](super::AccessLogLayer), and as an extension to everything inside. Put it where that is known.
///
/// ```
/// use axum::{Router, routing::get};
/// use stonework::observe::{AccessLogLayer, RouteLayer};
///
/// let router: Router = Router::new()
///     .route("/users/{id}", get(|| async { "hello" }))
///     .layer(RouteLayer::matched())
///     .layer(AccessLogLayer::new());
/// # let _ = router;
/// ```
///
/// *Errors, panics, cancellation, readiness and cloning:* those of the inner service.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RouteLayer {
    route: Which,
}

#[derive(Clone, Debug)]
enum Which {
    This(Route),
    #[cfg(feature = "axum")]
    Matched,
    Off,
}

impl RouteLayer {
    /// This one.
    ///
    /// ```
    /// use stonework::observe::RouteLayer;
    ///
    /// let layer = RouteLayer::new("/users/{id}");
    /// # let _ = layer;
    /// ```
    pub fn new(route: impl Into<Route>) -> Self {
        Self { route: Which::This(route.into()) }
    }

    /// The one that a router of axum has matched: for `Router::layer`.
    #[cfg(feature = "axum")]
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub const fn matched() -> Self {
        Self { route: Which::Matched }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.route = Which::Off;
        }
        self
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Routed<S>;

    fn layer(&self, inner: S) -> Routed<S> {
        Routed { inner, route: self.route.clone() }
    }
}

/// Says which route a request was taken for. See [`RouteLayer`].
#[derive(Debug)]
pub struct Routed<S> {
    inner: S,
    route: Which,
}

impl<S: Clone> Clone for Routed<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), route: self.route.clone() }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Routed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let route = match &self.route {
            Which::This(route) => Some(route.clone()),
            #[cfg(feature = "axum")]
            Which::Matched => matched(request.extensions()),
            Which::Off => None,
        };
        if let Some(route) = route {
            context::tell(|outside| {
                let _ = outside.route.set(route.clone());
            });
            request.extensions_mut().insert(route);
        }
        self.inner.call(request)
    }
}
