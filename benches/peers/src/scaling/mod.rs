//! How what clones share keeps up when more than one asks: one thread, two threads, and 64 tasks on a runtime with two.

mod asked;
mod called;
mod kit;
mod own;

use stonework::limit::{AdaptiveSettings, ConcurrencySettings};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::kit::{Handle, Tasks};
use crate::figure::{Figure, Times, Unit};
use crate::groups::Effort;
use crate::report::within;
use crate::statistics::median;
use crate::threads::{self, Rounds};

/// In each, all handles in turn.
const ROUNDS: usize = 201;
/// Of each thread in a round.
const TURNS: u64 = 2_000;
const TASKS: u64 = 64;
/// Of each task in a round: so many that beginning 64 of them is not what is measured.
const TURNS_OF_A_TASK: u64 = 300;

/// More than there are tasks: none is ever refused.
const PERMITS: usize = 1_000;

pub(crate) fn figures(effort: &Effort) -> Vec<Figure> {
    let rounds = effort.rounds(ROUNDS);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime");
    // Some of them were asked before, and know the answer.
    let handles = {
        let _entered = runtime.enter();
        called::handles().into_iter().chain(asked::handles(&runtime))
    };
    let (mut makes, mut tasks, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for Handle { of, name, thread, tasks: some } in handles {
        makes.push(thread);
        tasks.push(some);
        names.push((of, name));
    }
    let threads = within(|| threads::rounds(&makes, 0, rounds, TURNS));
    let tasks = in_tasks(&runtime, &tasks, rounds);
    let all = names.iter().copied().zip(threads.iter().zip(&tasks));
    all.map(|((of, name), measured)| {
        // The first one of its kind shares nothing.
        let control = names.iter().position(|(other, _)| *other == of).expect("itself at least");
        figure(of, name, names[control].1, measured, (&threads[control], &tasks[control]))
    })
    .collect()
}

/// A limit that finds itself, and never goes so low that somebody is refused.
fn adaptive() -> ConcurrencySettings {
    AdaptiveSettings::new().min(PERMITS).initial(PERMITS).max(10 * PERMITS).into()
}

/// Nanoseconds from the first to the last of all turns of all tasks, for one turn: one list a handle, one number a round.
fn in_tasks(runtime: &Runtime, handles: &[Tasks], rounds: usize) -> Vec<Vec<f64>> {
    let mut spent = vec![Vec::with_capacity(rounds); handles.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (handle, spent) in handles.iter().zip(&mut spent) {
            let each: Vec<_> = (0..TASKS).map(|_| handle(TURNS_OF_A_TASK)).collect();
            // From a thread of the runtime, so that no third one is at work.
            let took = runtime.spawn(async {
                let start = Instant::now();
                each.into_iter().collect::<JoinSet<()>>().join_all().await;
                start.elapsed()
            });
            let took = runtime.block_on(took).expect("no panic");
            if round > 0 {
                spent.push(took.as_nanos() as f64 / (TASKS * TURNS_OF_A_TASK) as f64);
            }
        }
    }
    spent
}

/// Throughputs, and how they compare with those of what shares nothing.
fn figure(
    of: &'static str,
    name: &'static str,
    control: &'static str,
    (threads, tasks): (&Rounds, &Vec<f64>),
    (bare, bare_tasks): (&Rounds, &Vec<f64>),
) -> Figure {
    let alone = |rounds: &Rounds| 1e3 / median(rounds.alone.iter().copied());
    let beside = |rounds: &Rounds| 2e3 / median(rounds.beside.iter().copied());
    let together = |tasks: &Vec<f64>| 1e3 / median(tasks.iter().copied());
    let times = (name != control).then(|| Times { peer: control, times: alone(threads) / alone(bare) });
    let scaling = if name == control { threads.speedup() } else { threads.speedup() / bare.speedup() };
    let mut besides = vec![
        ("two threads", Unit::Millions.of(beside(threads))),
        ("scaling", Unit::Ratio.of(scaling)),
        ("64 tasks", Unit::Millions.of(together(tasks))),
    ];
    if name != control {
        besides.push(("of the bare", Unit::Ratio.of(together(tasks) / together(bare_tasks))));
    }
    Figure {
        times: times.into_iter().collect(),
        besides,
        ..Figure::new(["scaling", of, name, "one thread"], Unit::Millions.of(alone(threads)))
    }
}
