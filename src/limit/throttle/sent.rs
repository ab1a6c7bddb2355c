use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::decide::was_taken;
use super::handle::Shared;
use super::window::At;
use crate::base::{Delivery, Kind, Outcome};

/// A request that was sent and is counted, from [`AdaptiveThrottle::try_send`](super::AdaptiveThrottle::try_send). It is to be said how
/// it went.
///
/// Dropped without [`settle`](Self::settle), also by a panic, it counts for nothing, as if it had not been sent; but where the
/// [`Deadline`](crate::base::Deadline) has passed that it had, nobody took it.
#[must_use = "dropped at once it counts for nothing"]
pub struct Sent {
    counted: Option<(Arc<Shared>, At)>,
    deadline: Option<Instant>,
}

impl Sent {
    pub(super) const fn new(shared: Arc<Shared>, at: At, deadline: Option<Instant>) -> Self {
        Self { counted: Some((shared, at)), deadline }
    }

    /// One that nobody counts.
    pub(super) const fn uncounted() -> Self {
        Self { counted: None, deadline: None }
    }

    /// Say how it was answered. [`Overload`](Outcome::Overload) was not taken; [`Success`](Outcome::Success) and
    /// [`Failure`](Outcome::Failure) were; [`Neutral`](Outcome::Neutral) counts for nothing.
    pub fn settle(mut self, outcome: Outcome) {
        self.settle_here(outcome, None);
    }

    /// The same where it lies, of an answer or of an error.
    pub(super) fn settle_here(&mut self, outcome: Outcome, error: Option<(Kind, Delivery)>) {
        self.end(was_taken(outcome, error));
    }

    fn end(&mut self, taken: Option<bool>) {
        let Some((shared, at)) = self.counted.take() else { return };
        match taken {
            Some(true) => shared.window.taken(at),
            Some(false) => shared.window.refused(at),
            None => shared.window.taken_back(at),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.counted.is_some() {
            // A limit on time has ended it, and not its caller's whim.
            let ran_out = self.deadline.is_some_and(|at| at <= Instant::now());
            self.end(ran_out.then_some(false));
        }
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("counted", &self.counted.is_some()).finish_non_exhaustive()
    }
}
