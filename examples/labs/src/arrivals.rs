use std::time::Duration;

use stonework::base::Rng;
use tokio::time::{Instant, sleep_until};

use crate::chance;

/// Calls that know nothing of each other, so many a second on average, for so long. Each is a task; their results come in the order in
/// which they were made, when the last has ended. `call` is given the time since the first could have come.
///
/// # Panics
///
/// If a call does.
pub async fn poisson<F>(
    rng: &Rng,
    per_second: f64,
    time: Duration,
    call: impl FnMut(Duration) -> F,
) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    arrive(|| chance::exponential(rng, 1.0 / per_second), time, call).await
}

/// The same with calls at equal distances.
///
/// # Panics
///
/// If a call does.
pub async fn evenly<F>(each: Duration, time: Duration, call: impl FnMut(Duration) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    arrive(|| each, time, call).await
}

async fn arrive<F>(
    mut gap: impl FnMut() -> Duration,
    time: Duration,
    mut call: impl FnMut(Duration) -> F,
) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (start, mut at, mut calls) = (Instant::now(), gap(), Vec::new());
    while at < time {
        // Where several come in one millisecond, the timer is over already.
        if start + at > Instant::now() {
            sleep_until(start + at).await;
        }
        calls.push(tokio::spawn(call(at)));
        at += gap();
    }
    let mut results = Vec::with_capacity(calls.len());
    for call in calls {
        results.push(call.await.expect("a call does not panic"));
    }
    results
}
