//! A layer for clients on a router, which has to answer.
//!
//! *Named:* `.answer()`.

use std::time::Duration;

use axum::{Router, routing::get};
use stonework::timeout::TimeoutLayer;

fn main() {
    let layer = TimeoutLayer::new(Duration::from_secs(1));
    let _: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
}
