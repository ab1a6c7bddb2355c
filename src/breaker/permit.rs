use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::core::Admitted;
use super::handle::Anchor;
use super::window::Result;
use crate::base::{Outcome, scope};

/// Leave to make one call, from [`Breaker::try_acquire`](super::Breaker::try_acquire).
///
/// Dropped without [`settle`](Self::settle), also by a panic, it counts for nothing, and if it was a probe, another call may
/// take its place. But where slow calls count, one that was given up after the threshold was slow; and one that was given up
/// when its [`Deadline`](crate::base::Deadline) had passed has failed: a limit on time ended it, and not its caller's whim.
#[must_use = "dropped at once it counts for nothing"]
pub struct Permit {
    ticket: Option<Ticket>,
}

struct Ticket {
    anchor: Arc<Anchor>,
    call: Admitted,
    /// When the call began, as long as it matters whether it is slow.
    since: Option<Instant>,
    /// When it was of no more use to anybody.
    deadline: Option<Instant>,
    slow: bool,
}

impl Permit {
    #[inline]
    pub(super) fn new(anchor: &Arc<Anchor>, admitted: Option<Admitted>) -> Self {
        let ticket = admitted.map(|call| Ticket {
            since: anchor.core().settings.slow_call.map(|_| scope::now()),
            deadline: scope::current().deadline,
            anchor: Arc::clone(anchor),
            call,
            slow: false,
        });
        Self { ticket }
    }

    /// Leave that nobody counts.
    pub(super) const fn uncounted() -> Self {
        Self { ticket: None }
    }

    /// Say how the call went. [`Success`](Outcome::Success) and [`Failure`](Outcome::Failure) count;
    /// [`Overload`](Outcome::Overload) and [`Neutral`](Outcome::Neutral) do not, and let another probe take the place of this
    /// one.
    #[inline]
    pub fn settle(mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            ticket.settle(outcome);
        }
    }

    /// The head of the answer has arrived and is good; how the call went is said when its body has ended.
    #[inline]
    pub(super) fn answered(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            let _ = ticket.look_at_the_clock();
            let Admitted { generation, probe } = ticket.call;
            if probe != 0 {
                ticket.anchor.core().change(Instant::now(), |gate, _| {
                    gate.circuit.probe_answered(generation, probe);
                });
            }
        }
    }
}

impl Ticket {
    #[inline]
    fn settle(mut self, outcome: Outcome) {
        let now = self.look_at_the_clock();
        let result = match outcome {
            Outcome::Success => Some(Result { failed: false, slow: self.slow }),
            Outcome::Failure => Some(Result { failed: true, slow: self.slow }),
            Outcome::Overload | Outcome::Neutral => None,
        };
        self.anchor.core().ended(self.anchor.lane(), self.call, result, now);
    }

    /// Nobody waited for the end.
    #[cold]
    fn abandon(mut self) {
        let mut now = self.look_at_the_clock();
        let failed = self.deadline.is_some_and(|at| at <= *now.get_or_insert_with(Instant::now));
        let result = (failed || self.slow).then_some(Result { failed, slow: self.slow });
        self.anchor.core().ended(self.anchor.lane(), self.call, result, now);
    }

    /// Find out whether it is slow, if nobody has yet. The time, if that needed it.
    #[inline]
    fn look_at_the_clock(&mut self) -> Option<Instant> {
        let (since, threshold) = (self.since.take()?, self.anchor.core().settings.slow_call?);
        let now = Instant::now();
        self.slow = now.saturating_duration_since(since) >= threshold;
        Some(now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.abandon();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticket = self.ticket.as_ref();
        f.debug_struct("Permit")
            .field("counted", &ticket.is_some())
            .field("probe", &ticket.is_some_and(|ticket| ticket.call.probe != 0))
            .finish_non_exhaustive()
    }
}
