//! How many at once? A server of fifty workers, whose calls take a tenth of a second on average, with a limit that nobody has told the number.
//!
//! Netflix wrote of such limits ("Performance Under Load", 2018) that latency stays flat and what succeeds is about what the server can do,
//! without figures. A model of the same server gives, in percent of what it can do, at 0.9, 2 and 4 times that: without a limit 89.7, 0 and 0;
//! with the best fixed limit 88.6, 99.9 and 98.6; with Gradient2 89.6, 99.3 and 97.9; with Vegas 66.7, 89.8 and 89.4.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use stonework::Body;
use stonework::base::Rng;
use stonework::limit::{
    AdaptiveSettings, Algorithm, ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::{
    Bar, Chart, ENOUGH, Experiment, Figure, Finding, Line, Mean, Workers, chance, each_seed, poisson,
    quantile,
};

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(500);
const WORKERS: usize = 50;
const WORK: f64 = 0.1;
/// What the server can do.
const CAPACITY: f64 = 500.0;
/// When something changes, where it does.
const CHANGE: usize = 40;
const END: usize = 80;
/// A limit has so long to find its way, at the beginning and after a change.
const TO_CONVERGE: usize = 10;

#[derive(Clone, Copy, PartialEq)]
enum Limit {
    None,
    Fixed(usize),
    Adaptive(Algorithm),
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Nothing,
    /// So many workers.
    Workers(usize),
    /// Work takes so many times as long.
    Slower(f64),
    /// For twenty seconds nobody is answered.
    Hangs,
}

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    limit: Limit,
    /// Calls, as a part of what the server can do before the change.
    load: f64,
    /// How long work takes, in parts of [`WORK`], before the change.
    work: f64,
    change: Change,
    /// In percent of what the server can do, before and after the change.
    least: Option<(f64, f64)>,
}

const DEFAULT: Limit = Limit::Adaptive(Algorithm::Gradient2);

const fn steady(name: &'static str, limit: Limit, load: f64, least: Option<f64>) -> Case {
    let least = match least {
        Some(least) => Some((least, least)),
        None => None,
    };
    Case { name, limit, load, work: 1.0, change: Change::Nothing, least }
}

const fn changing(name: &'static str, work: f64, load: f64, change: Change) -> Case {
    Case { name, limit: DEFAULT, load, work, change, least: Some((98.0, 98.0)) }
}

const CASES: [Case; 15] = [
    steady("no limit, work goes on, 0.9", Limit::None, 0.9, None),
    steady("no limit, work goes on, 2", Limit::None, 2.0, None),
    steady("fixed 60, 0.9", Limit::Fixed(60), 0.9, None),
    steady("fixed 60, 2", Limit::Fixed(60), 2.0, None),
    steady("fixed 60, 4", Limit::Fixed(60), 4.0, None),
    steady("default, 0.9", DEFAULT, 0.9, Some(89.0)),
    steady("default, 2", DEFAULT, 2.0, Some(98.0)),
    steady("default, 4", DEFAULT, 4.0, Some(98.0)),
    steady("Vegas, 0.9", Limit::Adaptive(Algorithm::Vegas), 0.9, None),
    steady("Vegas, 2", Limit::Adaptive(Algorithm::Vegas), 2.0, None),
    steady("Vegas, 4", Limit::Adaptive(Algorithm::Vegas), 4.0, None),
    changing("default, 2, then half the workers", 1.0, 2.0, Change::Workers(WORKERS / 2)),
    changing("default, 2, then twice the workers", 1.0, 2.0, Change::Workers(WORKERS * 2)),
    changing("default, 2, then work is 10 times slower", 0.1, 2.0, Change::Slower(10.0)),
    changing("default, 2, then all time out for 20 s", 1.0, 2.0, Change::Hangs),
];

impl Case {
    /// What the server can do in a second, before the change and after it.
    fn capacity(&self) -> (f64, f64) {
        let before = CAPACITY / self.work;
        let after = match self.change {
            Change::Nothing | Change::Hangs => before,
            Change::Workers(workers) => before * workers as f64 / WORKERS as f64,
            Change::Slower(factor) => before / factor,
        };
        (before, after)
    }

    /// By a model of the same.
    fn modelled(&self) -> &'static str {
        match self.load {
            0.9 => "89.6 % (model)",
            2.0 => "99.3 % (model)",
            _ => "97.9 % (model)",
        }
    }

    /// From when on it should be well again.
    fn converged(&self) -> usize {
        let hangs = if self.change == Change::Hangs { 20 } else { 0 };
        CHANGE + hangs + TO_CONVERGE
    }
}

