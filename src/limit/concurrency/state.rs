//! Decides whether one more may go on: how many do, how many may, and whether anybody waits, in one number. Nothing here waits,
//! locks or reads a clock.

/// As much as fits: 31 bits.
pub(in crate::limit) const MOST: usize = 0x7fff_ffff;

const WAITING: u64 = 1 << 63;
const LIMIT: u32 = 32;

/// The low half counts those in flight; above it stands the limit, and above that whether anybody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    pub(super) fn new(limit: usize) -> Self {
        Self(0).with_limit(limit)
    }

    pub(super) const fn in_flight(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub(super) const fn limit(self) -> usize {
        ((self.0 & !WAITING) >> LIMIT) as usize
    }

    pub(super) const fn has_waiters(self) -> bool {
        self.0 & WAITING != 0
    }

    pub(super) const fn has_room(self) -> bool {
        self.in_flight() < self.limit()
    }

    pub(super) fn with_limit(self, limit: usize) -> Self {
        let limit = limit.min(MOST) as u64;
        Self(self.0 & (WAITING | 0xffff_ffff) | limit << LIMIT)
    }

    pub(super) const fn with_waiters(self, any: bool) -> Self {
        Self(if any { self.0 | WAITING } else { self.0 & !WAITING })
    }

    /// One more, if nobody came earlier who still waits.
    #[inline]
    pub(super) const fn enter(self) -> Option<Self> {
        if self.has_room() && !self.has_waiters() { Some(self.one_more()) } else { None }
    }

    /// One more, if a tenth of the limit is left then.
    pub(super) const fn enter_batch(self) -> Option<Self> {
        let kept = self.limit().div_ceil(10);
        if self.in_flight() + kept < self.limit() { self.enter() } else { None }
    }

    pub(super) const fn one_more(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) const fn one_less(self) -> Self {
        Self(self.0 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_keeps_off_the_last_tenth() {
        let admitted =
            |limit| std::iter::successors(Some(State::new(limit)), |state| state.enter_batch()).count() - 1;
        assert_eq!([100, 20, 10, 5, 2, 1].map(admitted), [90, 18, 9, 4, 1, 0]);
    }

    #[test]
    fn the_parts_of_the_number_do_not_touch_each_other() {
        let full = State::new(2).enter().unwrap().enter().unwrap();
        assert_eq!((full.in_flight(), full.limit(), full.has_waiters()), (2, 2, false));
        assert_eq!(full.enter(), None);
        let waited = full.with_waiters(true);
        assert_eq!((waited.in_flight(), waited.limit(), waited.has_waiters()), (2, 2, true));
        assert_eq!(waited.with_limit(9).enter(), None, "somebody came earlier");
        assert_eq!(waited.with_limit(9).with_waiters(false).one_less(), State::new(9).one_more());
        assert_eq!(State::new(usize::MAX).limit(), MOST);
        assert!(!State::new(usize::MAX).has_waiters());
        assert!(!State::new(0).has_room());
    }
}
