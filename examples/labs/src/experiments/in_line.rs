//! Who is next? bb8, issue 243: a thousand tasks take one of fifty connections, over and over; there one in a hundred waits for 780 ms, and
//! one in a thousand for 1.8 s, where deadpool has 40 ms and 119 ms. How long work takes there is not said. In a model in which it is a
//! millisecond on average, half of those who wait in the order of arrival wait for 19 of them, and of a thousand the last one for 20.9; where
//! somebody is picked by chance it is 130; where the last come is first, 950 of the thousand wait for ever.
//!
//! Timers are exact to a millisecond, so here it is a second in place of one; what is told counts in the time of one connection's work.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stonework::base::Rng;
use stonework::pool::{Manage, Pool, PoolSettings};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::{Bar, Experiment, Figure, Finding, Mean, chance, each_seed, quantile};

const TASKS: usize = 1_000;
const CONNECTIONS: usize = 50;
/// How long one is held, on average, in seconds.
const HELD: f64 = 1.0;
/// At the beginning all come at once.
const WARM_UP: Duration = Duration::from_secs(100);
const TIME: Duration = Duration::from_secs(1_100);
/// Callers who give up, in each run: with twenty seeds a million of them.
const GIVEN_UP: u64 = 50_000;

pub const IN_LINE: Experiment = Experiment {
    letter: 'I',
    name: "in-line",
    title: "a pool of 50 connections for 1000 tasks: how long they wait, in the time that one connection is held",
    published: "bb8's issue 243 has a thousand tasks for fifty connections, of which one in a thousand waits for 1.8 s, with deadpool 119 ms. A \
                model with a millisecond of work has 19.0 ms in the middle and 20.9 ms at 99.9 % for those who are served in the order of arrival, 130 \
                ms at 99.9 % where chance decides, and 950 tasks that wait for ever where the last come is first.",
    examine,
};

struct Run {
    p50: f64,
    p99: f64,
    p999: f64,
    /// Tasks that got nothing.
    starved: f64,
}

fn examine(seeds: u64) -> Finding {
    let mut finding = Finding::default();
    let runs = each_seed(seeds, wait);
    let over = |what: fn(&Run) -> f64| Mean::of(&runs.iter().map(what).collect::<Vec<_>>());
    let [p50, p99, p999] = [over(|run| run.p50), over(|run| run.p99), over(|run| run.p999)];
    let (spread, starved) = (over(|run| run.p999 / run.p50), over(|run| run.starved));
    finding
        .say("    wait            | median          | p99             | p99.9           | tasks with none");
    let [shown50, shown99, shown999] = [p50, p99, p999].map(|mean| format!("{mean:.2}"));
    finding.say(format_args!(
        "    order of arrival | {shown50:<14} | {shown99:<15} | {shown999:<15} | {:.0}",
        starved.most
    ));
    let lost = each_seed(seeds, give_up);
    let [gave_up, missing] = [|ends: &Ends| ends.gave_up, |ends: &Ends| ends.missing]
        .map(|what| lost.iter().map(what).sum::<u64>() as f64);
    finding.say(format_args!(
        "\n    {gave_up} callers gave up, waiting or with a connection in their hands; connections missing then: {missing}"
    ));
    finding.hold(
        "the wait at 99.9 % by that in the middle",
        "1.10 (model)",
        Figure::mean(spread, 3, ""),
        Bar::AtMost(1.3),
    );
    // 950 wait, and 50 are served in the time of one.
    finding.hold(
        "the wait in the middle",
        "19.0 (model)",
        Figure::mean(p50, 2, ""),
        Bar::Between(18.5, 19.5),
    );
    finding.hold(
        "tasks that wait for ever, of 1000",
        "none (model)",
        Figure::every(starved, 0, ""),
        Bar::AtMost(0.0),
    );
    finding.hold(
        format!("connections lost when {gave_up} callers gave up"),
        "none",
        Figure::together(missing, 0.0, 0, ""),
        Bar::AtMost(0.0),
    );
    finding.words = format!(
        "The pool serves in the order of arrival: {:.1}, {:.1} and {:.1} times the work of one connection in the middle, at 99 % and at 99.9 %. Nothing \
         is lost when callers give up. What it does beside the others in real time, `stonework-peers report queue` measures.",
        p50.mean, p99.mean, p999.mean
    );
    finding
}

struct Numbers {
    /// How long it takes to make one.
    takes: Duration,
}

impl Manage for Numbers {
    type Object = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        sleep(self.takes).await;
        Ok(())
    }
}

fn pool(takes: Duration, rng: &Rng) -> Pool<Numbers> {
    let settings = PoolSettings::new().max(CONNECTIONS).max_waiting(TASKS).without_wait_timeout();
    let built = Pool::builder(Numbers { takes }).settings(settings).rng(rng.clone()).build();
    built.expect("possible settings")
}

async fn wait(seed: u64) -> Run {
    let (begin, rng) = (Instant::now(), Rng::seeded(seed));
    let (pool, mut tasks) = (pool(Duration::ZERO, &rng), JoinSet::new());
    for _ in 0..TASKS {
        let (pool, rng) = (pool.clone(), rng.clone());
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while begin.elapsed() < TIME {
                let since = Instant::now();
                let connection = pool.get().await.expect("it comes to its turn");
                if (WARM_UP..TIME).contains(&begin.elapsed()) {
                    waits.push(since.elapsed().as_secs_f64() / HELD);
                }
                sleep(chance::exponential(&rng, HELD)).await;
                connection.put_back();
            }
            waits
        });
    }
    let waits = tasks.join_all().await;
    let starved = waits.iter().filter(|waits| waits.is_empty()).count() as f64;
    let mut waits = waits.concat();
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| quantile(&mut waits, part));
    Run { p50, p99, p999, starved }
}

/// What is left of callers who give up.
struct Ends {
    gave_up: u64,
    /// Of the connections that there may be, those that nobody can have afterwards, and those that there are too many of.
    missing: u64,
}

async fn give_up(seed: u64) -> Ends {
    let rng = Rng::seeded(seed);
    let (pool, mut tasks) = (pool(Duration::from_millis(100), &rng), JoinSet::new());
    let gave_up = Arc::new(AtomicU64::new(0));
    for _ in 0..TASKS {
        let (pool, rng, gave_up) = (pool.clone(), rng.clone(), Arc::clone(&gave_up));
        tasks.spawn(async move {
            while gave_up.load(Ordering::Relaxed) < GIVEN_UP {
                let (patience, work) = (chance::exponential(&rng, 5.0), chance::exponential(&rng, HELD));
                let is_done = timeout(patience, async {
                    let connection = pool.get().await.expect("it comes to its turn");
                    sleep(work).await;
                    connection.put_back();
                });
                if is_done.await.is_err() {
                    gave_up.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    tasks.join_all().await;
    // Everything that may be there can be had at once, and no more than that.
    let mut had = Vec::new();
    while let Ok(connection) = timeout(Duration::from_secs(10), pool.get()).await {
        had.push(connection);
    }
    Ends { gave_up: gave_up.load(Ordering::Relaxed), missing: had.len().abs_diff(CONNECTIONS) as u64 }
}
