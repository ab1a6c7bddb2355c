use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::task::coop::unconstrained;
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
        // A connection whose client floods it uses up the cooperative budget of its task in each poll. Within it, the timer would
        // then not be set at all, and we would rely on it.
        ready!(pin!(unconstrained(sleep)).poll(cx));
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_set_by_a_task_that_does_as_much_as_it_may_in_each_poll() {
        let start = Instant::now();
        let due = Some((start + SECOND, Act::Park));
        let mut timer = pin!(Timer::new(SECOND / 2, None));
        let busy = poll_fn(|cx| {
            while has_budget_remaining() {
                assert!(pin!(consume_budget()).poll(cx).is_ready());
            }
            loop {
                if timer.as_mut().is_early(cx) {
                    return Poll::Pending;
                }
                if let Some(act) = ready!(timer.as_mut().poll_due(cx, due)) {
                    return Poll::Ready(act);
                }
            }
        });
        let act = tokio::time::timeout(60 * SECOND, busy).await;
        assert_eq!((act, start.elapsed()), (Ok(Act::Park), SECOND));
    }
}
