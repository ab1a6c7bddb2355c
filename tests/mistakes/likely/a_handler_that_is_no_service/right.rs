use axum::{Router, routing::get};
use stonework::server::{BindError, Server};

async fn hello() -> &'static str {
    "hello"
}

#[tokio::main]
async fn main() -> Result<(), BindError> {
    Server::bind("127.0.0.1:8080").await?.serve(Router::new().route("/", get(hello))).await;
    Ok(())
}
