//! Two threads that want the same thing at the same moment.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// What came of it.
#[derive(Default)]
pub(super) struct Race {
    rounds: usize,
    /// In so many of them both got it.
    pub(super) both: usize,
    /// In so many of them both got a thing of which everybody knows that it can happen: so often they met.
    pub(super) met: usize,
}

impl Race {
    pub(super) fn figures(&self) -> String {
        let Self { rounds, both, met } = self;
        format!("{both} of {rounds} (of a counter that is looked at and then changed: {met})")
    }
}

/// As many as are made ready at once, and the least there are.
const BATCH: usize = 2_000;
const LEAST: usize = 20_000;
/// On a busy machine it may take long until both run at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// In each round two threads want one thing of the same: as often as it takes to know, `enough` says.
pub(super) fn race<T: Sync>(
    make: impl Fn() -> T,
    wants: impl Fn(&T) -> bool + Sync,
    enough: impl Fn(&Race) -> bool,
) -> Race {
    let (mut race, start) = (Race::default(), Instant::now());
    while race.rounds < LEAST || (!enough(&race) && start.elapsed() < PATIENCE) {
        let things: Vec<_> = (0..BATCH).map(|_| (AtomicI32::new(1), make())).collect();
        let arrived = AtomicUsize::new(0);
        let one = || goes(&things, &arrived, &wants);
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(one);
            (one(), other.join().expect("no panic"))
        });
        for (one, other) in one.into_iter().zip(other) {
            race.met += usize::from(one.0 && other.0);
            race.both += usize::from(one.1 && other.1);
        }
        race.rounds += BATCH;
    }
    race
}

/// What one of the two gets, round by round: of the counter, and of the thing.
fn goes<T>(
    things: &[(AtomicI32, T)],
    arrived: &AtomicUsize,
    wants: impl Fn(&T) -> bool,
) -> Vec<(bool, bool)> {
    let mut got = Vec::with_capacity(things.len());
    for (round, (counter, thing)) in things.iter().enumerate() {
        arrived.fetch_add(1, Ordering::AcqRel);
        // At the same moment, and without keeping the other one from its core for long.
        for spins in 1_u32.. {
            match arrived.load(Ordering::Acquire) {
                both if both >= 2 * (round + 1) => break,
                _ if spins % 1_000 == 0 => std::thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
        let is_there = counter.load(Ordering::Relaxed) > 0;
        if is_there {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
        got.push((is_there, wants(thing)));
    }
    got
}
