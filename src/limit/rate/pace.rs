//! Decides whether a rate allows one more: the generic cell rate algorithm (ITU-T I.371, appendix), as a virtual schedule.
//! Nothing here waits, locks or reads a clock.
//!
//! A cell is one number, the instant at which everything that was saved up is there again. What was spent lies between now and
//! then; so time refills it by itself, and one that lies in the past is as good as none.

use std::time::Duration;

use super::holes::Holes;
use super::{Paid, Quota};

/// A quota in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limit) struct Pace {
    /// How long it takes to earn one.
    pub(in crate::limit) interval: u64,
    /// How long it takes to earn all that can be saved up.
    pub(in crate::limit) whole: u64,
}

/// Not now. What takes longer is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::limit) enum Denied {
    /// In so many nanoseconds, if nobody comes in between.
    In(u64),
    /// It costs more than there ever is.
    Never,
}

/// What becomes of something that is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// The cell is less: there are no holes behind that.
    Cell(u64),
    /// It leaves a hole here.
    Hole(u64),
    Nothing,
}

impl Pace {
    pub(in crate::limit) fn of(quota: &Quota) -> Self {
        let interval = u64::try_from(quota.interval()).unwrap_or(u64::MAX);
        Self { interval, whole: interval.saturating_mul(u64::from(quota.most())) }
    }

    /// What `cell` becomes when `cost` is taken at `now`, or at most `patience` later: then whoever takes it has to wait as long as
    /// [`wait`](Self::wait) says.
    #[inline]
    pub(in crate::limit) fn take(self, cell: u64, now: u64, cost: u32, patience: u64) -> Result<u64, Denied> {
        let cost = self.interval.saturating_mul(u64::from(cost));
        let after = cell.max(now).saturating_add(cost);
        let limit = now.saturating_add(self.whole);
        if cost > self.whole {
            Err(Denied::Never)
        } else if after <= limit.saturating_add(patience) {
            Ok(after)
        } else {
            Err(Denied::In(after - limit))
        }
    }

    /// How long whoever made it `cell` has to wait.
    #[inline]
    pub(super) fn wait(self, cell: u64, now: u64) -> u64 {
        cell.saturating_sub(now.saturating_add(self.whole))
    }

    /// How many could be taken at `now`.
    pub(in crate::limit) fn left(self, cell: u64, now: u64) -> u32 {
        let spent = cell.saturating_sub(now);
        u32::try_from(self.whole.saturating_sub(spent) / self.interval.max(1)).unwrap_or(u32::MAX)
    }

    /// How many are spent at `now`, those of which a part is earned again included.
    pub(super) fn spent(self, cell: u64, now: u64) -> u32 {
        let spent = cell.saturating_sub(now).div_ceil(self.interval.max(1));
        u32::try_from(spent).unwrap_or(u32::MAX)
    }

    /// What a cell of this pace is in another, so that as much is spent as before, and no more than that pace has.
    pub(super) fn translate(self, cell: u64, now: u64, to: Self) -> u64 {
        let spent = u128::from(cell.saturating_sub(now));
        let spent = (spent * u128::from(to.interval)).div_ceil(u128::from(self.interval.max(1)));
        let spent = u64::try_from(spent).unwrap_or(u64::MAX).min(to.whole);
        if spent == 0 { 0 } else { now.saturating_add(spent) }
    }

    /// A cell of which so many are spent at `now`, or all that there are.
    pub(super) fn having_spent(self, spent: u32, now: u64) -> u64 {
        let spent = self.interval.saturating_mul(u64::from(spent)).min(self.whole);
        if spent == 0 { 0 } else { now.saturating_add(spent) }
    }

    /// What was paid was not made use of after all. What time has earned again since is not earned twice. Where somebody waits behind
    /// it, whose time has been promised, its place is left for the next who comes.
    pub(super) fn give_back(self, cell: u64, now: u64, paid: &Paid, holes: &Holes) -> Back {
        let Some((pace, after)) = paid.allowed.by_pace().filter(|(pace, _)| *pace == self) else {
            return Back::Nothing;
        };
        let turn = now.saturating_add(self.whole);
        let without = |cell: u64, cost: u32| {
            let cost = pace.interval.saturating_mul(u64::from(cost));
            cell - cost.min(cell.saturating_sub(now))
        };
        if cell == after {
            // The last of the queue, and those before it that were left already.
            let mut end = without(cell, paid.cost);
            // One of now or before costs nothing any more.
            while let Some(cost) = holes.cost(end).filter(|_| end > now) {
                end = without(end, cost);
            }
            Back::Cell(end)
        } else if cell <= turn {
            // Nobody waits.
            let cost = self.interval.saturating_mul(u64::from(paid.cost));
            Back::Cell(cell.saturating_sub(cost.min(after.saturating_sub(now))))
        } else if after > turn {
            Back::Hole(after)
        } else {
            Back::Nothing
        }
    }
}

