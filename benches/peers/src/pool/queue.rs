//! Who is served when there are fewer objects than callers: how long they wait, and whether somebody is passed over.

use std::time::Duration;

use stonework::pool::PoolSettings;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep};

use super::kit::{Bb8, By, Deadpool, Least, Lends, Mobc, Numbers, Ours};
use crate::figure::{Bound, Figure, Target, Unit};
use crate::groups::Effort;
use crate::statistics::median;

/// Each of all pools in turn.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(600);
/// At the beginning not everybody waits.
const WARM: Duration = Duration::from_millis(150);
const OURS: &str = "stonework";
/// How much longer than most the slowest may wait for their turn in ours.
const SPREAD: f64 = 1.3;
/// The least that one task may get, by what others get: none is left with nothing.
const LEAST: f64 = 0.5;

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

struct Round {
    /// Microseconds.
    p50: f64,
    p999: f64,
    per_second: f64,
    /// What the task got that got least, by what one gets on the average.
    least: f64,
    /// Tasks that got nothing.
    starved: usize,
}

pub(crate) fn figures(effort: &Effort) -> Vec<Figure> {
    PROGRAMS.into_iter().flat_map(|program| of(program, effort.rounds(ROUNDS))).collect()
}

fn of(program: Program, rounds: usize) -> Vec<Figure> {
    let runtime = || Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    let mut all: [Vec<Round>; 5] = Default::default();
    for _ in 0..rounds {
        let runtime = runtime();
        let _entered = runtime.enter();
        let max = program.objects;
        let settings = PoolSettings::new().max(max);
        let pool = Ours::builder(By(Numbers)).settings(settings).build().expect("valid settings");
        all[0].push(run(&runtime, program, pool));
        let pool = Deadpool::builder(By(Numbers)).max_size(max).build().expect("no timeouts");
        all[1].push(run(&runtime, program, pool));
        let pool = Bb8::builder().max_size(max as u32).build_unchecked(By(Numbers));
        all[2].push(run(&runtime, program, pool));
        // All of them may lie idle, as everywhere else.
        let pool = Mobc::builder().max_open(max as u64).max_idle(max as u64).build(By(Numbers));
        all[3].push(run(&runtime, program, pool));
        all[4].push(run(&runtime, program, Least::new(max)));
    }
    let names = [OURS, "deadpool", "bb8", "mobc", super::checkout::LEAST];
    names.into_iter().zip(all).map(|(name, rounds)| figure(program, name, &rounds)).collect()
}

/// Medians of all rounds; but for those who got least, which is the worst of them.
fn figure(program: Program, name: &'static str, rounds: &[Round]) -> Figure {
    let median = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure));
    let spread = Unit::Ratio.of(median(|round| round.p999 / round.p50));
    let least = Unit::Ratio.of(rounds.iter().map(|round| round.least).fold(f64::INFINITY, f64::min));
    let starved = rounds.iter().map(|round| round.starved).max().unwrap_or_default();
    let mut targets = Vec::new();
    // Where nothing is held, there is nothing to wait for but one's turn.
    if name == OURS && program.held.is_some() {
        targets.push(Target { what: "spread", found: spread, bound: Bound::AtMost(SPREAD) });
        targets.push(Target { what: "least of a task", found: least, bound: Bound::AtLeast(LEAST) });
    }
    Figure {
        besides: vec![
            ("p99.9", Unit::Micros.of(median(|round| round.p999))),
            ("spread", spread),
            ("taken", Unit::Millions.of(median(|round| round.per_second) / 1e6)),
            ("least of a task", least),
            ("tasks with none", Unit::Count.of(starved as f64)),
        ],
        targets,
        ..Figure::new(["queue", program.name, name, "p50"], Unit::Micros.of(median(|round| round.p50)))
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
