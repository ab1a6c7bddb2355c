use std::time::Duration;

use super::ewma::Ewma;
use crate::base::sync::{AtomicU64, Ordering};

/// What an endpoint has to do, and how long that takes it. All of it is read by whoever picks one, and none waits for another.
#[derive(Debug)]
pub(super) struct Load {
    begun: AtomicU64,
    ended: AtomicU64,
    cost: AtomicU64,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { begun: AtomicU64::new(0), ended: AtomicU64::new(0), cost: AtomicU64::new(Ewma::NONE.0) }
    }

    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        // Whoever sees this sees the call begun, too.
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Calls under way.
    pub(super) fn in_flight(&self) -> u64 {
        let ended = self.ended.load(Ordering::Acquire);
        self.calls().saturating_sub(ended)
    }

    /// What a call costs, in microseconds; nothing if none has ended yet.
    pub(super) fn cost(&self, now: u32, decay: Duration) -> Option<f64> {
        Ewma(self.cost.load(Ordering::Relaxed)).at(now, decay)
    }

    /// The same, in time.
    pub(super) fn latency(&self, now: u32, decay: Duration) -> Option<Duration> {
        let micros = self.cost(now, decay)?;
        Some(Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX))
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&self) {
        self.cost.store(Ewma::NONE.0, Ordering::Relaxed);
    }

    /// A call took so long.
    pub(super) fn took(&self, took: Duration, now: u32, decay: Duration) {
        self.change(|cost| cost.with(took, now, decay));
    }

    /// A call failed after so long, and as many before it in a row.
    pub(super) fn failed(&self, took: Duration, before: u64, penalty: Duration, now: u32) {
        self.change(|cost| cost.with_failure(took, before, penalty, now));
    }

    /// A call took so long and had not ended.
    pub(super) fn took_at_least(&self, took: Duration, now: u32) {
        self.change(|cost| cost.with_at_least(took, now));
    }

    fn change(&self, change: impl Fn(Ewma) -> Ewma) {
        let mut cost = self.cost.load(Ordering::Relaxed);
        loop {
            let changed = change(Ewma(cost)).0;
            if changed == cost {
                // Nobody else's copy of it need be thrown away.
                return;
            }
            match self.cost.compare_exchange_weak(cost, changed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => cost = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_end_fail_or_are_given_up_are_told_in_what_a_call_costs_until_that_is_forgotten() {
        let (load, ms, decay) = (Load::new(), Duration::from_millis(1), Duration::from_secs(10));
        let known = || load.latency(0, decay);
        assert_eq!(known(), None);
        load.took(20 * ms, 0, decay);
        assert_eq!(known(), Some(20 * ms));
        load.took_at_least(50 * ms, 0);
        assert_eq!(known(), Some(50 * ms));
        load.failed(100 * ms, 3, 1_000 * ms, 0);
        assert_eq!(known(), Some(3_000 * ms), "three before it, of a second each");
        load.forget();
        assert_eq!(known(), None);
    }
}