struct Run {
    /// For each second: how many calls were sent, how many of them were answered in time, and the limit.
    seconds: Vec<(f64, f64, usize)>,
    /// The longest that one in a hundred was under way, before the change, in milliseconds.
    p99: f64,
}

impl Run {
    /// In percent of what can be answered, if so many are sent on average. What chance sent more or less of them is left out where there is
    /// room for all.
    fn answered(&self, between: std::ops::Range<usize>, capacity: f64, load: f64) -> f64 {
        let seconds = &self.seconds[between];
        let sum = |what: fn(&(f64, f64, usize)) -> f64| seconds.iter().map(what).sum::<f64>();
        let answered = sum(|(_, answered, _)| *answered);
        let can_be =
            if load < 1.0 { sum(|(sent, ..)| *sent) / load } else { capacity * seconds.len() as f64 };
        100.0 * answered / can_be
    }
}

pub const ADAPTIVE: Experiment = Experiment {
    letter: 'G',
    name: "adaptive",
    title: "a limit that finds itself: 50 workers, 0.1 s of work, callers who wait for 0.5 s; from 10 s on and from 10 s after a change on",
    published: "Netflix (\"Performance Under Load\", 2018) wrote of such limits, without figures, that latency stays flat and what succeeds is about \
                what a server can do. A model of fifty workers keeps, of that, with Netflix's Gradient2 89.6 %, 99.3 % and 97.9 % at 0.9, 2 and 4 \
                times as many calls; without a limit 89.7 %, 0 and 0.",
    examine,
};

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    finding.say(format_args!(
        "    {:<42} | answered, of what can be | after a change  | p99 in ms | limit",
        "limit, and calls of what can be"
    ));
    let mut lines = Vec::new();
    let mut kept = Vec::new();
    // What is only there to compare with takes half of the time.
    for case in CASES.iter().filter(|case| case.least.is_some() || seeds >= ENOUGH).copied() {
        let runs = each_seed(if case.least.is_some() { seeds } else { seeds.min(5) }, |seed| run(case, seed));
        let of = |between: std::ops::Range<usize>, capacity: f64| {
            let parts = runs.iter().map(|run| run.answered(between.clone(), capacity, case.load));
            Mean::of(&parts.collect::<Vec<_>>())
        };
        let capacity = case.capacity();
        // Where nothing changes, to the end.
        let steady = if case.change == Change::Nothing { END } else { CHANGE };
        let before = of(TO_CONVERGE..steady, capacity.0);
        let after = of(case.converged()..END, capacity.1);
        let p99 = Mean::of(&runs.iter().map(|run| run.p99).collect::<Vec<_>>());
        let found = |second: usize| match case.limit {
            Limit::None => "-".to_owned(),
            _ => limit(&runs, second).to_string(),
        };
        finding.say(format_args!(
            "    {:<42} | {:<24} | {:<15} | {:<9.0} | {} {}",
            case.name,
            format!("{before:.1} %"),
            if case.change == Change::Nothing { "-".to_owned() } else { format!("{after:.1} %") },
            p99.mean,
            found(CHANGE - 1),
            found(END - 1),
        ));
        if let Some((least_before, least_after)) = case.least {
            let (what, figure) =
                (format!("answered, of what can be: {}", case.name), |mean| Figure::mean(mean, 2, " %"));
            if case.change == Change::Nothing {
                kept.push(before.mean);
                finding.hold(what, case.modelled(), figure(before), Bar::AtLeast(least_before));
                finding.hold(
                    format!("p99 by that of a server with nothing else to do: {}", case.name),
                    "flat",
                    Figure::mean(
                        Mean::of(&runs.iter().map(|run| run.p99 / unloaded_p99()).collect::<Vec<_>>()),
                        2,
                        " times",
                    ),
                    Bar::AtMost(1.1),
                );
            } else {
                finding.hold(
                    format!("{what}, from 10 s after it on"),
                    "",
                    figure(after),
                    Bar::AtLeast(least_after),
                );
            }
        }
        if case.change != Change::Nothing {
            let points = (0..END).map(|second| (second as f64, limit(&runs, second) as f64)).collect();
            lines.push(Line { name: case.name.into(), points });
        }
    }
    if let [light, twice, four_times] = kept[..] {
        finding.words = format!(
            "The default limit is told no number. It keeps {light:.1} %, {twice:.1} % and {four_times:.1} %, and is right again within ten seconds \
             after half or twice the workers, work that is ten times slower, and twenty seconds in which nobody is answered."
        );
    }
    finding.charts.push(Chart {
        title: "the limit that was found; something changes at 40 s".into(),
        x: "seconds".into(),
        y: "calls in flight".into(),
        most: None,
        lines,
    });
    finding
}

