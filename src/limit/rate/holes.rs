//! Places in a queue that were given up, for whoever comes next. Nothing here waits, locks or reads a clock.

use std::collections::BTreeMap;

/// By what taking them had made of the cell, the cost of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Holes(BTreeMap<u64, u32>);

impl Holes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn cost(&self, cell: u64) -> Option<u32> {
        self.0.get(&cell).copied()
    }

    /// Leave this place.
    pub(super) fn leave(&mut self, cell: u64, cost: u32) {
        self.0.insert(cell, cost);
    }

    /// Take the first place of this cost, if it is not before `first` and not behind `last`. Those before are gone.
    pub(super) fn take(&mut self, first: u64, last: u64, cost: u32) -> Option<u64> {
        self.0 = self.0.split_off(&first);
        let cell = self.0.range(..=last).find(|(_, of)| **of == cost).map(|(cell, _)| *cell)?;
        self.0.remove(&cell);
        Some(cell)
    }

    /// There are no places any more behind this one.
    pub(super) fn end_with(&mut self, cell: u64) {
        self.0.split_off(&cell.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_to_the_next_who_wants_as_much_and_can_wait_for_it() {
        let mut holes = Holes::default();
        for (cell, cost) in [(10, 1), (20, 2), (30, 1), (40, 1)] {
            holes.leave(cell, cost);
        }
        assert_eq!(holes.take(11, 29, 1), None, "too early, too expensive, too late");
        assert_eq!(holes.take(11, 35, 1), Some(30));
        assert_eq!(holes.take(11, 35, 1), None, "taken");
        holes.end_with(20);
        assert_eq!((holes.cost(20), holes.cost(40)), (Some(2), None));
        assert!(!holes.is_empty());
    }
}
