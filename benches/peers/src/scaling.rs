//! What a call takes while another thread calls the same thing.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::measure::Subject;

/// Makes what one of the threads calls, on that thread.
pub(crate) type Make = Box<dyn FnOnce() -> Box<dyn Subject> + Send>;

/// Nanoseconds from the start to the end, by the calls that one thread made in between; one number a round.
#[derive(Clone, Default)]
pub(crate) struct Rounds {
    pub(crate) alone: Vec<f64>,
    pub(crate) beside: Vec<f64>,
}

impl Rounds {
    /// Calls in a second by two threads, over calls in a second by one: 2 where neither is in the other's way.
    pub(crate) fn speedup(&self) -> f64 {
        2.0 * median(&self.alone) / median(&self.beside)
    }
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// In each round all pairs in turn: first one thread alone, while the other one sleeps; then both from one start, until
/// the slower one is through.
pub(crate) fn rounds(pairs: Vec<[Make; 2]>, rounds: usize, calls: u64) -> Vec<Rounds> {
    let mut spent = vec![Rounds::default(); pairs.len()];
    let (near, far): (Vec<_>, Vec<_>) = pairs.into_iter().map(|[near, far]| (near, far)).unzip();
    let (awake, line, far_end) = (Barrier::new(2), Line::default(), AtomicU64::new(0));
    let (runtime, origin) = (Handle::current(), Instant::now());
    let now = || origin.elapsed().as_nanos() as u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = runtime.enter();
            let mut subjects: Vec<_> = far.into_iter().map(|make| make()).collect();
            for _ in 0..=rounds {
                awake.wait();
                for subject in &mut subjects {
                    line.meet();
                    subject.calls(calls);
                    far_end.store(now(), Ordering::Relaxed);
                    line.meet();
                }
            }
        });
        let mut subjects: Vec<_> = near.into_iter().map(|make| make()).collect();
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
                let end = end.max(far_end.load(Ordering::Relaxed));
                if round > 0 {
                    spent.beside.push((end - start) as f64 / calls as f64);
                }
            }
        }
    });
    spent
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
