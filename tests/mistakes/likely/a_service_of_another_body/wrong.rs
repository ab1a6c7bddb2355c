//! A service of the body that hyper hands out, where the server's own comes in.
//!
//! *Named:* `http::Request<stonework::Body>`.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use stonework::server::{BindError, Server};
use tower::service_fn;

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), BindError> {
    Server::bind("127.0.0.1:8080").await?.serve(service_fn(hello)).await;
    Ok(())
}
