use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::TrustedProxies;
use crate::base::{ClientAddress, Peer, context};

/// Finds out who is asking. See [`ClientAddressLayer`](super::ClientAddressLayer).
#[derive(Debug)]
pub struct ClientAddressService<S> {
    inner: S,
    // Nothing, if the layer is off.
    proxies: Option<Arc<TrustedProxies>>,
}

impl<S> ClientAddressService<S> {
    /// Believe these proxies.
    ///
    /// ```
    /// use stonework::limit::{ClientAddressService, TrustedProxies};
    /// use tower::service_fn;
    ///
    /// let handler = service_fn(|_: http::Request<()>| async { Ok::<_, std::io::Error>(http::Response::new(())) });
    /// let service = ClientAddressService::new(handler, TrustedProxies::hops(1)?);
    /// # let _ = service;
    /// # Ok::<(), stonework::limit::InvalidProxies>(())
    /// ```
    pub fn new(inner: S, proxies: TrustedProxies) -> Self {
        Self::with(inner, Some(Arc::new(proxies)))
    }

    pub(super) const fn with(inner: S, proxies: Option<Arc<TrustedProxies>>) -> Self {
        Self { inner, proxies }
    }
}

impl<S: Clone> Clone for ClientAddressService<S> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.proxies.clone())
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ClientAddressService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(proxies) = &self.proxies {
            let client: ClientAddress = proxies.client(Peer::of(request.extensions()), request.headers());
            request.extensions_mut().insert(client);
            context::tell(|outside| {
                let _ = outside.client.set(client);
            });
        }
        self.inner.call(request)
    }
}
