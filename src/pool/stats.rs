use std::time::Duration;

use crate::base::PoolClose;

/// How many of the waits were so long, in powers of two of microseconds: the last one has all that were longer.
const BUCKETS: usize = 24;

/// How a [`Pool`](super::Pool) stands, and what has happened so far: all of one moment. See [`Pool::stats`](super::Pool::stats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStats {
    pub(super) idle: usize,
    pub(super) in_use: usize,
    pub(super) connecting: usize,
    pub(super) waiting: usize,
    pub(super) max: usize,
    pub(super) counts: Counts,
}

/// What is counted under the lock of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) connected: u64,
    pub(super) connect_failures: u64,
    pub(super) handed_out: u64,
    pub(super) refused: u64,
    pub(super) timed_out: u64,
    pub(super) closed: [u64; PoolClose::ALL.len()],
    waits: [u64; BUCKETS],
}

impl Counts {
    pub(super) fn close(&mut self, why: PoolClose) {
        self.closed[why as usize] += 1;
    }

    pub(super) fn waited(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.waits[bucket.min(BUCKETS - 1)] += 1;
    }
}

impl PoolStats {
    /// Objects that nobody uses.
    #[must_use]
    pub const fn idle(&self) -> usize {
        self.idle
    }

    /// Objects that somebody uses.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Objects that are being connected.
    #[must_use]
    pub const fn connecting(&self) -> usize {
        self.connecting
    }

    /// All of them, which are at most [`max`](Self::max).
    #[must_use]
    pub const fn open(&self) -> usize {
        self.idle + self.in_use + self.connecting
    }

    /// Callers who wait for one.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many there may be.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// How many were connected so far.
    #[must_use]
    pub const fn connected(&self) -> u64 {
        self.counts.connected
    }

    /// How often connecting failed.
    #[must_use]
    pub const fn connect_failures(&self) -> u64 {
        self.counts.connect_failures
    }

    /// How often one was handed out, those included that turned out to be of no use.
    #[must_use]
    pub const fn handed_out(&self) -> u64 {
        self.counts.handed_out
    }

    /// How often a caller was refused because too many waited.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.counts.refused
    }

    /// How often a caller waited in vain.
    #[must_use]
    pub const fn timed_out(&self) -> u64 {
        self.counts.timed_out
    }

    /// How many were closed for this reason.
    #[must_use]
    pub const fn closed(&self, why: PoolClose) -> u64 {
        self.counts.closed[why as usize]
    }

    /// How long callers waited who had to, and got one: how many waits were shorter than the time beside, and not shorter than the
    /// one before. The times are powers of two of a microsecond, and the last one is [`Duration::MAX`].
    pub fn waits(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.counts.waits.iter().enumerate().map(|(bucket, count)| {
            let last = bucket == BUCKETS - 1;
            (if last { Duration::MAX } else { Duration::from_micros(1 << bucket) }, *count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_under_the_next_longer_time() {
        let mut counts = Counts::default();
        for micros in [0, 1, 2, 3, 1_000, u64::MAX] {
            counts.waited(Duration::from_micros(micros));
        }
        let stats = PoolStats { idle: 0, in_use: 0, connecting: 0, waiting: 0, max: 1, counts };
        let counted: Vec<_> = stats.waits().filter(|(_, count)| *count > 0).collect();
        let micros = Duration::from_micros;
        assert_eq!(
            counted,
            [(micros(1), 1), (micros(2), 1), (micros(4), 2), (micros(1024), 1), (Duration::MAX, 1)]
        );
        assert!(stats.waits().map(|(time, _)| time).is_sorted());
    }
}
