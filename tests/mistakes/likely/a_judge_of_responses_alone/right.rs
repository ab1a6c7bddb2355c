use http::{Response, StatusCode};
use stonework::base::Outcome;
use stonework::client::{Client, InvalidClient};
use stonework::{Body, Error};

fn main() -> Result<(), InvalidClient> {
    let _ = Client::builder()
        .classify(|result: Result<&Response<Body>, &Error>| match result {
            Ok(answer) if answer.status() != StatusCode::NOT_FOUND => Outcome::Success,
            _ => Outcome::Failure,
        })
        .build()?;
    Ok(())
}
