use super::outlier::Counted;
use crate::base::sync::{AtomicU64, Ordering};

/// How the calls to an endpoint went, for whoever looks for outliers.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Record {
    /// Of this interval: successes above all calls, 32 bits each. Each call writes it: see [`Endpoint`](super::endpoint::Endpoint).
    interval: AtomicU64,
    /// Failures since the last success.
    streak: AtomicU64,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { streak: AtomicU64::new(0), interval: AtomicU64::new(0) }
    }

    pub(super) fn succeeded(&self) {
        self.interval.fetch_add(1 << 32 | 1, Ordering::Relaxed);
        // Mostly it is nothing already, and then nobody else's copy of it need be thrown away.
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
        }
    }

    /// How many have failed in a row.
    pub(super) fn streak(&self) -> u64 {
        self.streak.load(Ordering::Relaxed)
    }

    /// Says how many have failed in a row now.
    pub(super) fn failed(&self) -> u64 {
        self.interval.fetch_add(1, Ordering::Relaxed);
        self.streak.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What was counted, once: the next interval begins.
    pub(super) fn take(&self) -> Counted {
        let counted = self.interval.swap(0, Ordering::Relaxed);
        Counted { successes: (counted >> 32) as u32, calls: counted as u32 }
    }

    /// As if nothing had been counted.
    pub(super) fn clear(&self) {
        self.streak.store(0, Ordering::Relaxed);
        self.interval.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_are_counted_until_one_succeeds_and_all_calls_until_they_are_taken() {
        let record = Record::new();
        assert_eq!((record.failed(), record.failed(), record.failed(), record.streak()), (1, 2, 3, 3));
        record.succeeded();
        assert_eq!((record.streak(), record.failed()), (0, 1));
        assert_eq!(record.take(), Counted { successes: 1, calls: 5 });
        record.succeeded();
        record.failed();
        record.clear();
        assert_eq!((record.streak(), record.take()), (0, Counted::default()));
    }
}
