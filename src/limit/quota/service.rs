use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::handle::Server;
use super::{HeardFuture, ServerQuotas};
use crate::base::{KeyOf, scope};
use crate::limit::gate::Keyed;

/// Hears what the answers of a service say of its limits. See [`ServerQuotaLayer`](super::ServerQuotaLayer).
pub struct Heard<S, K, F> {
    inner: S,
    quotas: Keyed<ServerQuotas<K>, F>,
    /// The server that was called last: as a rule it is called next, and no lock has to be taken to find it.
    last: Option<Arc<Server<K>>>,
}

impl<S, K, F> Heard<S, K, F> {
    pub(super) const fn new(inner: S, quotas: Keyed<ServerQuotas<K>, F>) -> Self {
        Self { inner, quotas, last: None }
    }
}

impl<S: Clone, K, F: Clone> Clone for Heard<S, K, F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), quotas: self.quotas.clone(), last: self.last.clone() }
    }
}

impl<S, B, R, F> Service<Request<B>> for Heard<S, F::Key, F>
where
    S: Service<Request<B>, Response = Response<R>>,
    F: KeyOf<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HeardFuture<S::Future, F::Key>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Keyed { limiter: quotas, key } = &self.quotas;
        let key = key.key_of(&request);
        let server = match &self.last {
            Some(last) if last.key == key => Arc::clone(last),
            _ => {
                let server = quotas.server(key, scope::now());
                self.last = Some(Arc::clone(&server));
                server
            }
        };
        let number = server.sent();
        HeardFuture { answer: self.inner.call(request), quotas: quotas.clone(), server, number }
    }
}

impl<S: fmt::Debug, K, F> fmt::Debug for Heard<S, K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard")
            .field("inner", &self.inner)
            .field("quotas", &self.quotas)
            .finish_non_exhaustive()
    }
}
