//! The innermost service: one request over one connection of the pool.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pin_project::pin_project;
use tower_service::Service;

use super::ClientSettings;
use super::wire::Connector;
use crate::base::Error;
use crate::base::body::Body;
use crate::base::deadline::countable;
use crate::exchange::{Facts, Outgoing, frame};

type Pool = legacy::Client<Connector, Outgoing>;

/// Sends a request over the pool that all clones share.
pub(super) struct Transport {
    pool: Arc<Pool>,
}

impl Transport {
    pub(super) fn new(settings: &ClientSettings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.connect_timeout));
        connector.set_nodelay(true);
        let pool = legacy::Client::builder(TokioExecutor::new())
            // Without a timer, connections that nobody asks for again would stay for ever.
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout.map(countable))
            .pool_max_idle_per_host(if settings.idle_timeout.is_some() {
                settings.max_idle_per_host
            } else {
                0
            })
            // `retry` repeats those too, and counts, limits and reports it.
            .retry_canceled_requests(false)
            .build(Connector(connector));
        Self { pool: Arc::new(pool) }
    }
}

impl Clone for Transport {
    fn clone(&self) -> Self {
        Self { pool: Arc::clone(&self.pool) }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = Exchange;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A request waits for its connection inside the call, where its clock is running.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Exchange {
        frame(&mut request);
        Exchange { answer: self.pool.request(request.map(Outgoing)) }
    }
}

/// A request that is under way.
#[pin_project]
pub(super) struct Exchange {
    #[pin]
    answer: legacy::ResponseFuture,
}

impl Future for Exchange {
    type Output = Result<Response<Incoming>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.answer.poll(cx)) {
            Ok(response) => Ok(response),
            Err(error) => {
                let (kind, delivery) = Facts::of(&error).judge();
                Err(Error::new(kind, error).with_delivery(delivery))
            }
        })
    }
}