async fn run(case: Case, seed: u64) -> Run {
    let (server, rng) = (Workers::new(WORKERS), Rng::seeded(seed));
    let work = Arc::new(AtomicU64::new((case.work * WORK * 1e9) as u64));
    let hangs = Arc::new(AtomicBool::new(false));
    let (workers, lengths, time, hang) = (server.clone(), rng.clone(), Arc::clone(&work), Arc::clone(&hangs));
    // As where nothing is limited, mostly nothing is stopped either.
    let goes_on = case.limit == Limit::None;
    let handler = service_fn(move |_: Request<Body>| {
        let (workers, hangs) = (workers.clone(), hang.load(Ordering::Relaxed));
        let work = chance::exponential(&lengths, time.load(Ordering::Relaxed) as f64 / 1e9);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            if goes_on {
                tokio::spawn(async move { workers.work(work).await }).await.expect("it does not panic");
            } else {
                workers.work(work).await;
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let settings = match case.limit {
        Limit::None => ConcurrencySettings::new(1),
        Limit::Fixed(limit) => ConcurrencySettings::new(limit),
        Limit::Adaptive(algorithm) => AdaptiveSettings::new().algorithm(algorithm).into(),
    };
    let limiter = ConcurrencyLimiter::with_rng(settings, rng.clone()).expect("possible settings");
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).answer().when(case.limit != Limit::None);
    let service = ServiceBuilder::new().layer(layer).service(handler);

    let limits = tokio::spawn(watch(limiter));
    let change = tokio::spawn(async move {
        sleep(SECOND * CHANGE as u32).await;
        match case.change {
            Change::Nothing => {}
            Change::Workers(count) => server.resize(count),
            Change::Slower(factor) => work.store((case.work * WORK * factor * 1e9) as u64, Ordering::Relaxed),
            Change::Hangs => {
                hangs.store(true, Ordering::Relaxed);
                sleep(SECOND * 20).await;
                hangs.store(false, Ordering::Relaxed);
            }
        }
    });
    let begin = Instant::now();
    let calls = |load: f64, time: Duration| {
        let service = service.clone();
        poisson(&rng, load, time, move |_| {
            let service = service.clone();
            async move {
                let (sent, asked) = (begin.elapsed().as_secs() as usize, Instant::now());
                let answer = timeout(PATIENCE, service.oneshot(Request::new(Body::empty()))).await;
                let is_answered = matches!(answer, Ok(Ok(response)) if response.status() == StatusCode::OK);
                (sent, is_answered.then(|| asked.elapsed().as_secs_f64()))
            }
        })
    };
    let (before, after) = case.capacity();
    let change_at = SECOND * CHANGE as u32;
    let (mut all, rest) = tokio::join!(calls(case.load * before, change_at), async {
        sleep(change_at).await;
        calls(case.load * after, SECOND * END as u32 - change_at).await
    });
    all.extend(rest);
    change.await.expect("it does not panic");

    let mut seconds: Vec<_> =
        limits.await.expect("it does not panic").into_iter().map(|limit| (0.0, 0.0, limit)).collect();
    let mut latencies = Vec::new();
    for (second, latency) in all {
        let Some((sent, answered, _)) = seconds.get_mut(second) else { continue };
        *sent += 1.0;
        let Some(latency) = latency else { continue };
        *answered += 1.0;
        if (TO_CONVERGE..CHANGE).contains(&second) {
            latencies.push(latency * 1e3);
        }
    }
    Run { seconds, p99: quantile(&mut latencies, 0.99) }
}

/// In milliseconds, of calls that wait for nobody and are answered in time: work has no memory.
fn unloaded_p99() -> f64 {
    let in_time = 1.0 - (-PATIENCE.as_secs_f64() / WORK).exp();
    -1e3 * WORK * (1.0 - 0.99 * in_time).ln()
}

/// On average, in this second.
fn limit(runs: &[Run], second: usize) -> usize {
    runs.iter().map(|run| run.seconds[second].2).sum::<usize>() / runs.len()
}

/// The limit, each second.
async fn watch(limiter: ConcurrencyLimiter) -> Vec<usize> {
    let mut limits = Vec::new();
    for _ in 0..END {
        limits.push(limiter.limit());
        sleep(SECOND).await;
    }
    limits
}
