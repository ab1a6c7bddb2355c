use std::sync::PoisonError;
use std::task::Waker;

use super::state::State;
use crate::base::Waiters;
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// What the clones of a limiter share.
pub(super) struct Core {
    /// Whoever says that somebody waits, or that nobody does, holds the lock.
    state: AtomicU64,
    waiters: Mutex<Waiters>,
    /// How many may wait.
    longest: usize,
    // Statistics are no part of the guarantee, so the model checker need not explore them.
    refused: std::sync::atomic::AtomicU64,
}

/// What became of the wish to wait.
pub(super) enum Joined {
    /// There was room after all.
    Entered,
    /// Nobody else may wait.
    Full,
    /// This is one's number.
    Waits(u64),
}

impl Core {
    pub(super) fn new(limit: usize, longest: usize) -> Self {
        Self {
            state: AtomicU64::new(State::new(limit).0),
            waiters: Mutex::new(Waiters::new()),
            longest,
            refused: std::sync::atomic::AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        State(self.state.load(Ordering::Acquire))
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Change the state to what `next` makes of it, if that is anything.
    #[inline]
    fn change(&self, mut next: impl FnMut(State) -> Option<State>) -> Option<State> {
        let mut state = self.state();
        loop {
            let changed = next(state)?;
            let swapped =
                self.state.compare_exchange_weak(state.0, changed.0, Ordering::AcqRel, Ordering::Acquire);
            match swapped {
                Ok(_) => return Some(changed),
                Err(other) => state = State(other),
            }
        }
    }

    #[inline]
    pub(super) fn try_enter(&self) -> bool {
        self.change(State::enter).is_some()
    }

    /// One less in flight, or the next one in its place.
    #[inline]
    pub(super) fn leave(&self) {
        if self.change(|state| (!state.has_waiters()).then(|| state.one_less())).is_none() {
            self.hand_on();
        }
    }

    #[cold]
    fn hand_on(&self) {
        let mut waiters = self.waiters();
        // While the limit is lower than it was, nobody takes the place.
        let fits = self.state().in_flight() <= self.state().limit();
        let next = if fits { waiters.call() } else { None };
        let any = waiters.len() > 0;
        self.change(|state| {
            let state = state.with_waiters(any);
            Some(if next.is_some() { state } else { state.one_less() })
        });
        drop(waiters);
        if let Some((_, next)) = next {
            next.wake();
        }
    }

    /// Wait behind all others, unless there is room, or too many wait. Whoever is `unbounded` cannot be refused.
    pub(super) fn join(&self, waker: &Waker, unbounded: bool) -> Joined {
        let mut waiters = self.waiters();
        if waiters.len() >= self.longest && !unbounded {
            return Joined::Full;
        }
        // Somebody may have left meanwhile, who did not see anybody wait.
        let is_first = waiters.len() == 0;
        let mut has_entered = false;
        self.change(|state| {
            has_entered = is_first && state.has_room();
            Some(if has_entered { state.one_more() } else { state.with_waiters(true) })
        });
        if has_entered { Joined::Entered } else { Joined::Waits(waiters.join(waker)) }
    }

    /// Whether it is one's turn. Then one has entered.
    pub(super) fn is_called(&self, number: u64, waker: &Waker) -> bool {
        // Another waker than before is dropped here, when nobody holds the lock.
        let (stays, _before) = self.waiters().stay(number, waker);
        !stays
    }

    /// Wait no more.
    pub(super) fn give_up(&self, number: u64) {
        let mut waiters = self.waiters();
        let place = waiters.leave(number);
        if place.is_some() {
            let any = waiters.len() > 0;
            self.change(|state| Some(state.with_waiters(any)));
        }
        drop(waiters);
        if place.is_none() {
            // It was called, and never noticed.
            self.leave();
        }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        let mut waiters = self.waiters();
        self.change(|state| Some(state.with_limit(limit)));
        let mut called = Vec::new();
        while waiters.len() > 0 && self.state().has_room() {
            // While somebody waits, nobody else enters; one may leave.
            self.change(|state| Some(state.one_more()));
            called.extend(waiters.call());
        }
        let any = waiters.len() > 0;
        self.change(|state| Some(state.with_waiters(any)));
        drop(waiters);
        called.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters().len()
    }

    #[cold]
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(std::sync::atomic::Ordering::Relaxed)
    }
}
