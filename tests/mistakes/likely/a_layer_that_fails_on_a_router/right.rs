use std::time::Duration;

use axum::{Router, routing::get};
use stonework::timeout::TimeoutLayer;

fn main() {
    let layer = TimeoutLayer::new(Duration::from_secs(1)).answer();
    let _: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
}
