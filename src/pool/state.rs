use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::PoolStats;
use super::entry::Entry;
use super::slots::{Back, Slots};
use super::stats::Counts;
use crate::base::{Error, PoolClose, Waiters};

/// All that a pool's lock is held for.
pub(super) struct State<O> {
    pub(super) slots: Slots,
    /// The one that was used last is at the end, and is used next.
    idle: VecDeque<Entry<O>>,
    pub(super) waiters: Waiters,
    /// What those who were called have not taken yet, by their numbers.
    handed: BTreeMap<u64, Handed<O>>,
    pub(super) last_failure: Option<Arc<Error>>,
    pub(super) counts: Counts,
    /// When somebody will look whether those that lie idle have come to their end, or a pause has.
    pub(super) looked_at: Option<Instant>,
}

/// What a caller gets who waited.
pub(super) enum Handed<O> {
    Object(Entry<O>),
    Failed(Arc<Error>),
    Closed,
}

/// What is to be done once the lock is free: foreign code runs then.
#[must_use = "it has to be done when the lock is free"]
pub(super) struct Chores<O> {
    /// To be dropped, and why.
    pub(super) doomed: Vec<(Entry<O>, PoolClose)>,
    pub(super) wake: Vec<Waker>,
    /// How many connections to begin; their places are taken.
    pub(super) dials: usize,
    /// Whether the one who looks at the clock has to.
    pub(super) look: bool,
}

impl<O> Default for Chores<O> {
    fn default() -> Self {
        Self { doomed: Vec::new(), wake: Vec::new(), dials: 0, look: false }
    }
}

impl<O> Chores<O> {
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.look || self.dials > 0 || !self.wake.is_empty() || !self.doomed.is_empty()
    }
}

impl<O> State<O> {
    pub(super) fn new(max: usize, min_idle: usize) -> Self {
        Self {
            slots: Slots::new(max, min_idle),
            idle: VecDeque::new(),
            waiters: Waiters::new(),
            handed: BTreeMap::new(),
            last_failure: None,
            counts: Counts::default(),
            looked_at: None,
        }
    }

    /// The one that was used last, if nobody came earlier. Those that are too old or were idle for too long are doomed.
    #[inline]
    pub(super) fn pop(&mut self, now: Instant, chores: &mut Chores<O>) -> Option<Entry<O>> {
        while let Some(entry) = self.idle.pop_back() {
            self.slots.idle -= 1;
            let Some(why) = entry.over(now) else {
                self.counts.handed_out += 1;
                if self.slots.idle < self.slots.min_idle {
                    self.begin(chores);
                }
                return Some(entry);
            };
            self.doom(entry, why, chores);
        }
        None
    }

    /// It belongs to nobody any more, and its place is free once it is gone.
    pub(super) fn doom(&mut self, entry: Entry<O>, why: PoolClose, chores: &mut Chores<O>) {
        self.slots.doom();
        self.counts.close(why);
        chores.doomed.push((entry, why));
    }

    /// An object that nobody uses any more: for whoever has waited longest, or to lie idle.
    #[inline]
    pub(super) fn put(&mut self, entry: Entry<O>, chores: &mut Chores<O>) {
        match self.slots.back() {
            Back::Keep => match self.waiters.call() {
                Some((number, waker)) => {
                    self.counts.handed_out += 1;
                    self.handed.insert(number, Handed::Object(entry));
                    chores.wake.push(waker);
                }
                None => {
                    if let Some(ends) = entry.ends {
                        self.look_at(ends, chores);
                    }
                    self.slots.idle += 1;
                    self.idle.push_back(entry);
                }
            },
            Back::Surplus => self.doom(entry, PoolClose::Surplus, chores),
            Back::Closed => self.doom(entry, PoolClose::Closed, chores),
        }
    }

    /// What this caller was handed, if it was called.
    pub(super) fn take_handed(&mut self, number: u64) -> Option<Handed<O>> {
        self.handed.remove(&number)
    }

    /// When the one that is next was last used.
    pub(super) fn next_used(&self) -> Option<Instant> {
        self.idle.back().map(|entry| entry.used)
    }

    /// Tell all who wait.
    pub(super) fn tell_all(&mut self, what: impl Fn() -> Handed<O>, chores: &mut Chores<O>) {
        while let Some((number, waker)) = self.waiters.call() {
            self.handed.insert(number, what());
            chores.wake.push(waker);
        }
    }

    /// Doom all that lie idle for which there is a reason.
    pub(super) fn sweep(&mut self, why: impl Fn(&Entry<O>) -> Option<PoolClose>, chores: &mut Chores<O>) {
        for _ in 0..self.idle.len() {
            // All are taken out and put back in the same order.
            let Some(entry) = self.idle.pop_front() else { return };
            match why(&entry) {
                Some(why) => {
                    self.slots.idle -= 1;
                    self.doom(entry, why, chores);
                }
                None => self.idle.push_back(entry),
            }
        }
    }

    /// Doom so many of those that lie idle, the ones that were not used for longest first.
    pub(super) fn shrink(&mut self, chores: &mut Chores<O>) {
        while self.slots.open > self.slots.max {
            let Some(entry) = self.idle.pop_front() else { return };
            self.slots.idle -= 1;
            self.doom(entry, PoolClose::Surplus, chores);
        }
    }

    /// Begin as many connections as are needed now.
    pub(super) fn begin(&mut self, chores: &mut Chores<O>) {
        chores.dials += self.slots.begin(self.waiters.len(), Instant::now);
        if let Some(at) = self.slots.next_dial(self.waiters.len()) {
            self.look_at(at, chores);
        }
    }

    /// Have the one who looks at the clock do so at this instant, unless it does so earlier.
    #[inline]
    fn look_at(&mut self, at: Instant, chores: &mut Chores<O>) {
        if self.looked_at.is_none_or(|known| at < known) {
            self.looked_at = Some(at);
            chores.look = true;
        }
    }

    /// When something has to be done, if nothing happens until then; whoever asks does it.
    pub(super) fn next_chore(&mut self) -> Option<Instant> {
        let ends = self.idle.iter().filter_map(|entry| entry.ends).min();
        let dial = self.slots.next_dial(self.waiters.len());
        self.looked_at = [ends, dial].into_iter().flatten().min();
        self.looked_at
    }

    pub(super) fn stats(&self) -> PoolStats {
        PoolStats {
            idle: self.slots.idle,
            in_use: self.slots.in_use(),
            connecting: self.slots.dialing,
            waiting: self.waiters.len(),
            max: self.slots.max,
            counts: self.counts.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Rng;
    use crate::pool::PoolSettings;

    #[test]
    fn whoever_looks_at_the_clock_hears_only_of_what_comes_earlier() {
        let (mut state, now) = (State::<()>::new(1, 0), Instant::now());
        for (second, hears) in [(10, true), (10, false), (5, true), (7, false), (4, true)] {
            let mut chores = Chores::default();
            state.look_at(now + Duration::from_secs(second), &mut chores);
            assert_eq!((chores.look, chores.any()), (hears, hears), "{second}");
        }
        assert_eq!(state.looked_at, Some(now + Duration::from_secs(4)));
    }

    #[test]
    fn anything_to_be_done_is_something_to_be_done() {
        let none = Chores::<()>::default;
        let old = Entry::new((), Instant::now(), &PoolSettings::new(), &Rng::seeded(1));
        assert!(!none().any());
        assert!(Chores { dials: 1, ..none() }.any());
        assert!(Chores { wake: vec![Waker::noop().clone()], ..none() }.any());
        assert!(Chores { doomed: vec![(old, PoolClose::Idle)], ..none() }.any());
    }
}
