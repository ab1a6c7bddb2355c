//! What a call takes while another thread calls the same thing.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::measure::Subject;
use crate::statistics::median;

/// Makes what a thread calls, on that thread.
pub(crate) type Make = Box<dyn Fn() -> Box<dyn Subject> + Send + Sync>;

/// Nanoseconds from the start to the end, by the calls that one thread made in between; one number a round.
#[derive(Clone, Default)]
pub(crate) struct Rounds {
    pub(crate) alone: Vec<f64>,
    pub(crate) beside: Vec<f64>,
}

impl Rounds {
    /// Calls in a second by two threads, over calls in a second by one: 2 where neither is in the other's way.
    pub(crate) fn speedup(&self) -> f64 {
        2.0 * median(self.alone.iter().copied()) / median(self.beside.iter().copied())
    }
}

/// In each round all in turn: first one thread alone, while the other one sleeps; then both from one start, from the first one that begins
/// until the slower one is through. So many other threads have come and gone between the two.
pub(crate) fn rounds(makes: &[Make], others: usize, rounds: usize, calls: u64) -> Vec<Rounds> {
    if makes.is_empty() {
        return Vec::new();
    }
    let (runtime, origin) = (Handle::current(), Instant::now());
    let (known, awake, line) = (Barrier::new(2), Barrier::new(2), Line::default());
    let [far_start, far_end] = [const { AtomicU64::new(0) }; 2];
    let now = || origin.elapsed().as_nanos() as u64;
    // A breaker may deal its counters out to threads in turn, with the first call of each.
    let first_calls = || {
        let mut subjects: Vec<_> = makes.iter().map(|make| make()).collect();
        for subject in &mut subjects {
            subject.calls(1);
        }
        subjects
    };
    let near = || {
        let _entered = runtime.enter();
        let mut subjects = first_calls();
        known.wait();
        let mut spent = vec![Rounds::default(); makes.len()];
        // The first round warms up and is not counted.
        for round in 0..=rounds {
            for (subject, spent) in subjects.iter_mut().zip(&mut spent) {
                let start = now();
                subject.calls(calls);
                let end = now();
                if round > 0 {
                    spent.alone.push((end - start) as f64 / calls as f64);
                }
            }
            awake.wait();
            for (subject, spent) in subjects.iter_mut().zip(&mut spent) {
                line.meet();
                let start = now();
                subject.calls(calls);
                let end = now();
                line.meet();
                // The other thread may have begun first: on a busy machine it may even be through by then.
                let start = start.min(far_start.load(Ordering::Relaxed));
                let end = end.max(far_end.load(Ordering::Relaxed));
                if round > 0 {
                    spent.beside.push((end - start) as f64 / calls as f64);
                }
            }
        }
        spent
    };
    let far = || {
        let _entered = runtime.enter();
        let mut subjects = first_calls();
        for _ in 0..=rounds {
            awake.wait();
            for subject in &mut subjects {
                line.meet();
                far_start.store(now(), Ordering::Relaxed);
                subject.calls(calls);
                far_end.store(now(), Ordering::Relaxed);
                line.meet();
            }
        }
    };
    std::thread::scope(|scope| {
        let near = scope.spawn(near);
        known.wait();
        for _ in 0..others {
            let other = scope.spawn(|| {
                let _entered = runtime.enter();
                first_calls();
            });
            other.join().expect("no panic");
        }
        scope.spawn(far);
        near.join().expect("no panic")
    })
}

/// Where two threads wait for each other without going to sleep: they start within some hundred nanoseconds.
#[derive(Default)]
struct Line {
    arrived: AtomicU64,
}

impl Line {
    fn meet(&self) {
        let arrived = self.arrived.fetch_add(1, Ordering::AcqRel);
        // The second one of each meeting finds an odd number, and the first one waits for it.
        let complete = (arrived | 1) + 1;
        let mut spins = 0u32;
        while self.arrived.load(Ordering::Acquire) < complete {
            spins += 1;
            // The other thread may be waiting for this very core.
            if spins.is_multiple_of(4_096) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}
