//! What it does to the slowest of many: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013.

use std::time::Duration;

use http::{Request, Response};
use stonework::Error;
use stonework::base::Rng;
use stonework::hedge::{Hedge, HedgeLayer};
use tower::{Layer, service_fn};

use super::{Asked, status};
use crate::support::{Content, answer};

const LEAVES: usize = 100;

/// One of a hundred takes between 0.1 and 2 s, the others the sum of four times of 2.5 ms on average.
fn leaf(rng: &Rng) -> Duration {
    let unit = || (rng.below(1 << 32) as f64 + 1.0) / (1_u64 << 32) as f64;
    let seconds =
        if rng.below(100) == 0 { 0.1 + 1.9 * unit() } else { (0..4).map(|_| -0.0025 * unit().ln()).sum() };
    Duration::from_secs_f64(seconds)
}

fn leaves(seed: u64) -> impl Asked {
    let rng = Rng::seeded(seed);
    service_fn(move |_: Request<Content>| {
        let takes = leaf(&rng);
        async move {
            tokio::time::sleep(takes).await;
            Ok::<Response<Content>, Error>(answer(200))
        }
    })
}

/// How long calls of a hundred leaves each take.
async fn fan_out(service: &impl Asked, calls: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..calls {
        let start = tokio::time::Instant::now();
        futures_util::future::join_all((0..LEAVES).map(|_| status(service))).await;
        times.push(start.elapsed());
    }
    times
}

fn virtually<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(work)
}

#[test]
fn for_two_more_of_a_hundred_requests_the_slowest_calls_take_a_fifteenth_of_the_time() {
    let (mut bare, mut hedged, mut fired) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=20 {
        virtually(async {
            bare.extend(fan_out(&leaves(seed), 100).await);
            let hedge = Hedge::default();
            let service = HedgeLayer::from(hedge.clone()).layer(leaves(seed + 1_000));
            // Until it is known how long a leaf takes.
            fan_out(&service, 10).await;
            let before = hedge.stats().fired;
            hedged.extend(fan_out(&service, 500).await);
            fired.push((hedge.stats().fired - before) as f64 / (500 * LEAVES) as f64);
        });
    }
    let p99 = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() * 99 / 100].as_secs_f64()
    };
    let cut = 1.0 - p99(&mut hedged) / p99(&mut bare);
    let extra = fired.iter().sum::<f64>() / fired.len() as f64;
    println!("p99 cut by {:.2} %, {:.3} % more requests", cut * 100.0, extra * 100.0);
    assert!(cut >= 0.93, "{cut}");
    assert!(fired.iter().all(|extra| *extra <= 0.02), "{fired:?}");
}
