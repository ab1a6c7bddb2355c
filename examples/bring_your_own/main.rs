//! What of it can be your own? What counts as failed, how long to wait, whom to ask, and a layer.
//!
//! *The problem:* the part that is special about a service is never in a crate: an API that says 200 and means no, a pause that its owner
//! has asked for, a way to share work that only its operator knows. And a layer of one's own is quickly written, works in every test, and
//! fails in production over the first service that is not always ready.
//!
//! *What to look at:* four files, each with about twenty lines that a user writes, on top, and what comes of them below: [`judge`],
//! [`pauses`], [`whom`] and [`sign`]. Then [`examine`], which is how such a layer is tested, and [`wrong`], with three that it finds out.
//!
//! *What it shows:* one judgement that `retry` and a circuit share; pauses that are a user's own, also beside a `Retry-After`; shares of calls by
//! what servers say of themselves, servers that are filled up one after the other, and customers that stick to one; the contract of tower's
//! `Service`, kept and broken, under `testing::Strict`; and all of it in virtual time, so that an hour takes no time to test.
//!
//!     cargo run --example bring_your_own
//!
//! It takes less than a second, and ends with exit code 0 if every claim held.

mod examine;
mod judge;
#[path = "../kit/mod.rs"]
mod kit;
mod pauses;
mod sign;
mod whom;
mod wrong;

use std::process::ExitCode;

use stonework::base::BoxError;

use self::kit::Verdict;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> ExitCode {
    kit::end(play().await)
}

async fn play() -> Result<Verdict, BoxError> {
    let mut verdict = Verdict::default();
    judge::play(&mut verdict).await?;
    pauses::play(&mut verdict).await?;
    whom::play(&mut verdict).await?;
    sign::play(&mut verdict).await?;
    Ok(verdict)
}
