use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::base::body::Body;
use crate::base::{Delivery, EndpointId, Error, HostPort, KeyOf, Kind, Origin};
use crate::client::ResponseFuture;
use crate::client::per_host::PerHost;
use crate::client::service::Guarded;
use crate::client::transport::Transport;

/// One endpoint of an [upstream](crate::client::ClientBuilder::upstream): its circuit, its limits, and its connections, which are among those
/// of the client. TLS and `host` say the name of the service, whichever endpoint it is.
///
/// As a service it is for [`BalancerBuilder::check`](crate::balance::BalancerBuilder::check); a client's own calls come here by themselves.
///
/// ```
/// use http::Request;
/// use stonework::Body;
/// use stonework::client::{Client, Endpoint};
/// use tower::Service;
///
/// let client = Client::builder().upstream("http://orders.internal", |balancer| {
///     let members = ["10.0.0.7:8080", "10.0.0.8:8080"];
///     balancer.members(members).check(|mut endpoint: Endpoint| async move {
///         let ready = Request::get("http://orders.internal/readyz").body(Body::default()).expect("it is one");
///         endpoint.call(ready).await.map(drop)
///     })
/// });
/// # let _ = client;
/// ```
pub struct Endpoint(Where);

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Clone)]
enum Where {
    There(Box<Guarded<At>>),
    /// Its name says neither.
    Nowhere(EndpointId),
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            Where::There(service) => service.poll_ready(cx),
            Where::Nowhere(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        match &mut self.0 {
            Where::There(service) => ResponseFuture::of(service.call(request)),
            Where::Nowhere(id) => {
                let error = Error::new(Kind::Connect, NoPlace(id.clone()));
                let error = error.with_delivery(Delivery::NotSent).with_request(request);
                ResponseFuture::of(std::future::ready(Err(error)))
            }
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// An endpoint has to say where it is.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint `{0}` is no host and port")]
struct NoPlace(EndpointId);

/// Makes the endpoints of one service.
#[derive(Clone)]
pub(in crate::client) struct PerEndpoint {
    pub(in crate::client) per_host: PerHost,
    pub(in crate::client) transport: Transport,
}

impl PerEndpoint {
    pub(super) fn of(&self, origin: &Origin, id: &EndpointId) -> Endpoint {
        let Some(place) = HostPort::parse(id.as_str(), origin.port()) else {
            return Endpoint(Where::Nowhere(id.clone()));
        };
        let transport = self.transport.at(place.share());
        Endpoint(Where::There(Box::new(self.per_host.around(transport, At(place)))))
    }
}

/// All requests belong to one place, whichever host they name.
#[derive(Debug)]
pub(in crate::client) struct At(HostPort);

impl Clone for At {
    fn clone(&self) -> Self {
        Self(self.0.share())
    }
}

impl<Req> KeyOf<Req> for At {
    type Key = HostPort;

    fn key_of(&self, _: &Req) -> HostPort {
        self.0.share()
    }
}
