//! Retries of a request whose body is gone once it was sent.
//!
//! *Named:* `ReplayBody`, `.map_request(`.

use axum::body::Body;
use http::{Request, Response};
use stonework::Error;
use stonework::base::BoxError;
use stonework::retry::RetryLayer;
use tower::{Service, ServiceBuilder, service_fn};

fn client() -> impl Service<Request<Body>, Error = Error> {
    let transport = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::empty())));
    ServiceBuilder::new().layer(RetryLayer::new()).service(transport)
}

fn main() {
    let _ = client();
}
