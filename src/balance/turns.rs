//! Whose turn it is. One count for all threads would be what each of their calls waits for, so each lane has its own.

use crate::base::sync::{AtomicU64, Ordering, Padded};
use crate::base::{lane, lanes};

/// The turns of one balancer. Who asks from one thread gets one after the other; threads go round by themselves.
pub(super) struct Turns {
    lanes: Box<[Padded<AtomicU64>]>,
    /// How many of them have begun, each one turn after the one before.
    begun: AtomicU64,
}

impl Turns {
    pub(super) fn new() -> Self {
        let lanes = (0..lanes()).map(|_| Padded(AtomicU64::new(0))).collect();
        Self { lanes, begun: AtomicU64::new(0) }
    }

    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next_of(lane(self.lanes.len()))
    }

    #[inline]
    fn next_of(&self, lane: usize) -> u64 {
        let lane = &self.lanes[lane].0;
        let turn = lane.fetch_add(1, Ordering::Relaxed);
        if turn == 0 { self.begin(lane) } else { turn }
    }

    /// The first turn of a lane: were it that of all lanes, the first endpoint would be called by all of them.
    #[cold]
    fn begin(&self, lane: &AtomicU64) -> u64 {
        let first = self.begun.fetch_add(1, Ordering::Relaxed);
        lane.fetch_add(first, Ordering::Relaxed);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_gives_one_turn_after_the_other_and_begins_one_after_those_that_have_begun() {
        let turns = Turns::new();
        let last = turns.lanes.len() - 1;
        assert_eq!([0, 0, 0].map(|lane| turns.next_of(lane)), [0, 1, 2]);
        assert_eq!([last, 0, last, last, 0].map(|lane| turns.next_of(lane)), [1, 3, 2, 3, 4]);
    }

    #[test]
    fn a_thread_keeps_its_turns() {
        let turns = Turns::new();
        assert!((0..100).eq((0..100).map(|_| turns.next())));
    }
}
