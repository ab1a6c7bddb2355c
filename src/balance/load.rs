use std::time::Duration;

use super::ewma::Ewma;
use crate::base::sync::{AtomicU64, Ordering};

/// What an endpoint has to do. It is read by whoever picks one, and written twice by each call.
///
/// One number, so that nobody ever sees more ended than begun: in the upper 40 bits the calls so far, below those that are under way.
#[derive(Debug)]
pub(super) struct Load(AtomicU64);

impl Load {
    /// More are never under way: their futures would not fit into memory.
    const UNDER_WAY: u32 = 24;
    const ONE_MORE: u64 = 1 << Self::UNDER_WAY;

    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn begin(&self) {
        self.0.fetch_add(Self::ONE_MORE + 1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.0.load(Ordering::Relaxed) >> Self::UNDER_WAY
    }

    /// Calls under way.
    pub(super) fn in_flight(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & (Self::ONE_MORE - 1)
    }
}

/// How long calls take an endpoint. All of it is read by whoever picks one, and none waits for another.
#[derive(Debug)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(Ewma::NONE.0))
    }

    /// What a call costs, in microseconds; nothing if none has ended yet.
    pub(super) fn cost(&self, now: u32, decay: Duration) -> Option<f64> {
        Ewma(self.0.load(Ordering::Relaxed)).at(now, decay)
    }

    /// The same, in time.
    pub(super) fn time(&self, now: u32, decay: Duration) -> Option<Duration> {
        let micros = self.cost(now, decay)?;
        Some(Duration::try_from_secs_f64(micros / 1e6).unwrap_or(Duration::MAX))
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&self) {
        self.0.store(Ewma::NONE.0, Ordering::Relaxed);
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
        let mut cost = self.0.load(Ordering::Relaxed);
        loop {
            let changed = change(Ewma(cost)).0;
            if changed == cost {
                // Nobody else's copy of it need be thrown away.
                return;
            }
            match self.0.compare_exchange_weak(cost, changed, Ordering::Relaxed, Ordering::Relaxed) {
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
    fn calls_are_counted_from_their_beginning_and_are_under_way_until_their_end() {
        let load = Load::new();
        let counts = || (load.calls(), load.in_flight());
        for begun in 1..4 {
            load.begin();
            assert_eq!(counts(), (begun, begun));
        }
        for left in [2, 1, 0] {
            load.end();
            assert_eq!(counts(), (3, left));
        }
    }

    #[test]
    fn calls_that_end_fail_or_are_given_up_are_told_in_what_a_call_costs_until_that_is_forgotten() {
        let (latency, ms, decay) = (Latency::new(), Duration::from_millis(1), Duration::from_secs(10));
        let known = || latency.time(0, decay);
        assert_eq!(known(), None);
        latency.took(20 * ms, 0, decay);
        assert_eq!(known(), Some(20 * ms));
        latency.took_at_least(50 * ms, 0);
        assert_eq!(known(), Some(50 * ms));
        latency.failed(100 * ms, 3, 1_000 * ms, 0);
        assert_eq!(known(), Some(3_000 * ms), "three before it, of a second each");
        latency.forget();
        assert_eq!(known(), None);
    }
}
