//! One that becomes slow. Linkerd, "Beyond Round Robin: Load Balancing for Latency", 2016: eleven backends that take 167 ms, of which one
//! takes 2 s for half of a minute; a thousand calls a second, which are given up after a second. By turns about 95 % succeed, by the
//! fewest calls 99 %, by a moving average that follows the peaks 99.9 %.

use std::path::Path;
use std::time::Duration;

use stonework::Error;
use stonework::balance::Pick;
use stonework::base::{BoxError, Rng};
use stonework::timeout::AttemptTimeoutLayer;
use stonework_labs::{Chart, Line, Mean, Verdict, chance, draw, each_seed, evenly, quantile};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::endpoints::{MS, SECOND, balancer, bare, judge};

const BACKENDS: usize = 11;
const TIME: Duration = Duration::from_secs(60);
const SLOW_FROM: Duration = Duration::from_secs(15);
const SLOW_TO: Duration = Duration::from_secs(45);

struct Run {
    /// In percent.
    success: f64,
    /// Of all calls, in milliseconds; one that is given up takes a second.
    p999: f64,
    /// How many of each second's calls were given up.
    lost: Vec<f64>,
}

pub(crate) fn play(seeds: u64, folder: &Path, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nC. one of {BACKENDS} becomes slow: calls that succeed, in percent\n");
    println!("    picked by      | succeed         | in the worst run | published | p99.9 in ms");
    let mut lines = Vec::new();
    let [turns, loaded, ewma] = [
        (Pick::WeightedRoundRobin, "turns", "95"),
        (Pick::LeastLoaded, "fewest calls", "99"),
        (Pick::PeakEwma, "peak average", "99.9"),
    ]
    .map(|(pick, name, published)| {
        let runs = each_seed(seeds, |seed| run(pick, seed));
        let success = Mean::of(&runs.iter().map(|run| run.success).collect::<Vec<_>>());
        let p999 = Mean::of(&runs.iter().map(|run| run.p999).collect::<Vec<_>>());
        println!(
            "    {name:<14} | {:<15} | {:<16.3} | {published:<9} | {p999:.0}",
            format!("{success:.3}"),
            success.least
        );
        let lost = |second: usize| runs.iter().map(|run| run.lost[second]).sum::<f64>() / runs.len() as f64;
        let points = (0..TIME.as_secs() as usize).map(|second| (second as f64, lost(second)));
        lines.push(Line { name: name.into(), points: points.collect() });
        success
    });
    println!();
    verdict.claim((95.0..96.0).contains(&turns.mean), "by turns, one in eleven is lost for half of the time");
    verdict.claim((99.0..99.8).contains(&loaded.mean), "by the fewest calls, about one in a hundred");
    verdict.claim(ewma.least >= 99.9, "by the peak average, at most one in a thousand in every run");
    verdict.claim(ewma.mean >= 99.93, "and 0.07 % on average");
    let chart = Chart {
        title: "calls that are given up, while one of eleven is slow".into(),
        x: "seconds".into(),
        y: "of a thousand each second".into(),
        most: None,
        lines,
    };
    draw(&folder.join("balance-slow-one.svg"), &[chart])
}

async fn run(pick: Pick, seed: u64) -> Run {
    let (start, rng) = (Instant::now(), Rng::seeded(seed));
    let balancer = balancer(BACKENDS, bare(pick), seed, move |at| {
        let rng = rng.clone();
        service_fn(move |()| {
            let usual = chance::normal(&rng, 0.167, 0.005);
            let is_slow = at == 0 && (SLOW_FROM..SLOW_TO).contains(&start.elapsed());
            async move {
                sleep(if is_slow { 2 * SECOND } else { usual }).await;
                Ok::<_, Error>(())
            }
        })
    });
    let service = AttemptTimeoutLayer::new(SECOND).layer(balancer.service().classify(judge).plain());
    let calls = evenly(MS, TIME, |at| {
        let service = service.clone();
        async move {
            let asked = Instant::now();
            let good = service.oneshot(()).await.is_ok();
            (at.as_secs() as usize, good, asked.elapsed().as_secs_f64() * 1e3)
        }
    })
    .await;
    let mut lost = vec![0.0; TIME.as_secs() as usize];
    for (second, good, _) in &calls {
        lost[*second] += f64::from(u8::from(!good));
    }
    let mut took: Vec<_> = calls.iter().map(|(_, _, took)| *took).collect();
    let success = 100.0 * (1.0 - lost.iter().sum::<f64>() / calls.len() as f64);
    Run { success, p999: quantile(&mut took, 0.999), lost }
}
