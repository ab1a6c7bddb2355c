//! Who is served when there are fewer objects than callers: how long they wait, and whether somebody is passed over.

use std::fmt::Write as _;
use std::time::Duration;

use stonework::pool::PoolSettings;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep};

use super::kit::{Bb8, By, Deadpool, Least, Lends, Mobc, Numbers, Ours};

/// Each of all pools in turn.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(600);
/// At the beginning not everybody waits.
const WARM: Duration = Duration::from_millis(150);
pub(crate) const OURS: &str = "stonework";

/// What callers do, over and over.
#[derive(Clone, Copy)]
struct Program {
    name: &'static str,
    tasks: usize,
    objects: usize,
    held: Option<Duration>,
}

const MILLISECOND: Option<Duration> = Some(Duration::from_millis(1));
const PROGRAMS: [Program; 3] = [
    Program { name: "64 tasks, 8 objects, 1 ms each", tasks: 64, objects: 8, held: MILLISECOND },
    Program { name: "1000 tasks, 50 objects, 1 ms each", tasks: 1_000, objects: 50, held: MILLISECOND },
    Program { name: "64 tasks, 8 objects, not held", tasks: 64, objects: 8, held: None },
];

pub(crate) struct Line {
    pub(crate) program: &'static str,
    pub(crate) name: &'static str,
    /// Whether callers have something to wait for but their turn.
    pub(crate) held: bool,
    /// Medians of all rounds.
    p50: f64,
    p999: f64,
    pub(crate) spread: f64,
    per_second: f64,
    /// The worst of all rounds: what the task got that got least, by what one gets on the average.
    pub(crate) least: f64,
    /// Tasks that got nothing, in the round with the most of them.
    pub(crate) starved: usize,
}

pub(crate) struct Report {
    pub(crate) lines: Vec<Line>,
}

struct Round {
    p50: f64,
    p999: f64,
    per_second: f64,
    least: f64,
    starved: usize,
}

impl Report {
    pub(crate) fn measure() -> Self {
        let runtime =
            || Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
        let lines = PROGRAMS.into_iter().flat_map(|program| {
            let mut rounds: [Vec<Round>; 5] = Default::default();
            for _ in 0..ROUNDS {
                let runtime = runtime();
                let _entered = runtime.enter();
                let max = program.objects;
                let settings = PoolSettings::new().max(max);
                let pool = Ours::builder(By(Numbers)).settings(settings).build().expect("valid settings");
                rounds[0].push(run(&runtime, program, pool));
                let pool = Deadpool::builder(By(Numbers)).max_size(max).build().expect("no timeouts");
                rounds[1].push(run(&runtime, program, pool));
                let pool = Bb8::builder().max_size(max as u32).build_unchecked(By(Numbers));
                rounds[2].push(run(&runtime, program, pool));
                // All of them may lie idle, as everywhere else.
                let pool = Mobc::builder().max_open(max as u64).max_idle(max as u64).build(By(Numbers));
                rounds[3].push(run(&runtime, program, pool));
                rounds[4].push(run(&runtime, program, Least::new(max)));
            }
            let names = [OURS, "deadpool", "bb8", "mobc", super::checkout::LEAST];
            names.into_iter().zip(rounds).map(move |(name, rounds)| Line::of(program, name, &rounds))
        });
        Self { lines: lines.collect() }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut table = String::from(
            "`queue`: tasks that take an object, hold it, put it back, and take the next\n\n\
             | program | pool | taken in a second | wait: p50, µs | p99.9, µs | p99.9 / p50 | least of a task, by the mean | tasks with none |\n\
             |---|---|--:|--:|--:|--:|--:|--:|\n",
        );
        for line in &self.lines {
            let Line { program, name, p50, p999, spread, per_second, least, starved, .. } = line;
            let _ = writeln!(
                table,
                "| {program} | {name} | {per_second:.0} | {p50:.0} | {p999:.0} | {spread:.2} | {least:.2} | {starved} |"
            );
        }
        table
    }
}

impl Line {
    fn of(program: Program, name: &'static str, rounds: &[Round]) -> Self {
        let median = |figure: fn(&Round) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        Self {
            program: program.name,
            name,
            held: program.held.is_some(),
            p50: median(|round| round.p50),
            p999: median(|round| round.p999),
            spread: median(|round| round.p999 / round.p50),
            per_second: median(|round| round.per_second),
            least: rounds.iter().map(|round| round.least).fold(f64::INFINITY, f64::min),
            starved: rounds.iter().map(|round| round.starved).max().unwrap_or_default(),
        }
    }
}

fn run(runtime: &Runtime, program: Program, pool: impl Lends) -> Round {
    runtime.block_on(async {
        let from = Instant::now() + WARM;
        let to = from + ROUND;
        let mut tasks = JoinSet::new();
        for _ in 0..program.tasks {
            tasks.spawn(takes(pool.clone(), program.held, from, to));
        }
        let waits = tasks.join_all().await;
        let counts: Vec<usize> = waits.iter().map(Vec::len).collect();
        let taken: usize = counts.iter().sum();
        let mut waits = waits.concat();
        waits.sort_unstable();
        let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize] as f64 / 1_000.0;
        let mean = taken as f64 / counts.len() as f64;
        Round {
            p50: at(0.5),
            p999: at(0.999),
            per_second: taken as f64 / ROUND.as_secs_f64(),
            least: counts.iter().min().map_or(0.0, |least| *least as f64 / mean),
            starved: counts.iter().filter(|count| **count == 0).count(),
        }
    })
}

/// Nanoseconds of each wait that ended in time.
async fn takes(pool: impl Lends, held: Option<Duration>, from: Instant, to: Instant) -> Vec<u32> {
    let mut waits = Vec::new();
    loop {
        let start = Instant::now();
        if start >= to {
            return waits;
        }
        let object = pool.take().await.expect("it comes to its turn");
        let now = Instant::now();
        if (from..to).contains(&now) {
            waits.push((now - start).as_nanos().try_into().unwrap_or(u32::MAX));
        }
        match held {
            Some(time) => sleep(time).await,
            None => yield_now().await,
        }
        drop(object);
    }
}
