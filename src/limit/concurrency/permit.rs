use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::core::Core;
use crate::base::body::{BodyEnd, Guard};
use crate::base::scope;
use crate::limit::adaptive::Ending;
use crate::limit::gate::{Pass, Seen};

/// Leave to be in flight, from [`ConcurrencyLimiter::try_acquire`](super::ConcurrencyLimiter::try_acquire). It ends when this is
/// dropped, on any thread, also by a panic; whoever has waited longest is next.
///
/// An [adaptive](crate::limit::AdaptiveSettings) limit wants to know how it went. The layer tells it; whoever takes permits by hand does so
/// by [`answered`](Self::answered) or [`timed_out`](Self::timed_out). A permit that is dropped without a word was given up.
#[must_use = "dropped at once it allows nothing"]
pub struct Permit {
    core: Arc<Core>,
    /// Where somebody wants to know how long it takes.
    began: Option<Began>,
}

#[derive(Clone, Copy)]
struct Began {
    at: Instant,
    /// How many were in flight then, this one included.
    in_flight: usize,
}

impl Permit {
    /// `is_timed`, if somebody wants to know how long it takes.
    #[inline]
    pub(super) fn entered(core: Arc<Core>, is_timed: bool) -> Self {
        let mut permit = Self { core, began: None };
        if is_timed || permit.core.is_adaptive() {
            permit.begin();
        }
        permit
    }

    /// Without a call yet, whose time is counted from [`begin`](Self::begin) on.
    pub(super) const fn reserved(core: Arc<Core>) -> Self {
        Self { core, began: None }
    }

    /// Of one that was reserved: its call begins now.
    pub(super) fn redeem(mut self) -> Self {
        if self.core.is_adaptive() {
            self.begin();
        }
        self
    }

    fn begin(&mut self) {
        self.began = Some(Began { at: scope::now(), in_flight: self.core.state().in_flight() });
    }

    /// The work was done, as far as the service is concerned: what the permit is kept for may go on. This tells an adaptive limit how long
    /// it took, and is nothing for a fixed one.
    ///
    /// ```
    /// use stonework::limit::{AdaptiveSettings, ConcurrencyLimiter};
    ///
    /// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
    /// let limiter = ConcurrencyLimiter::new(AdaptiveSettings::new())?;
    /// if let Some(mut permit) = limiter.try_acquire() {
    ///     // … the work …
    ///     permit.answered();
    ///     // … whatever else belongs to it.
    /// }
    /// # Ok(()) }
    /// ```
    pub fn answered(&mut self) {
        self.end(Ending::Answered);
    }

    /// It was not done in time, or was refused because there is too much to do: an adaptive limit falls, if that happens often. See
    /// [`answered`](Self::answered).
    pub fn timed_out(&mut self) {
        self.end(|_| Ending::TooLate);
    }

    fn end(&mut self, ending: impl FnOnce(std::time::Duration) -> Ending) {
        if let Some(Began { at, in_flight }) = self.began.take() {
            let now = Instant::now();
            scope::note_end(now);
            self.core.ended(now, ending(now.saturating_duration_since(at)), in_flight);
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.began.is_some() {
            self.end(Ending::GivenUp);
        }
        self.core.leave();
    }
}

/// Kept until the body has ended.
impl Guard for Permit {
    fn settle(self, _: BodyEnd) {}
}

impl Pass for Option<Permit> {
    const WATCHES: bool = true;

    fn saw(&mut self, seen: Seen) {
        let Some(permit) = self else { return };
        match seen {
            Seen::Answer => permit.answered(),
            // It is the caller who gave so little time.
            Seen::TooLate if scope::was_hasty() => permit.end(Ending::GivenUp),
            Seen::TooLate => permit.timed_out(),
            Seen::Nothing => permit.began = None,
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
