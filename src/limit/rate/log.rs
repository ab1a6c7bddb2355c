//! Decides whether a window has room for one more, exactly: it remembers when each came. Nothing here waits, locks or reads a
//! clock.

use std::collections::VecDeque;

use super::Quota;
use super::holes::Holes;
use super::pace::{Denied, nanos};

/// When so many came that still count, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    taken: VecDeque<Taken>,
    /// How many that are together: a window may have as many entries as it has of its amount, and each call asks.
    sum: u64,
    /// How many are free of all that are together.
    free: u64,
    /// The latest time that anybody came with.
    latest: u64,
    /// Of a pace: places in its queue that were given up.
    pub(super) holes: Holes,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    at: u64,
    count: u32,
    /// How many of them were given up before their time has come: places for whoever comes next.
    free: u32,
}

/// A strict quota in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limit) struct Window {
    pub(super) amount: u32,
    pub(super) length: u64,
}

impl Window {
    pub(super) fn of(quota: &Quota) -> Self {
        Self { amount: quota.amount, length: nanos(quota.per) }
    }
}

impl Log {
    /// The time that counts: whose clock is a little behind that of the one before has not come too early.
    pub(super) fn arrive(&mut self, now: u64) -> u64 {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Takes `cost` at the first instant, from `now` on and at most `patience` later, at which every window that it is in has room
    /// for it; and says when that is. Nobody goes before those who came earlier.
    pub(super) fn take(&mut self, window: Window, now: u64, cost: u32, patience: u64) -> Result<u64, Denied> {
        self.forget(window, now);
        if cost == 0 {
            return Ok(now);
        }
        if cost > window.amount {
            return Err(Denied::Never);
        }
        if let Some(at) = self.take_free(now, cost, patience) {
            return Ok(at);
        }
        let at = self.free_at(window, cost).max(now);
        if at - now > patience {
            return Err(Denied::In(at - now));
        }
        self.sum += u64::from(cost);
        match self.taken.back_mut() {
            Some(last) if last.at == at => last.count += cost,
            _ => self.taken.push_back(Taken { at, count: cost, free: 0 }),
        }
        Ok(at)
    }

    /// The first instant, after all that was taken, that leaves room for `cost`.
    fn free_at(&self, window: Window, cost: u32) -> u64 {
        let mut excess = (self.sum + u64::from(cost)).saturating_sub(u64::from(window.amount));
        let last = self.taken.back().map_or(0, |last| last.at);
        for taken in &self.taken {
            if excess == 0 {
                return last;
            }
            excess = excess.saturating_sub(u64::from(taken.count));
            if excess == 0 {
                return last.max(taken.at.saturating_add(window.length));
            }
        }
        last
    }

    /// The places of those who gave them up, if they can be waited for. What was not taken until its time had come is as if it had
    /// never been there.
    fn take_free(&mut self, now: u64, cost: u32, patience: u64) -> Option<u64> {
        if self.free == 0 {
            return None;
        }
        for taken in self.taken.iter_mut().take_while(|taken| taken.at <= now) {
            taken.count -= taken.free;
            self.sum -= u64::from(taken.free);
            self.free -= u64::from(taken.free);
            taken.free = 0;
        }
        self.taken.retain(|taken| taken.count > 0);
        // Of what lies in the past nothing is free any more.
        let fits = |taken: &&mut Taken| taken.free >= cost && taken.at - now <= patience;
        let taken = self.taken.iter_mut().find(fits)?;
        taken.free -= cost;
        self.free -= u64::from(cost);
        Some(taken.at)
    }

    /// What was taken at this instant was not made use of. Those behind it have been promised their time, so before it has come its
    /// place is only for others.
    pub(super) fn give_back(&mut self, at: u64, cost: u32, now: u64) {
        let Ok(place) = self.taken.binary_search_by_key(&at, |taken| taken.at) else { return };
        let taken = &mut self.taken[place];
        let back = (taken.count - taken.free).min(cost);
        if at > now {
            taken.free += back;
            self.free += u64::from(back);
        } else {
            taken.count -= back;
            self.sum -= u64::from(back);
        }
        // At the end of the queue nobody was promised anything.
        while let Some(last) = self.taken.back().filter(|last| last.free == last.count) {
            self.sum -= u64::from(last.count);
            self.free -= u64::from(last.free);
            self.taken.pop_back();
        }
        self.taken.retain(|taken| taken.count > 0);
    }

    /// How many could be taken at `now`.
    pub(super) fn left(&self, window: Window, now: u64) -> u32 {
        let gone = self.taken.iter().take_while(|taken| !counts(taken, window, now));
        let gone: u64 = gone.map(|taken| u64::from(taken.count)).sum();
        u32::try_from(u64::from(window.amount).saturating_sub(self.sum - gone)).unwrap_or(0)
    }

    /// When nothing counts any more.
    pub(super) fn full_at(&self, window: Window) -> u64 {
        self.taken.back().map_or(0, |last| last.at.saturating_add(window.length))
    }

    fn forget(&mut self, window: Window, now: u64) {
        while let Some(first) = self.taken.front().filter(|first| !counts(first, window, now)) {
            self.sum -= u64::from(first.count);
            self.free -= u64::from(first.free);
            self.taken.pop_front();
        }
    }
}

fn counts(taken: &Taken, window: Window, now: u64) -> bool {
    now < taken.at.saturating_add(window.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { amount: 3, length: 100 };

    #[test]
    fn all_of_it_may_come_at_once_and_the_next_when_the_first_is_as_old_as_the_window() {
        let mut log = Log::default();
        for at in [0, 0, 10] {
            assert_eq!(log.take(WINDOW, at, 1, 0), Ok(at));
        }
        assert_eq!(log.take(WINDOW, 99, 1, 0), Err(Denied::In(1)));
        assert_eq!(log.left(WINDOW, 99), 0);
        assert_eq!(log.left(WINDOW, 100), 2);
        assert_eq!(log.take(WINDOW, 100, 3, 0), Err(Denied::In(10)));
        assert_eq!(log.take(WINDOW, 100, 2, 0), Ok(100));
        assert_eq!(log.take(WINDOW, 0, 4, u64::MAX), Err(Denied::Never));
    }

    #[test]
    fn who_waits_goes_in_turn_and_what_is_given_back_is_there_again() {
        let mut log = Log::default();
        assert_eq!(log.take(WINDOW, 0, 3, 0), Ok(0));
        assert_eq!(log.take(WINDOW, 1, 2, 100), Ok(100));
        assert_eq!(log.take(WINDOW, 2, 2, 100), Err(Denied::In(198)));
        assert_eq!(log.take(WINDOW, 2, 1, 100), Ok(100));
        log.give_back(100, 3, 2);
        assert_eq!(log.take(WINDOW, 3, 1, 100), Ok(100));
        assert_eq!(log.full_at(WINDOW), 200);
    }

    #[test]
    fn a_place_that_was_left_is_only_for_who_can_wait_for_it() {
        let mut log = Log::default();
        assert_eq!(log.take(WINDOW, 0, 3, 0), Ok(0));
        assert_eq!(log.take(WINDOW, 50, 3, 100), Ok(100));
        assert_eq!(log.take(WINDOW, 50, 3, 200), Ok(200));
        log.give_back(100, 3, 50);
        assert_eq!(log.take(WINDOW, 50, 1, 49), Err(Denied::In(250)), "it is fifty away");
        assert_eq!(log.take(WINDOW, 50, 1, 50), Ok(100));
    }

    #[test]
    fn what_no_longer_counts_is_forgotten() {
        let mut log = Log::default();
        for at in 0..10_000 {
            let _ = log.take(WINDOW, at, 1, 0);
            assert!(log.taken.len() <= 3);
        }
    }

    #[test]
    fn what_does_not_count_any_more_is_not_kept() {
        let mut log = Log::default();
        for turn in 0..1_000 {
            log.take(WINDOW, 40 * turn, 1, 0).unwrap();
            assert!(log.taken.len() <= 3 && log.sum <= 3, "{log:?}");
        }
    }

    #[test]
    fn whatever_is_taken_and_given_back_the_sums_are_those_of_what_is_remembered() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut log, mut now, mut all) = (Log::default(), 0, Vec::new());
        for _ in 0..20_000 {
            now += [0, 0, 1, 20, 300][rng.usize(..5)];
            if rng.bool() {
                let cost = rng.u32(1..=3);
                all.extend(log.take(WINDOW, now, cost, rng.u64(..400)).map(|at| (at, cost)));
                assert!(log.taken.iter().all(|taken| taken.at > now || taken.free == 0), "{log:?}");
            } else if !all.is_empty() {
                // Of the latest, and some of them twice.
                let (at, cost) = all[rng.usize(all.len().saturating_sub(8)..all.len())];
                log.give_back(at, cost, now);
            }
            let sum_of = |part: fn(&Taken) -> u32| log.taken.iter().map(|taken| u64::from(part(taken))).sum();
            assert_eq!((log.sum, log.free), (sum_of(|taken| taken.count), sum_of(|taken| taken.free)));
            assert!(log.taken.iter().all(|taken| taken.count > 0 && taken.free <= taken.count), "{log:?}");
            assert!(log.taken.iter().is_sorted_by(|a, b| a.at < b.at), "those that are together: {log:?}");
        }
    }
}
