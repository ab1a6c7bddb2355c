//! Decides for one key: what it has spent, by a rate or by a window. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use super::holes::Holes;
use super::log::{Log, Window};
use super::pace::{Back, Denied, Pace};
use super::{Allowed, Paid, Policy, Quota};
use crate::base::RateLimited;

/// A quota in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limit) enum Plan {
    Paced(Pace),
    Strict(Window),
}

impl Plan {
    pub(in crate::limit) fn of(quota: &Quota) -> Self {
        if quota.strict { Self::Strict(Window::of(quota)) } else { Self::Paced(Pace::of(quota)) }
    }

    /// As it is published: how much in which time. Of a pace that is all that can be saved up, and the time it takes to earn it; or
    /// what is earned in a second, if that is more, since the time is told in whole seconds.
    pub(in crate::limit) fn policy(self) -> (u32, Duration) {
        const SECOND: u64 = 1_000_000_000;
        match self {
            Self::Strict(window) => (window.amount, Duration::from_nanos(window.length)),
            Self::Paced(pace) => {
                let time = pace.whole.max(SECOND);
                // Without what intervals are rounded up by: less than a nanosecond each, of which one more may come.
                let interval = pace.interval.max(1);
                let rounded = (time / interval).min(interval - 1);
                let amount = u32::try_from(time.saturating_add(rounded) / interval).unwrap_or(u32::MAX);
                // More than nothing: an interval of a nanosecond is not rounded.
                (amount, Duration::from_nanos(time.saturating_sub(u64::from(amount)).max(1)))
            }
        }
    }
}

/// What a key has spent. A new one has spent nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket {
    /// When nothing is spent any more.
    pub(super) full_at: u64,
    /// What a window remembers.
    log: Option<Box<Log>>,
}

/// Not now.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooMuch {
    pub(super) denied: Denied,
    /// How much was left, which was too little.
    pub(super) left: u32,
    pub(super) plan: Plan,
}

impl TooMuch {
    /// What the caller is told.
    pub(super) fn into_error(self, policy: &Policy) -> RateLimited {
        let retry_after = match self.denied {
            Denied::Never => None,
            Denied::In(nanos) => Some(Duration::from_nanos(nanos)),
        };
        RateLimited::new(policy.shared_name(), self.left, retry_after)
    }
}

impl Bucket {
    /// One of a pace, which is full again at this time.
    pub(super) const fn spent_until(full_at: u64) -> Self {
        Self { full_at, log: None }
    }

    #[inline]
    pub(super) const fn is_full(&self, now: u64) -> bool {
        self.full_at <= now
    }

    #[inline]
    pub(super) fn take(
        &mut self,
        plan: Plan,
        now: u64,
        cost: u32,
        patience: u64,
    ) -> Result<Allowed, TooMuch> {
        match plan {
            Plan::Paced(pace) if cost == 0 => Ok(Allowed::free(pace, self.full_at, now)),
            Plan::Paced(pace) if patience > 0 && self.log.is_some() => {
                self.take_in_turn(pace, now, cost, patience)
            }
            Plan::Paced(pace) => match pace.take(self.full_at, now, cost, patience) {
                Ok(after) => {
                    self.full_at = after;
                    Ok(Allowed::paced(pace, after, now))
                }
                Err(denied) => Err(TooMuch { denied, left: pace.left(self.full_at, now), plan }),
            },
            Plan::Strict(window) => {
                let log = self.log.get_or_insert_default();
                let now = log.arrive(now);
                let taken = log.take(window, now, cost, patience);
                let left = log.left(window, now);
                self.full_at = log.full_at(window);
                match taken {
                    Ok(at) => {
                        Ok(Allowed::strict(window, left, self.full_at.saturating_sub(now), at, at - now))
                    }
                    Err(denied) => Err(TooMuch { denied, left, plan }),
                }
            }
        }
    }

    /// By a pace, where somebody who waited has gone.
    #[cold]
    fn take_in_turn(&mut self, pace: Pace, now: u64, cost: u32, patience: u64) -> Result<Allowed, TooMuch> {
        let taken = pace.take(self.full_at, now, cost, patience);
        let turn = now.saturating_add(pace.whole);
        if taken.map_or(true, |after| after > turn) {
            let holes = &mut self.log.get_or_insert_default().holes;
            if let Some(place) = holes.take(turn, turn.saturating_add(patience), cost) {
                return Ok(Allowed::paced(pace, place, now));
            }
            if holes.is_empty() {
                self.log = None;
            }
        }
        let left = pace.left(self.full_at, now);
        self.full_at = taken.map_err(|denied| TooMuch { denied, left, plan: Plan::Paced(pace) })?;
        Ok(Allowed::paced(pace, self.full_at, now))
    }

    /// What was taken was not made use of.
    pub(super) fn give_back(&mut self, plan: Plan, now: u64, paid: &Paid) {
        match (plan, &mut self.log) {
            (Plan::Paced(pace), log) => {
                let holes = log.as_mut().map(|log| &mut log.holes);
                match (
                    pace.give_back(self.full_at, now, paid, holes.as_deref().unwrap_or(&Holes::default())),
                    holes,
                ) {
                    (Back::Cell(less), holes) => {
                        self.full_at = less;
                        if let Some(holes) = holes {
                            holes.end_with(less);
                        }
                    }
                    (Back::Hole(place), _) => {
                        self.log.get_or_insert_default().holes.leave(place, paid.cost);
                    }
                    (Back::Nothing, _) => {}
                }
            }
            (Plan::Strict(window), Some(log)) => {
                log.give_back(paid.allowed.at(), paid.cost, now);
                self.full_at = log.full_at(window);
            }
            (Plan::Strict(_), None) => {}
        }
    }

