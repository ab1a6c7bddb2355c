use std::convert::Infallible;

use http::{Request, Response};
use stonework::Body;
use stonework::server::{BindError, Server};
use tower::service_fn;

async fn hello(_: Request<Body>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".to_owned()))
}

#[tokio::main]
async fn main() -> Result<(), BindError> {
    Server::bind("127.0.0.1:8080").await?.serve(service_fn(hello)).await;
    Ok(())
}
