use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::PoolStats;
use super::check::TELLING;
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
    /// What those are told that are asked whether they are still good, when a caller has waited for that for long enough. They are numbered
    /// in the order in which they were begun.
    checks: BTreeMap<u64, (Instant, Arc<Notify>)>,
    /// Checks in a row that failed.
    failed_checks: u32,
    pub(super) last_failure: Option<Arc<Error>>,
    pub(super) counts: Counts,
    /// When somebody will look whether those that lie idle have come to their end, or a pause has.
    pub(super) looked_at: Option<Instant>,
    /// Whether there is anybody who looks.
    pub(super) is_kept: bool,
}

/// What a caller gets who waited.
pub(super) enum Handed<O> {
    Object(Entry<O>),
    Failed(Arc<Error>),
    Closed,
}

/// One that lay idle, and is asked whether it is still good.
pub(super) struct Check<O> {
    pub(super) entry: Entry<O>,
    /// Nothing, as long as it is asked by whoever is to have it, who has not begun to wait.
    pub(super) hope: Option<Hope>,
}

/// Those who wait count on it.
pub(super) struct Hope {
    pub(super) number: u64,
    /// A caller has waited for long enough.
    pub(super) impatience: Arc<Notify>,
}

/// What is to be done once the lock is free: foreign code runs then.
#[must_use = "it has to be done when the lock is free"]
pub(super) struct Chores<O> {
    /// To be dropped, and why.
    pub(super) doomed: Vec<(Entry<O>, PoolClose)>,
    pub(super) wake: Vec<Waker>,
    /// How many connections to begin; their places are taken.
    pub(super) dials: usize,
    pub(super) checks: Vec<Check<O>>,
    /// Whether the one who looks at the clock has to.
    pub(super) look: bool,
}

impl<O> Default for Chores<O> {
    fn default() -> Self {
        Self { doomed: Vec::new(), wake: Vec::new(), dials: 0, checks: Vec::new(), look: false }
    }
}

impl<O> Chores<O> {
    #[inline]
    pub(super) fn any(&self) -> bool {
        let nothing = self.wake.is_empty() && self.doomed.is_empty() && self.checks.is_empty();
        self.look || self.dials > 0 || !nothing
    }
}

impl<O> State<O> {
    pub(super) fn new(max: usize, min_idle: usize) -> Self {
        Self {
            slots: Slots::new(max, min_idle),
            idle: VecDeque::new(),
            waiters: Waiters::new(),
            handed: BTreeMap::new(),
            checks: BTreeMap::new(),
            failed_checks: 0,
            last_failure: None,
            counts: Counts::default(),
            looked_at: None,
            is_kept: false,
        }
    }

