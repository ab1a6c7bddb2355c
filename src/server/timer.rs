use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::pace::Act;

/// The one timer of a connection.
///
/// A connection in use is polled several times for each request, and what is due next changes with each of them. So while it
/// is in use, the timer is set to the end of a stretch in which nothing can come due whatever happens, and nobody looks before
/// that. When nothing has happened for such a stretch, it is set to what is due.
#[pin_project]
pub(super) struct Timer {
    #[pin]
    sleep: Option<Sleep>,
    /// Nothing is due before it fires.
    early: bool,
    /// The connection was polled since it was set.
    used: bool,
    /// Whom it wakes.
    waker: Option<Waker>,
    stretch: Duration,
    old_at: Option<Instant>,
}

impl Timer {
    /// Nothing comes due within `stretch` of now, whenever that is, but at `old_at`.
    pub(super) const fn new(stretch: Duration, old_at: Option<Instant>) -> Self {
        Self { sleep: None, early: false, used: false, waker: None, stretch, old_at }
    }

    /// Whether nothing can be due yet, and this task will be woken when something may be.
    pub(super) fn is_early(self: Pin<&mut Self>, cx: &Context<'_>) -> bool {
        let this = self.project();
        let waits = *this.early && this.sleep.as_ref().as_pin_ref().is_some_and(|sleep| !sleep.is_elapsed());
        let early = waits && this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        *this.used |= early;
        early
    }

    /// Waits for what is due. Nothing, if that has to be found out anew.
    pub(super) fn poll_due(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        due: Option<(Instant, Act)>,
    ) -> Poll<Option<Act>> {
        let mut this = self.project();
        let fired = this.sleep.as_ref().as_pin_ref().is_some_and(|sleep| sleep.is_elapsed());
        let now = Instant::now();
        if let Some((at, act)) = due {
            if at <= now {
                return Poll::Ready(Some(act));
            }
        }
        // Only the timer itself has had it polled since it was set: it rests.
        let rests = fired && !std::mem::take(this.used);
        let old_at = this.old_at.filter(|old| *old > now);
        let stretch = now.checked_add(*this.stretch).map(|end| old_at.map_or(end, |old| old.min(end)));
        let due = due.map(|(at, _)| at);
        let set_to = match (due, stretch) {
            (Some(due), Some(stretch)) if due <= stretch => Some((due, true)),
            (_, Some(stretch)) if !rests => Some((stretch, true)),
            (due, _) => due.map(|due| (due, false)),
        };
        let Some((at, early)) = set_to else {
            *this.early = false;
            this.sleep.set(None);
            return Poll::Pending;
        };
        *this.early = early;
        *this.used = false;
        *this.waker = Some(cx.waker().clone());
        this.sleep.set(Some(sleep_until(at)));
        let Some(sleep) = this.sleep.as_mut().as_pin_mut() else { return Poll::Pending };
        ready!(sleep.poll(cx));
        Poll::Ready(None)
    }
}
