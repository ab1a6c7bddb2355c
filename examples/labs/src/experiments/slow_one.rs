//! One that becomes slow. Linkerd, "Beyond Round Robin: Load Balancing for Latency", 2016: eleven backends that take 167 ms, of which one
//! takes 2 s for half of a minute; a thousand calls a second, which are given up after a second. By turns about 95 % succeed, by the
//! fewest calls 99 %, by a moving average that follows the peaks 99.9 %.

use std::time::Duration;

use stonework::Error;
use stonework::balance::Pick;
use stonework::base::Rng;
use stonework::timeout::AttemptTimeoutLayer;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::endpoints::{MS, SECOND, balancer, bare, judge};
use crate::{Bar, Chart, Experiment, Figure, Finding, Line, Mean, chance, each_seed, evenly, quantile};

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

pub const SLOW_ONE: Experiment = Experiment {
    letter: 'C',
    name: "slow-one",
    title: "one of eleven becomes slow: calls that succeed, in percent",
    published: "Linkerd (\"Beyond Round Robin: Load Balancing for Latency\", 2016) made one of eleven servers take 2 s for half of a minute, with \
                callers who wait for 1 s. By turns about 95 % of the calls succeed, by the fewest calls 99 %, by a moving average that follows \
                the peaks 99.9 %.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say("    picked by      | succeed         | in the worst run | published | p99.9 in ms");
    let mut lines = Vec::new();
    let [turns, loaded, ewma] = [
        (Pick::WeightedRoundRobin, "turns", "95"),
        (Pick::LeastLoaded, "fewest calls", "99"),
        (Pick::PeakEwma, "peak average", "99.9"),
    ]
    .map(|(pick, name, published)| {
        let runs = each_seed(seeds, |seed| run(pick, seed));
        let [success, p999, slow] =
            [(|run| run.success) as fn(&Run) -> f64, |run| run.p999, |run| run.lost.iter().sum()]
                .map(|what| Mean::of(&runs.iter().map(what).collect::<Vec<_>>()));
        finding.say(format_args!(
            "    {name:<14} | {:<15} | {:<16.3} | {published:<9} | {p999:.0}",
            format!("{success:.3}"),
            success.least
        ));
        let lost = |second: usize| runs.iter().map(|run| run.lost[second]).sum::<f64>() / runs.len() as f64;
        let points = (0..TIME.as_secs() as usize).map(|second| (second as f64, lost(second)));
        lines.push(Line { name: name.into(), points: points.collect() });
        (success, slow)
    });
    let percent = |(success, _): (Mean, Mean)| Figure::mean(success, 3, " %");
    finding.hold("succeed, picked by turns", "95 %", percent(turns), Bar::Between(95.0, 96.0));
    finding.hold("succeed, picked by the fewest calls", "99 %", percent(loaded), Bar::Between(99.0, 99.8));
    finding.hold("succeed, picked by the peak average", "99.9 %", percent(ewma), Bar::AtLeast(99.94));
    let each = Figure::every(ewma.0, 3, " %");
    finding.hold("the same in each run", "99.9 %", each, Bar::AtLeast(99.9));
    finding.hold(
        "given up of 60 000, by the peak average",
        "60",
        Figure::mean(ewma.1, 1, ""),
        Bar::AtMost(35.0),
    );
    finding.words = format!(
        "The same three ways to pick lose {:.2} %, {:.2} % and {:.3} % here, with nothing else switched on.",
        100.0 - turns.0.mean,
        100.0 - loaded.0.mean,
        100.0 - ewma.0.mean
    );
    finding.charts.push(Chart {
        title: "calls that are given up, while one of eleven is slow".into(),
        x: "seconds".into(),
        y: "of a thousand each second".into(),
        most: None,
        lines,
    });
    finding
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
