use axum::body::Body;
use http::{Request, Response};
use stonework::Error;
use stonework::base::{BoxError, body::ReplayBody};
use stonework::retry::RetryLayer;
use tower::{Service, ServiceBuilder, service_fn};

fn client() -> impl Service<Request<Body>, Error = Error> {
    let transport = service_fn(async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::empty())));
    ServiceBuilder::new()
        .map_request(|request: Request<Body>| request.map(ReplayBody::new))
        .layer(RetryLayer::new())
        .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
        .service(transport)
}

fn main() {
    let _ = client();
}
