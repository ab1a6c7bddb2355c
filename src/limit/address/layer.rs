use std::sync::Arc;

use tower_layer::Layer;

use super::{ClientAddressService, TrustedProxies};

/// Finds out who is asking, also behind proxies: gives each request its [`ClientAddress`](crate::base::ClientAddress).
///
/// Put it outside of whatever wants to know. The peer is known below a [`Server`](crate::server::Server); elsewhere insert a
/// [`Peer`](crate::base::Peer) yourself, or there are only the addresses that proxies tell. An address that is there already
/// is replaced.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::limit::InvalidProxies> {
/// use axum::{Extension, Router, body::Body, routing::get};
/// use http::Request;
/// use http_body_util::BodyExt;
/// use stonework::base::ClientAddress;
/// use stonework::limit::{ClientAddressLayer, TrustedProxies};
/// use tower::ServiceExt;
///
/// let app: Router = Router::new()
///     .route("/", get(|Extension(client): Extension<ClientAddress>| async move { client.to_string() }))
///     .layer(ClientAddressLayer::new(TrustedProxies::hops(1)?));
///
/// // The client has written the first one, the proxy the second.
/// let request = Request::get("/").header("x-forwarded-for", "203.0.113.9, 192.0.2.7").body(Body::empty()).unwrap();
/// let answer = app.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
/// assert_eq!(answer, "192.0.2.7");
/// # Ok(())
/// # }
/// ```
///
/// Below `axum::serve`, the peer is what axum knows of the connection:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::net::SocketAddr;
///
/// use axum::extract::{ConnectInfo, Request};
/// use axum::{Extension, Router, middleware::map_request, routing::get};
/// use stonework::base::{ClientAddress, Peer};
/// use stonework::limit::{ClientAddressLayer, TrustedProxies};
///
/// async fn peer(ConnectInfo(addr): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(Peer::from(addr));
///     request
/// }
///
/// let app: Router = Router::new()
///     .route("/", get(|Extension(client): Extension<ClientAddress>| async move { client.to_string() }))
///     .layer(ClientAddressLayer::new(TrustedProxies::none()))
///     .layer(map_request(peer));
/// // axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
/// # use tower::ServiceExt;
/// # let mut request = Request::new(axum::body::Body::empty());
/// # request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
/// # let answer = app.oneshot(request).await.unwrap().into_body();
/// # assert_eq!(axum::body::to_bytes(answer, 100).await.unwrap(), "192.0.2.7");
/// # }
/// ```
///
/// *Errors:* those of the inner service. *Panics:* never of itself. *Cancellation:* dropping a future drops the call inside,
/// whose future it is. *Readiness and cloning:* those of the inner service.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct ClientAddressLayer {
    // Nothing, if the layer is off.
    proxies: Option<Arc<TrustedProxies>>,
}

impl ClientAddressLayer {
    /// Believe these proxies. There is no default: which ones stand in front is the service's to know.
    pub fn new(proxies: TrustedProxies) -> Self {
        Self { proxies: Some(Arc::new(proxies)) }
    }

    /// With `false`, switch the layer off; its type stays the same. Requests then get no address, and
    /// [`ClientAddress::of`](crate::base::ClientAddress::of) has the peer's. For handlers that take the extension say
    /// [`TrustedProxies::none`] instead.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.proxies = None;
        }
        self
    }
}

impl<S> Layer<S> for ClientAddressLayer {
    type Service = ClientAddressService<S>;

    fn layer(&self, inner: S) -> ClientAddressService<S> {
        ClientAddressService::with(inner, self.proxies.clone())
    }
}
