//! The innermost service: one request over one connection.
//!
//! [`places`], [`keep_alive`] and [`key`] decide; a [`host`](host::Host) holds the connections to it and the queue of those who wait for
//! one, [`dial`] makes them, a [`lease`] is one of them in the hands of a request, and [`exchange`] takes a request from its caller to its
//! answer.

mod connection;
mod core;
mod dial;
mod exchange;
mod expect;
mod head;
mod host;
mod keep_alive;
mod keeper;
mod key;
mod lease;
mod places;
mod pulse;
mod upload;
mod waiting;
mod wire;
mod wired;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use self::core::Core;
use self::exchange::exchange;
pub(in crate::client) use self::wired::Wired;
use super::{ClientSettings, ConnectionStats};
use crate::base::body::Body;
use crate::base::{Error, Observe, Rng};
use crate::connect::Connector;

/// Sends a request over the connections that all clones share.
#[derive(Clone)]
pub(super) struct Transport(Arc<Owner>);

/// Closes what nobody uses once the last clone, and the last request of any, is gone.
struct Owner(Arc<Core>);

impl Transport {
    pub(super) fn new(settings: &ClientSettings, connector: Connector, observe: Observe, rng: Rng) -> Self {
        Self(Arc::new(Owner(Arc::new(Core::new(settings.clone(), connector, observe, rng)))))
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        self.0.0.stats()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.0.0).finish()
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
        Exchange(Box::pin(exchange(Arc::clone(&self.0), request)))
    }
}

/// A request that is under way.
pub(super) struct Exchange(Pin<Box<dyn Future<Output = Result<Response<Wired>, Error>> + Send>>);

impl Future for Exchange {
    type Output = Result<Response<Wired>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}
