use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::core::{Admitted, Core};
use super::window::Result;
use crate::base::{Anchor, Outcome, scope};

/// Leave to make one call, from [`Breaker::try_acquire`](super::Breaker::try_acquire).
///
/// Dropped without [`settle`](Self::settle), also by a panic, it counts for nothing, and if it was a probe, another call may
/// take its place. But where slow calls count, one that was given up after the threshold was slow; and one that was given up
/// when its [`Deadline`](crate::base::Deadline) had passed has failed: a limit on time ended it, and not its caller's whim.
#[must_use = "dropped at once it counts for nothing"]
pub struct Permit {
    place: Option<Place>,
    /// When the call began, as long as it matters whether it is slow.
    since: Option<Instant>,
    /// When it is of no more use to anybody.
    deadline: Option<Instant>,
}

/// Where it is said how a call went.
pub(super) struct Place {
    anchor: Arc<Anchor<Core>>,
    call: Admitted,
}

impl Permit {
    #[inline]
    pub(super) fn new(anchor: &Arc<Anchor<Core>>, admitted: Option<Admitted>) -> Self {
        let Some(call) = admitted else { return Self::uncounted() };
        Self {
            since: anchor.core().settings.slow_call.map(|_| scope::now()),
            deadline: scope::fair_deadline(),
            place: Some(Place { anchor: Arc::clone(anchor), call }),
        }
    }

    /// Leave that nobody counts.
    pub(super) const fn uncounted() -> Self {
        Self { place: None, since: None, deadline: None }
    }

    /// Say how the call went. [`Success`](Outcome::Success) and [`Failure`](Outcome::Failure) count;
    /// [`Overload`](Outcome::Overload) and [`Neutral`](Outcome::Neutral) do not, and let another probe take the place of this
    /// one.
    #[inline]
    pub fn settle(mut self, outcome: Outcome) {
        self.settle_here(outcome, None);
    }

    /// The same where it lies, with the time, if that is known.
    #[inline]
    pub(super) fn settle_here(&mut self, outcome: Outcome, now: Option<Instant>) {
        if let Some(place) = self.place.take() {
            let (slow, now) = place.is_slow(self.since, now);
            place.settle(outcome, slow, now);
        }
    }

    /// The head of the answer has arrived and is good. How the call went is said when its body has ended, at the place that this
    /// returns; and whether it was slow until now.
    pub(super) fn answered(&mut self, now: Option<Instant>) -> Option<(Place, bool)> {
        let place = self.place.take()?;
        let (slow, _) = place.is_slow(self.since, now);
        if place.call.is_probe() {
            place.anchor.core().probe_answered(place.call, slow);
        }
        Some((place, slow))
    }

    /// Nobody waited for the end.
    #[cold]
    fn abandon(&mut self, place: &Place) {
        let (slow, mut now) = place.is_slow(self.since, None);
        let failed = self.deadline.is_some_and(|at| at <= *now.get_or_insert_with(Instant::now));
        place.end((failed || slow).then_some(Result { failed, slow }), now);
    }
}

impl Place {
    #[inline]
    pub(super) fn settle(&self, outcome: Outcome, slow: bool, now: Option<Instant>) {
        let result = match outcome {
            Outcome::Success => Some(Result { failed: false, slow }),
            Outcome::Failure => Some(Result { failed: true, slow }),
            Outcome::Overload | Outcome::Neutral => None,
        };
        self.end(result, now);
    }

    #[inline]
    fn end(&self, result: Option<Result>, now: Option<Instant>) {
        self.anchor.core().ended(self.anchor.lane(), self.call, result, now);
    }

    /// Whether a call that began then is slow by now; and the time, if that was known or needed.
    #[inline]
    fn is_slow(&self, since: Option<Instant>, now: Option<Instant>) -> (bool, Option<Instant>) {
        match (since, self.anchor.core().settings.slow_call) {
            (Some(since), Some(threshold)) => {
                let now = now.unwrap_or_else(Instant::now);
                (now.saturating_duration_since(since) >= threshold, Some(now))
            }
            _ => (false, now),
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.abandon(&place);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("counted", &self.place.is_some())
            .field("probe", &self.place.as_ref().is_some_and(|place| place.call.is_probe()))
            .finish_non_exhaustive()
    }
}
