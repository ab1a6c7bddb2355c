//! The innermost service: one request over one connection of the pool.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pin_project::pin_project;
use tower_service::Service;

use super::ClientSettings;
use super::delivery::Facts;
use super::outgoing::Outgoing;
use super::wire::Connector;
use crate::base::Error;
use crate::base::body::Body;
use crate::base::deadline::countable;

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
        // RFC 9110, section 2.5: the version is that of this hop, not of the one that the request may come from.
        *request.version_mut() = Version::HTTP_11;
        if is_framing_needed(&request) {
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Exchange { answer: self.pool.request(request.map(Outgoing)) }
    }
}

/// Hyper takes it that a GET or a HEAD has no body, and drops one whose length it does not know, unless the headers say
/// how it ends.
fn is_framing_needed(request: &Request<Body>) -> bool {
    let (headers, body) = (request.headers(), request.body());
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
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
