//! From what one has to this crate: the same job before and after, against the same peers.
//!
//! *The problem:* whoever moves from one crate to another sees at once what the lines look like, and finds out much later what they do
//! otherwise: how often a request is sent, how long somebody waits, who is let in.
//!
//! *What to look at:* each module is a crate to come from. Its `before` and `after` do the same job, and stand side by side; below them both
//! are given the same hard moments. What is said of another crate is what it did in this run, and nothing else.
//!
//! *What it shows:* reqwest-retry, backoff, tower's retry, tower_governor, jwt-authorizer and bb8, in the versions of `Cargo.toml`.
//!
//!     cargo run --package moving_in
//!
//! It takes about seven seconds, and ends with exit code 0 if every claim held.

mod from_backoff;
mod from_bb8;
mod from_jwt_authorizer;
mod from_reqwest_retry;
mod from_tower_governor;
mod from_tower_retry;
#[path = "../../kit/mod.rs"]
mod kit;
mod lines;
mod stage;

use std::process::ExitCode;

use stonework::base::BoxError;

use self::kit::Verdict;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(play().await)
}

async fn play() -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();
    from_reqwest_retry::play(&mut verdict).await?;
    from_backoff::play(&mut verdict).await?;
    from_tower_retry::play(&mut verdict).await?;
    from_tower_governor::play(&mut verdict).await?;
    from_jwt_authorizer::play(&mut verdict).await?;
    from_bb8::play(&mut verdict).await?;
    Ok(verdict)
}