/// A length of time as nanoseconds; more than five centuries are as many as fit.
#[inline]
pub(super) fn nanos(time: Duration) -> u64 {
    // The common case without a division or 128 bits.
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(time.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_there_at_once_and_then_one_in_each_interval() {
        let pace = Pace::of(&Quota::per_second(10).burst(3));
        let mut cell = 0;
        for _ in 0..3 {
            cell = pace.take(cell, SECOND, 1, 0).unwrap();
        }
        assert_eq!(pace.take(cell, SECOND, 1, 0), Err(Denied::In(SECOND / 10)));
        assert_eq!(pace.take(cell, SECOND + SECOND / 10 - 1, 1, 0), Err(Denied::In(1)));
        assert!(pace.take(cell, SECOND + SECOND / 10, 1, 0).is_ok());
    }

    #[test]
    fn a_cost_is_as_many_and_one_that_is_never_there_is_never_waited_for() {
        let pace = Pace::of(&Quota::per_second(10));
        let cell = pace.take(0, 0, 7, 0).unwrap();
        assert_eq!(pace.left(cell, 0), 3);
        assert_eq!(pace.take(cell, 0, 4, 0), Err(Denied::In(SECOND / 10)));
        assert_eq!(pace.take(0, 0, 11, u64::MAX), Err(Denied::Never));
    }

    #[test]
    fn who_has_patience_takes_what_will_be_there_and_learns_when() {
        let pace = Pace::of(&Quota::per_second(1));
        let cell = pace.take(0, 0, 1, 0).unwrap();
        let next = pace.take(cell, 0, 1, SECOND).unwrap();
        assert_eq!(pace.wait(next, 0), SECOND);
        assert_eq!(pace.take(next, 0, 1, SECOND), Err(Denied::In(2 * SECOND)));
        assert_eq!(pace.left(next, 0), 0);
    }

    /// Takes 1 at zero, of a cell of which so many are taken already.
    fn paid(pace: Pace, before: u64) -> Paid {
        let cell = pace.take(before * SECOND, 0, 1, u64::MAX).unwrap();
        Paid { cost: 1, allowed: super::super::Allowed::paced(pace, cell, 0) }
    }

    #[test]
    fn a_place_in_the_queue_that_is_left_is_a_hole_until_those_behind_it_have_gone_too() {
        let pace = Pace::of(&Quota::per_second(1).burst(1));
        // One is served, and three wait.
        let mut holes = Holes::default();
        let [second, third, last] = [1, 2, 3].map(|before| paid(pace, before));
        assert_eq!(pace.give_back(4 * SECOND, 0, &second, &holes), Back::Hole(2 * SECOND));
        holes.leave(2 * SECOND, 1);
        assert_eq!(pace.give_back(4 * SECOND, 0, &third, &holes), Back::Hole(3 * SECOND));
        holes.leave(3 * SECOND, 1);
        assert_eq!(pace.give_back(4 * SECOND, 0, &last, &holes), Back::Cell(SECOND));
        // Its turn has come, or is over, and those behind it wait still.
        assert_eq!(pace.give_back(4 * SECOND, SECOND, &second, &Holes::default()), Back::Nothing);
        assert_eq!(pace.give_back(4 * SECOND, 2 * SECOND, &second, &Holes::default()), Back::Nothing);
    }

    #[test]
    fn a_place_that_was_left_and_is_of_this_very_moment_is_no_place_any_more() {
        let pace = Pace::of(&Quota::per_second(1).burst(1));
        let mut holes = Holes::default();
        holes.leave(2 * SECOND, 1);
        assert_eq!(pace.give_back(3 * SECOND, 2 * SECOND, &paid(pace, 2), &holes), Back::Cell(2 * SECOND));
        assert_eq!(
            pace.give_back(3 * SECOND, 2 * SECOND - 1, &paid(pace, 2), &holes),
            Back::Cell(2 * SECOND - 1)
        );
    }

    #[test]
    fn what_cost_nothing_gives_nothing_back_and_leaves_no_place() {
        let pace = Pace::of(&Quota::per_second(1).burst(1));
        for cell in [0, 1, 3].map(|seconds| seconds * SECOND) {
            let free = Paid { cost: 0, allowed: super::super::Allowed::free(pace, 2 * SECOND, 0) };
            assert_eq!(pace.give_back(cell, 0, &free, &Holes::default()), Back::Nothing);
        }
    }

    #[test]
    fn what_time_has_earned_again_is_not_given_back() {
        let pace = Pace::of(&Quota::per_second(1).burst(3));
        let (first, second) = (paid(pace, 0), paid(pace, 1));
        let holes = Holes::default();
        assert_eq!(pace.give_back(2 * SECOND, 0, &first, &holes), Back::Cell(SECOND));
        assert_eq!(pace.give_back(2 * SECOND, SECOND / 2, &first, &holes), Back::Cell(3 * SECOND / 2));
        assert_eq!(pace.give_back(2 * SECOND, SECOND, &first, &holes), Back::Cell(2 * SECOND));
        assert_eq!(pace.give_back(2 * SECOND, 5 * SECOND, &second, &holes), Back::Cell(2 * SECOND));
    }

    #[test]
    fn an_interval_is_rounded_up_so_that_no_more_is_earned() {
        let pace = Pace::of(&Quota::per_second(3));
        assert_eq!(pace.interval, 333_333_334);
    }

    #[test]
    fn another_quota_leaves_as_much_spent_as_before() {
        let (slow, fast) = (Pace::of(&Quota::per_second(1).burst(10)), Pace::of(&Quota::per_second(100)));
        let cell = slow.take(0, SECOND, 4, 0).unwrap();
        assert_eq!(fast.left(slow.translate(cell, SECOND, fast), SECOND), 96);
        assert_eq!(slow.translate(0, SECOND, fast), 0, "nothing spent is nothing spent");
        let spent = fast.take(0, SECOND, 60, 0).unwrap();
        assert_eq!(slow.left(fast.translate(spent, SECOND, slow), SECOND), 0, "no more than there is");
    }

    #[test]
    fn nothing_overflows_however_far_away() {
        let pace = Pace { interval: u64::MAX, whole: u64::MAX };
        for cell in [0, 1, u64::MAX] {
            for now in [0, 1, u64::MAX] {
                let _ = pace.take(cell, now, u32::MAX, u64::MAX);
                let _ = (pace.wait(cell, now), pace.left(cell, now), pace.translate(cell, now, pace));
            }
        }
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