    /// The one that was used last, if nobody came earlier and it is fresh. Those that are too old or were idle for too long are doomed.
    #[inline]
    pub(super) fn pop(
        &mut self,
        now: Instant,
        is_fresh: impl Fn(&Entry<O>) -> bool,
        chores: &mut Chores<O>,
    ) -> Option<Entry<O>> {
        while let Some(entry) = self.idle.pop_back() {
            let over = entry.over(now);
            if over.is_none() && !is_fresh(&entry) {
                self.idle.push_back(entry);
                return None;
            }
            self.slots.idle -= 1;
            let Some(why) = over else {
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

    /// Ask as many of those that lie idle, and begin as many connections, as are needed now.
    pub(super) fn begin(&mut self, chores: &mut Chores<O>) {
        while self.slots.is_short_of(self.waiters.len()) {
            let Some(entry) = self.idle.pop_back() else { break };
            self.slots.idle -= 1;
            match entry.over(Instant::now()) {
                Some(why) => self.doom(entry, why, chores),
                None => self.ask(entry, chores),
            }
        }
        chores.dials += self.slots.begin(self.waiters.len(), Instant::now);
        if let Some(at) = self.slots.next_dial(self.waiters.len()) {
            self.look_at(at, chores);
        }
    }

    /// One that is not fresh, for whoever has just come and is the first, to ask it here and now.
    pub(super) fn pop_to_ask(&mut self, chores: &mut Chores<O>) -> Option<Check<O>> {
        if !self.slots.is_short_of(1) {
            return None;
        }
        let entry = self.idle.pop_back()?;
        self.slots.idle -= 1;
        // As many are kept ready as are to be.
        self.begin(chores);
        Some(Check { entry, hope: None })
    }

    /// It has said at once that it is still good, and is for whoever has asked it.
    pub(super) fn passed_at_once(&mut self, entry: Entry<O>, chores: &mut Chores<O>) -> Option<Entry<O>> {
        self.failed_checks = 0;
        if self.slots.closed {
            self.doom(entry, PoolClose::Closed, chores);
            return None;
        }
        self.counts.handed_out += 1;
        Some(entry)
    }

    /// Have one that lay idle asked whether it is still good, for whoever has waited longest then.
    fn ask(&mut self, entry: Entry<O>, chores: &mut Chores<O>) {
        let hope = Some(self.hope());
        chores.checks.push(Check { entry, hope });
    }

    /// An answer is waited for.
    pub(super) fn hope(&mut self) -> Hope {
        let (number, impatience) = (self.waiters.number(), Arc::new(Notify::new()));
        self.checks.insert(number, (Instant::now(), Arc::clone(&impatience)));
        self.slots.checking = self.checks.len();
        Hope { number, impatience }
    }

    /// Nobody waits for this answer any more, or it is there.
    fn end_hope(&mut self, number: u64) {
        self.checks.remove(&number);
        self.slots.checking = self.checks.len();
    }

    /// A caller has given the oldest check enough of its time: something else is begun in its place, at once or when that has ended.
    pub(super) fn impatient(&mut self, now: Instant, chores: &mut Chores<O>) {
        let Some((number, (began, check))) = self.checks.first_key_value() else { return };
        check.notify_one();
        if now.saturating_duration_since(*began) < TELLING {
            let number = *number;
            self.end_hope(number);
            self.begin(chores);
        }
    }

    /// It is still good.
    pub(super) fn passed(&mut self, hope: &Hope, mut entry: Entry<O>, now: Instant, chores: &mut Chores<O>) {
        self.end_hope(hope.number);
        self.failed_checks = 0;
        (entry.used, entry.is_new) = (now, false);
        self.put(entry, chores);
        self.begin(chores);
    }

    /// It is not good any more. Two in a row that did not answer are a sign that the others, which have lain idle for longer, will not either.
    pub(super) fn not_passed(&mut self, check: Check<O>, why: PoolClose, chores: &mut Chores<O>) {
        if let Some(Hope { number, .. }) = check.hope {
            self.end_hope(number);
        }
        self.doom(check.entry, if self.slots.closed { PoolClose::Closed } else { why }, chores);
        if why == PoolClose::Checked {
            self.failed_checks += 1;
        }
        if self.failed_checks > 1 {
            self.failed_checks = 0;
            self.sweep(|_| Some(PoolClose::Checked), chores);
        }
        self.begin(chores);
    }

    /// Nobody could ask it here and now.
    pub(super) fn not_asked(&mut self, check: Check<O>, chores: &mut Chores<O>) {
        if let Some(Hope { number, .. }) = check.hope {
            self.end_hope(number);
        }
        if self.slots.closed {
            return self.doom(check.entry, PoolClose::Closed, chores);
        }
        self.slots.idle += 1;
        self.idle.push_back(check.entry);
    }

    /// Whoever looked at the clock has gone: each of those who wait looks for another.
    pub(super) fn not_kept(&mut self, chores: &mut Chores<O>) {
        (self.is_kept, self.looked_at) = (false, None);
        chores.wake.extend(self.waiters.wakers().cloned());
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
        assert!(!none().any());
        assert!(Chores { dials: 1, ..none() }.any());
        let new = || Entry::new((), Instant::now(), &PoolSettings::new(), &Rng::seeded(1));
        let check = Check { entry: new(), hope: None };
        assert!(Chores { checks: vec![check], ..none() }.any());
        assert!(Chores { wake: vec![Waker::noop().clone()], ..none() }.any());
        assert!(Chores { doomed: vec![(new(), PoolClose::Idle)], ..none() }.any());
    }
}