    /// How things stand.
    pub(super) fn look(&self, plan: Plan, now: u64) -> Allowed {
        match plan {
            Plan::Paced(pace) => Allowed::paced(pace, self.full_at, now),
            Plan::Strict(window) => {
                let left = self.log.as_ref().map_or(window.amount, |log| log.left(window, now));
                Allowed::strict(window, left, self.full_at.saturating_sub(now), now, 0)
            }
        }
    }

    /// As much stays spent as was, and no more than there is.
    pub(super) fn translate(&mut self, from: Plan, to: Plan, now: u64) {
        let spent = match from {
            Plan::Paced(pace) => pace.spent(self.full_at, now),
            Plan::Strict(window) => {
                let left = self.log.as_ref().map_or(window.amount, |log| log.left(window, now));
                window.amount.saturating_sub(left)
            }
        };
        match (from, to) {
            // Places that were left are of the old one.
            (Plan::Paced(from), Plan::Paced(to)) => {
                *self = Self::spent_until(from.translate(self.full_at, now, to));
            }
            (Plan::Strict(_), Plan::Paced(to)) => {
                *self = Self::spent_until(to.having_spent(spent, now));
            }
            (_, Plan::Strict(window)) => {
                // When it was spent does not matter, as long as it was not earlier.
                *self = Self::default();
                let _ = self.take(to, now, spent.min(window.amount), 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_quota_leaves_as_much_spent_as_before_whatever_the_kinds() {
        let now = 1_000_000_000;
        let paced = Plan::of(&Quota::per_second(10));
        let strict = Plan::of(&Quota::per_second(10).strict());
        let smaller = Plan::of(&Quota::per_second(5).strict());
        for (from, to, left) in [
            (paced, strict, 6),
            (strict, paced, 6),
            (strict, strict, 6),
            (paced, paced, 6),
            (strict, smaller, 1),
        ] {
            let mut bucket = Bucket::default();
            let _ = bucket.take(from, now, 4, 0).unwrap();
            bucket.translate(from, to, now);
            assert_eq!(bucket.look(to, now).left(), left, "{from:?} {to:?}");
            assert!(!bucket.is_full(now));
        }
    }

    #[test]
    fn a_policy_says_what_is_earned_and_not_more() {
        let policy = |quota: Quota| {
            let (amount, time) = Plan::of(&quota).policy();
            // Rounded up by less than a nanosecond for each.
            (amount, time.as_secs_f64().round())
        };
        assert_eq!(policy(Quota::per_second(3)), (3, 1.0));
        assert_eq!(policy(Quota::per_second(3).burst(1)), (3, 1.0));
        assert_eq!(policy(Quota::per_minute(1)), (1, 60.0));
        // One in six tenths of a second is one in a second, of those that are whole.
        assert_eq!(policy(Quota::per_minute(100).burst(1)), (1, 1.0));
        assert_eq!(policy(Quota::per_second(10).strict()), (10, 1.0));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        for plan in [Plan::of(&Quota::per_second(3)), Plan::of(&Quota::per_second(3).strict())] {
            let mut bucket = Bucket::default();
            let mut take = |cost| {
                let taken = bucket.take(plan, 5, cost, 0);
                taken.map(|allowed| Paid { cost, allowed })
            };
            let (one, two) = (take(1).unwrap(), take(2).unwrap());
            assert!(take(1).is_err());
            bucket.give_back(plan, 5, &two);
            assert_eq!(bucket.look(plan, 5).left(), 2, "{plan:?}");
            bucket.give_back(plan, 2_000_000_000, &one);
            assert!(bucket.is_full(2_000_000_000));
        }
    }

    const SECOND: u64 = 1_000_000_000;

    /// By a pace of one a second: one is served, two wait, and the first of those has gone.
    fn with_a_place_that_was_left() -> (Bucket, Plan) {
        let (mut bucket, plan) = (Bucket::default(), Plan::of(&Quota::per_second(1).burst(1)));
        let [_, allowed, _] = [(); 3].map(|()| bucket.take(plan, 0, 1, 9 * SECOND).unwrap());
        bucket.give_back(plan, 0, &Paid { cost: 1, allowed });
        (bucket, plan)
    }

    /// How long the next has to wait.
    fn wait(bucket: &mut Bucket, plan: Plan, now: u64, patience: u64) -> Option<u64> {
        bucket.take(plan, now, 1, patience).ok().map(|allowed| allowed.wait())
    }

    #[test]
    fn a_place_that_was_left_by_one_quota_is_not_there_by_another() {
        let (mut bucket, slow) = with_a_place_that_was_left();
        let fast = Plan::of(&Quota::per_second(100).burst(1));
        bucket.translate(slow, fast, 0);
        for turn in 1..=300 {
            assert_eq!(wait(&mut bucket, fast, 0, 9 * SECOND), Some(turn * SECOND / 100));
        }
    }

    #[test]
    fn a_place_that_was_left_is_for_those_who_wait_and_forgotten_with_the_last() {
        let (mut bucket, plan) = with_a_place_that_was_left();
        assert_eq!(wait(&mut bucket, plan, SECOND, 0), None, "even when its time has come");
        assert_eq!(wait(&mut bucket, plan, SECOND, 9 * SECOND), Some(0));
        assert_eq!(wait(&mut bucket, plan, SECOND, 9 * SECOND), Some(2 * SECOND));
        assert!(bucket.log.is_none());
    }
}
