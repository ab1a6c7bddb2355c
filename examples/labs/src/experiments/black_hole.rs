//! One that fails at once. Whoever looks at speed or at the number of calls alone takes it for the best: that is known of nearly every
//! balancer (as in kubernetes/ingress-nginx, issue 5540). Ten endpoints that take 20 ms, of which one fails after 1 ms for half of a
//! minute; a thousand calls a second. By turns it gets one in ten.

use std::time::Duration;

use stonework::Error;
use stonework::balance::{BalancerSettings, Pick};
use stonework::base::{Kind, Rng};
use tokio::time::{Instant, sleep};
use tower::{ServiceExt, service_fn};

use super::endpoints::{MS, SECOND, balancer, bare, judge};
use crate::{Bar, Chart, Experiment, Figure, Finding, Line, Mean, chance, each_seed, evenly};

const ENDPOINTS: usize = 10;
const FAILS_FROM: Duration = Duration::from_secs(5);
const TIME: Duration = Duration::from_secs(35);

struct Run {
    /// Of the calls since it fails, in percent.
    failed: f64,
    /// Of each second's calls.
    each: Vec<f64>,
}

pub const BLACK_HOLE: Experiment = Experiment {
    letter: 'H',
    name: "black-hole",
    title: "one of ten fails at once: calls that fail while it does, in percent",
    published: "An endpoint that fails at once looks like the fastest and the least loaded, which is known of nearly every balancer (as in \
                kubernetes/ingress-nginx, issue 5540). In a model of ten, of which one fails after 1 ms for half of a minute, 10 % of the calls fail \
                by turns, 18.9 % by the fewest calls, and 19.6 % by a peak average that takes a failure for an answer.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say("    picked by                          | fail            | in the worst run");
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
        finding.say(format_args!("    {name:<34} | {:<15} | {:.3}", format!("{failed:.3}"), failed.most));
        let each = |second: usize| runs.iter().map(|run| run.each[second]).sum::<f64>() / runs.len() as f64;
        let points = (0..TIME.as_secs() as usize).map(|second| (second as f64, each(second) / 10.0));
        lines.push(Line { name: name.into(), points: points.collect() });
        failed
    });
    let mean = |failed: Mean| Figure::mean(failed, 3, " %");
    finding.hold("fail, picked by turns", "10 %", mean(turns), Bar::Between(9.9, 10.1));
    finding.hold("fail, picked by the fewest calls", "18.9 % (model)", mean(loaded), Bar::AtLeast(10.1));
    finding.hold(
        "fail, picked by the peak average, where a failure that comes again counts as slow",
        "19.6 % (model, where it does not)",
        Figure::every(ewma, 3, " %"),
        Bar::AtMost(0.5),
    );
    finding.hold(
        "fail, with the defaults, which also leave outliers out",
        "0.06 % (model)",
        Figure::every(default, 3, " %"),
        Bar::AtMost(0.1),
    );
    finding.words = format!(
        "The balancer takes a failure that comes again for a slow answer, and leaves out who fails too often: {:.3} % fail with the defaults, \
         {:.1} % by turns and {:.1} % by the fewest calls.",
        default.mean, turns.mean, loaded.mean
    );
    finding.charts.push(Chart {
        title: "calls that fail, while one of ten fails at once".into(),
        x: "seconds".into(),
        y: "% of the calls".into(),
        most: None,
        lines,
    });
    finding
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
