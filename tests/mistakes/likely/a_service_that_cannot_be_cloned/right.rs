use std::convert::Infallible;

use http::{Request, Response};
use stonework::Body;
use stonework::server::{BindError, Server};
use tower::{service_fn, util::BoxCloneService};

#[tokio::main]
async fn main() -> Result<(), BindError> {
    let hello = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("hello"))));
    Server::bind("127.0.0.1:8080").await?.serve(BoxCloneService::new(hello)).await;
    Ok(())
}
