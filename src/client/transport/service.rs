use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::core::Core;
use super::exchange::exchange;
use super::wired::Wired;
use crate::base::body::Body;
use crate::base::{Error, HostPort, Observe, Rng};
use crate::client::{ClientSettings, ConnectionStats};
use crate::connect::Connector;

/// Sends a request over the connections that all clones share.
pub(in crate::client) struct Transport {
    owner: Arc<Owner>,
    /// Where all of them go, whichever host they name; else to that.
    place: Option<Arc<HostPort>>,
}

/// Closes what nobody uses once the last clone, and the last request of any, is gone.
pub(super) struct Owner(pub(super) Arc<Core>);

impl Transport {
    pub(in crate::client) fn new(
        settings: &ClientSettings,
        connector: Connector,
        observe: Observe,
        rng: Rng,
    ) -> Self {
        let core = Arc::new(Core::new(settings.clone(), connector, observe, rng));
        Self { owner: Arc::new(Owner(core)), place: None }
    }

    /// The same connections, for requests that all go to one place.
    #[cfg(feature = "balance")]
    pub(in crate::client) fn at(&self, place: HostPort) -> Self {
        Self { owner: Arc::clone(&self.owner), place: Some(Arc::new(place)) }
    }

    pub(in crate::client) fn stats(&self) -> ConnectionStats {
        self.owner.0.stats()
    }
}

impl Clone for Transport {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner), place: self.place.clone() }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.owner.0).finish()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Wired>;
    type Error = Error;
    type Future = Exchange;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A request waits for its connection inside the call, where its clock is running.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Exchange {
        Exchange(Box::pin(exchange(Arc::clone(&self.owner), self.place.clone(), request)))
    }
}

/// A request that is under way.
pub(in crate::client) struct Exchange(Pin<Box<dyn Future<Output = Result<Response<Wired>, Error>> + Send>>);

impl Future for Exchange {
    type Output = Result<Response<Wired>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}
