//! Whoever comes: what it is handed at once, what is asked for it, and where it waits.

use std::sync::Arc;

use tokio::time::Instant;

use super::check::{self, Begun, Checking};
use super::core::{Core, Lost};
use super::entry::Entry;
use super::state::{Check, State};
use super::waiting::Waiting;
use super::{Manage, PoolClosed};
use crate::base::{Error, NOBODY};

/// What a caller gets at once.
pub(super) enum Asked<'a, M: Manage> {
    Object(Lost<'a, M>),
    Waits(Waiting<'a, M>),
    /// What lies idle has to be asked first, for which there is no time.
    TooLate,
}

/// What somebody finds who has just come.
enum Next<'a, M: Manage> {
    Has(Asked<'a, M>),
    /// One that is to be asked here and now.
    Asks(Check<M::Object>),
    /// A place in the queue, and what is to be asked for those who wait.
    Waits(Waiting<'a, M>, Vec<Check<M::Object>>),
}

/// What has become of one that was asked here and now.
enum Here<O> {
    Passed(Entry<O>),
    Ended,
    /// It has said nothing yet, or there was nobody to ask it.
    Later,
}

impl<M: Manage> Core<M> {
    /// An object, or a wait for one, and the caller's place in the order of arrival. Who came here before, and got one that could not be
    /// used, has a place.
    pub(super) fn ask(
        self: &Arc<Self>,
        now: Instant,
        mut place: Option<u64>,
        is_late: impl Fn() -> bool,
    ) -> Result<(Asked<'_, M>, u64), Error> {
        let mut can_ask = true;
        loop {
            let (next, number) = self.look_for_one(now, place, can_ask, &is_late)?;
            match next {
                Next::Has(asked) => return Ok((asked, number)),
                Next::Waits(waiting, checks) => {
                    for check in checks {
                        self.check_here(check, now);
                    }
                    return Ok((Asked::Waits(waiting), number));
                }
                Next::Asks(check) => match self.check_here(check, now) {
                    Here::Passed(entry) => {
                        let passed = self.change(|state, chores| state.passed_at_once(entry, chores));
                        if let Some(entry) = passed {
                            return Ok((Asked::Object(Lost::new(self, entry)), number));
                        }
                    }
                    Here::Ended => {}
                    Here::Later => can_ask = false,
                },
            }
            // Whoever came first still is.
            place = Some(number);
        }
    }

    /// What there is to be had, under the lock.
    fn look_for_one(
        self: &Arc<Self>,
        now: Instant,
        place: Option<u64>,
        can_ask: bool,
        is_late: impl Fn() -> bool,
    ) -> Result<(Next<'_, M>, u64), Error> {
        let is_fresh = |entry: &Entry<M::Object>| entry.is_fresh(now, self.settings.check_after);
        self.change(|state, chores| {
            if state.slots.closed {
                return Err(PoolClosed.into());
            }
            let number = |state: &mut State<M::Object>| place.unwrap_or_else(|| state.waiters.number());
            let is_first = state.waiters.len() == 0;
            if is_first && let Some(entry) = state.pop(now, is_fresh, chores) {
                return Ok((Next::Has(Asked::Object(Lost::new(self, entry))), number(state)));
            }
            if state.slots.idle > 0 && is_late() {
                return Ok((Next::Has(Asked::TooLate), 0));
            }
            if is_first
                && can_ask
                && let Some(check) = state.pop_to_ask(chores)
            {
                return Ok((Next::Asks(check), number(state)));
            }
            let without_a_place = state.slots.without_a_place(state.waiters.len() + 1);
            if place.is_none() && without_a_place > self.settings.max_waiting {
                state.counts.refused += 1;
                return Err(self.exhausted(state).into_error(None));
            }
            let number = number(state);
            state.waiters.wait(number, NOBODY);
            state.begin(chores);
            Ok((Next::Waits(Waiting::new(self, number), std::mem::take(&mut chores.checks)), number))
        })
    }

    /// Ask one that lay idle, for whoever has just come: what is known at once is known before there is a task.
    fn check_here(self: &Arc<Self>, check: Check<M::Object>, now: Instant) -> Here<M::Object> {
        let checking = Checking::new(Arc::clone(self), check, now);
        let Some(runtime) = self.runtime() else {
            checking.give_up();
            return Here::Later;
        };
        let place = self.tasks().place.take().unwrap_or_else(check::place);
        match check::begin(&runtime, place, checking) {
            Begun::Over(passed, place) => {
                self.tasks().place = place;
                passed.map_or(Here::Ended, Here::Passed)
            }
            Begun::Goes(rest) => {
                let task = runtime.spawn(rest).abort_handle();
                self.remember(task);
                Here::Later
            }
        }
    }
}
