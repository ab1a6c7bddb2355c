//! A service in a box that cannot be cloned, where each request gets a clone.
//!
//! *Named:* `clone`, `BoxCloneService`.

use std::convert::Infallible;

use http::{Request, Response};
use stonework::Body;
use stonework::server::{BindError, Server};
use tower::{service_fn, util::BoxService};

#[tokio::main]
async fn main() -> Result<(), BindError> {
    let hello = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("hello"))));
    Server::bind("127.0.0.1:8080").await?.serve(BoxService::new(hello)).await;
    Ok(())
}
