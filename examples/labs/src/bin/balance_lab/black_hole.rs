//! One that fails at once. Whoever looks at speed or at the number of calls alone takes it for the best: that is known of nearly every
//! balancer (as in kubernetes/ingress-nginx, issue 5540). Ten endpoints that take 20 ms, of which one fails after 1 ms for half of a
//! minute; a thousand calls a second. By turns it gets one in ten.

use std::path::Path;
use std::time::Duration;

use stonework::Error;
use stonework::balance::{BalancerSettings, Pick};
use stonework::base::{BoxError, Kind, Rng};
use stonework_labs::{Chart, Line, Mean, Verdict, chance, draw, each_seed, evenly};
use tokio::time::{Instant, sleep};
use tower::{ServiceExt, service_fn};

use crate::endpoints::{MS, SECOND, balancer, bare, judge};

const ENDPOINTS: usize = 10;
const FAILS_FROM: Duration = Duration::from_secs(5);
const TIME: Duration = Duration::from_secs(35);

struct Run {
    /// Of the calls since it fails, in percent.
    failed: f64,
    /// Of each second's calls.
    each: Vec<f64>,
}

pub(crate) fn play(seeds: u64, folder: &Path, verdict: &mut Verdict) -> Result<(), BoxError> {
    println!("\nH. one of {ENDPOINTS} fails at once: calls that fail while it does, in percent\n");
    println!("    picked by                          | fail            | in the worst run");
    let mut lines = Vec::new();
    let [turns, loaded, ewma, default] = [
        (bare(Pick::WeightedRoundRobin), "turns"),
        (bare(Pick::LeastLoaded), "fewest calls"),
        (bare(Pick::PeakEwma), "peak average"),
        (BalancerSettings::new(), "peak average, outliers left out"),
    ]
    .map(|(settings, name)| {
        let runs = each_seed(seeds, |seed| run(settings.clone(), seed));
        let failed = Mean::of(&runs.iter().map(|run| run.failed).collect::<Vec<_>>());
        println!("    {name:<34} | {:<15} | {:.3}", format!("{failed:.3}"), failed.most);
        let each = |second: usize| runs.iter().map(|run| run.each[second]).sum::<f64>() / runs.len() as f64;
        let points = (0..TIME.as_secs() as usize).map(|second| (second as f64, each(second) / 10.0));
        lines.push(Line { name: name.into(), points: points.collect() });
        failed
    });
    println!();
    verdict.claim((9.9..10.1).contains(&turns.mean), "by turns, one in ten");
    verdict.claim(loaded.mean > turns.mean, "by the fewest calls, more than that");
    verdict.claim(
        ewma.most <= 0.5,
        "a failure that comes again counts as slow: without leaving anybody out, one in two hundred at most",
    );
    verdict.claim(default.most <= 0.1, "with the defaults, at most one in a thousand in every run");
    let chart = Chart {
        title: "calls that fail, while one of ten fails at once".into(),
        x: "seconds".into(),
        y: "% of the calls".into(),
        most: None,
        lines,
    };
    draw(&folder.join("balance-black-hole.svg"), &[chart])
}

async fn run(settings: BalancerSettings, seed: u64) -> Run {
    let (start, rng) = (Instant::now(), Rng::seeded(seed));
    let balancer = balancer(ENDPOINTS, settings, seed, move |at| {
        let rng = rng.clone();
        service_fn(move |()| {
            let usual = chance::gamma(&rng, 4, 0.02);
            let fails = at == 0 && start.elapsed() >= FAILS_FROM;
            async move {
                sleep(if fails { MS } else { usual }).await;
                if fails { Err(Error::new(Kind::Transport, "a black hole")) } else { Ok(()) }
            }
        })
    });
    let service = balancer.service().classify(judge).plain();
    let calls = evenly(MS, TIME, |at| {
        let call = service.clone().oneshot(());
        async move { (at, call.await.is_err()) }
    })
    .await;
    let mut each = vec![0.0; TIME.as_secs() as usize];
    for (at, failed) in &calls {
        each[at.as_secs() as usize] += f64::from(u8::from(*failed));
    }
    let during = (TIME - FAILS_FROM).as_secs_f64() / SECOND.as_secs_f64() * 1_000.0;
    Run { failed: 100.0 * each.iter().sum::<f64>() / during, each }
}
