//! A judge that is not told of failures.
//!
//! *Named:* `fn(Result<&'a http::Response<stonework::Body>, &'b stonework::Error>)`.

use http::{Response, StatusCode};
use stonework::Body;
use stonework::base::Outcome;
use stonework::client::{Client, InvalidClient};

fn main() -> Result<(), InvalidClient> {
    let _ = Client::builder()
        .classify(|answer: &Response<Body>| match answer.status() {
            StatusCode::NOT_FOUND => Outcome::Failure,
            _ => Outcome::Success,
        })
        .build()?;
    Ok(())
}
