//! A service over reqwest's client.

use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response, Version};
use reqwest::{Client, ClientBuilder, redirect, retry};
use tower_service::Service;

use super::ResponseFuture;
use super::delivery::{Exchanges, shown};
use crate::base::body::Body;
use crate::base::{BoxError, Error, Kind};
use crate::exchange::{Outgoing, frame, sendable};

/// Sends requests over a [`reqwest::Client`](Client). See the [module](super), which has an example.
///
/// It is a handle: clones are cheap and share the client. It is always ready.
///
/// It takes any body that is `Send`: bytes in memory go with a `Content-Length`, as does a stream that knows its length;
/// another is sent chunked. The version that a request carries is that of the hop it came from, so it is not looked at;
/// only HTTP/3 has to be asked for, as reqwest wants it.
pub struct Transport {
    client: Client,
    exchanges: Exchanges,
}

impl Transport {
    /// Build the client of `builder`, which then neither follows redirects nor repeats anything: a status of 3xx is an
    /// answer, and failures tell [how far the request got](crate::base::Delivery).
    ///
    /// # Errors
    ///
    /// Of kind [`Invalid`](Kind::Invalid) where [`ClientBuilder::build`] fails: TLS or the resolver could not be set
    /// up, or the builder was given something that is not valid.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::reqwest::Transport;
    ///
    /// let builder = reqwest::Client::builder()
    ///     .connect_timeout(Duration::from_secs(1))
    ///     .pool_idle_timeout(Duration::from_secs(4));
    /// let transport = Transport::build(builder)?;
    /// # let _ = transport;
    /// # Ok::<(), stonework::Error>(())
    /// ```
    pub fn build(builder: ClientBuilder) -> Result<Self, Error> {
        let client = builder
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .build()
            .map_err(|error| Error::new(Kind::Invalid, shown(error)))?;
        Ok(Self { client, exchanges: Exchanges::One })
    }

    /// Use a client that was built elsewhere. It may follow redirects, so that no failure proves that the request was
    /// not processed: after a refused connection too, only a request that may be [repeated](crate::base::Safety) is.
    ///
    /// ```
    /// use stonework::reqwest::Transport;
    ///
    /// let transport = Transport::new(reqwest::Client::new());
    /// # let _ = transport;
    /// ```
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client, exchanges: Exchanges::Several }
    }
}

impl From<Client> for Transport {
    fn from(client: Client) -> Self {
        Self::new(client)
    }
}

impl Clone for Transport {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), exchanges: self.exchanges }
    }
}

/// Reqwest would show default headers, which carry tokens.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Transport
where
    B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // A request waits for its connection inside the call, where its clock is running.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let mut request = request.map(Body::new);
        if let Err(invalid) = sendable(&request, true) {
            return ResponseFuture::refused(invalid.into());
        }
        // Reqwest sends over HTTP/3 what says so, if it can.
        let version = request.version();
        frame(&mut request);
        if version == Version::HTTP_3 {
            *request.version_mut() = version;
        }
        // In a wrap even where it is empty, since reqwest then has nothing that it could send twice.
        match request.map(|body| ::reqwest::Body::wrap(Outgoing(body))).try_into() {
            Ok(request) => ResponseFuture::sending(self.client.call(request), self.exchanges),
            Err(error) => ResponseFuture::refused(Error::new(Kind::Invalid, shown(error))),
        }
    }
}
