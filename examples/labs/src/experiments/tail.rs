//! Ask a second one. Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013: whoever needs a hundred answers, of which one in a hundred
//! is slow, is slow two times of three (1 − 0.99^100 = 63 %). Asking a second replica after a while made the slowest reads of a table, at
//! 99.9 %, 74 ms in place of 1 800 ms, for 2 % more requests.
//!
//! Here a leaf takes 10 ms, and one in a hundred between 0.1 and 2 s; which of them is by chance, so a second one helps. Nobody says how
//! long to wait before it: that is learned. Of a hundred calls, one needs a leaf of which both replicas are slow: what is told at 99 %
//! lies at the very edge of those, so it is told of all runs together.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use stonework::base::Rng;
use stonework::hedge::{Hedge, HedgeLayer};
use stonework::{Body, Error};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::endpoints::SECOND;
use crate::{Bar, Chart, Experiment, Figure, Finding, Line, Mean, chance, each_seed, quantile};

const LEAVES: usize = 100;
/// Until it is known how long a leaf takes.
const WARM_UP: usize = 10;
const CALLS: usize = 500;
/// While all replicas are slow: until that is known, and afterwards.
const SLOW: [usize; 2] = [30, 30];

struct Run {
    /// Of calls that need every leaf, in milliseconds, in order.
    alone: Vec<f64>,
    hedged: Vec<f64>,
    /// Requests that were added, in percent.
    added: f64,
    /// The same when all replicas have become slow, at first and later.
    all_slow: [f64; 2],
}

pub const TAIL: Experiment = Experiment {
    letter: 'D',
    name: "tail",
    title: "a hundred leaves, each a hundredth slow: how long calls of them all take, in ms",
    published: "Dean and Barroso (\"The Tail at Scale\", 2013) asked a second replica of each slow part of a table after a while: the slowest reads, \
                at 99.9 %, took 74 ms in place of 1800 ms (96 % less), for 2 % more requests.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say(
        "                     | median        | p99 of all, and its 95 % interval | requests added, in percent",
    );
    let runs = each_seed(seeds, run);
    let over = |what: &dyn Fn(&Run) -> f64| Mean::of(&runs.iter().map(what).collect::<Vec<_>>());
    let added = over(&|run| run.added);
    let together = |times: fn(&Run) -> &Vec<f64>| -> Vec<f64> {
        runs.iter().flat_map(|run| times(run).iter().copied()).collect()
    };
    let mut p99s = Vec::new();
    let mut lines = Vec::new();
    for (name, times, added) in [
        ("asked once", (|run| &run.alone) as fn(&Run) -> &Vec<f64>, String::from("-")),
        ("and a second", |run| &run.hedged, format!("{added:.2}")),
    ] {
        let median = over(&|run| quantile(&mut times(run).clone(), 0.5));
        let mut all = together(times);
        // How many of so many are beyond it is binomial.
        let within = 1.96 * (0.99 * 0.01 / all.len() as f64).sqrt();
        let [p99, from, to] = [0.99, 0.99 - within, 0.99 + within].map(|part| quantile(&mut all, part));
        let told = format!("{p99:.0}, {from:.0} to {to:.0}");
        finding.say(format_args!("    {name:<16} | {:<13} | {told:<33} | {added}", format!("{median:.0}")));
        p99s.push((p99, to));
        let points = (0..=500).map(|part| f64::from(part) / 5.0);
        let points = points.map(|part| (part, quantile(&mut all, part / 100.0))).collect();
        lines.push(Line { name: name.into(), points });
    }
    let [first, later] = [over(&|run| run.all_slow[0]), over(&|run| run.all_slow[1])];
    finding.say(format_args!(
        "\n    when all replicas become slow: {first:.2} % added until that is known, then {later:.2} %"
    ));
    let [(alone, _), (hedged, at_most)] = p99s[..] else { unreachable!("two were asked") };
    let cut = Figure::together(100.0 * (1.0 - hedged / alone), 100.0 * (at_most - hedged) / alone, 1, " %");
    finding.words = format!(
        "Here the layer is not told how long to wait, and learns it: of calls that need a hundred leaves, the slowest, at 99 %, take {hedged:.0} ms \
         in place of {alone:.0} ms ({:.1} % less), for {:.2} % more requests. One call in a hundred needs a leaf of which both replicas are \
         slow, so 99 % lies at an edge, and that interval is wide. When all replicas are slow it stops.",
        100.0 * (1.0 - hedged / alone),
        added.mean
    );
    finding.hold(
        "time that the slowest calls, at 99 %, no longer take",
        "96 % (at 99.9 %)",
        cut,
        Bar::AtLeast(94.0),
    );
    finding.hold(
        "requests added to those of all leaves",
        "2 %",
        Figure::every(added, 2, " %"),
        Bar::AtMost(2.0),
    );
    // The budget: one in twenty, and ten.
    finding.hold(
        "added when all replicas are slow, until that is known",
        "",
        Figure::every(first, 2, " %"),
        Bar::AtMost(6.0),
    );
    finding.hold("added once that is known", "", Figure::every(later, 2, " %"), Bar::AtMost(0.0));
    finding.charts.push(Chart {
        title: "within which time so many calls are answered".into(),
        x: "% of the calls".into(),
        y: "ms".into(),
        most: None,
        lines,
    });
    finding
}

/// Replicas: who is asked, is asked by chance. Once `slow`, all of them take a second.
fn leaves(
    rng: Rng,
    slow: Instant,
) -> impl Service<Request<Body>, Response = Response<Full<Bytes>>, Error = Error, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |_: Request<Body>| {
        let usual = if rng.below(100) == 0 {
            Duration::from_secs_f64(0.1 + 1.9 * rng.unit())
        } else {
            chance::gamma(&rng, 4, 0.01)
        };
        let takes = if Instant::now() < slow { usual } else { SECOND };
        async move {
            sleep(takes).await;
            Ok(Response::new(Full::default()))
        }
    })
}

/// How long each of so many calls takes that needs every leaf.
async fn fan_out<S>(service: &S, calls: usize) -> Vec<f64>
where
    S: Service<Request<Body>, Response = Response<Full<Bytes>>, Error = Error, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let (start, mut all) = (Instant::now(), JoinSet::new());
        for _ in 0..LEAVES {
            all.spawn(service.clone().oneshot(Request::new(Body::empty())));
        }
        assert!(all.join_all().await.iter().all(Result::is_ok), "every leaf answers");
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times
}

async fn run(seed: u64) -> Run {
    let never = Instant::now() + Duration::from_secs(1_000_000);
    let alone = fan_out(&leaves(Rng::seeded(seed), never), CALLS / 2).await;

    let (hedge, rng) = (Hedge::default(), Rng::seeded(seed + 1_000));
    let layer = HedgeLayer::from(hedge.clone());
    let service = layer.layer(leaves(rng.clone(), never));
    fan_out(&service, WARM_UP).await;
    let fired = || hedge.stats().fired;
    let part = |before: u64, calls: usize| 100.0 * (fired() - before) as f64 / (calls * LEAVES) as f64;
    let before = fired();
    let hedged = fan_out(&service, CALLS).await;
    let added = part(before, CALLS);

    // The same layer, and so what it has learned.
    let slow = layer.layer(leaves(rng, Instant::now()));
    let mut all_slow = [0.0; 2];
    for (calls, added) in SLOW.into_iter().zip(&mut all_slow) {
        let before = fired();
        fan_out(&slow, calls).await;
        *added = part(before, calls);
    }
    Run { alone, hedged, added, all_slow }
}
