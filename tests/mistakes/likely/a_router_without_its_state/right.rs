use axum::{Router, extract::State, routing::get};
use stonework::server::{BindError, Server};

#[derive(Clone)]
struct Shop;

#[tokio::main]
async fn main() -> Result<(), BindError> {
    let router = Router::new().route("/", get(|_: State<Shop>| async { "hello" })).with_state(Shop);
    Server::bind("127.0.0.1:8080").await?.serve(router).await;
    Ok(())
}
