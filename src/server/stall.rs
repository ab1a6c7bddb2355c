use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

thread_local! {
    /// Whether the answer that was polled last, if one was, has given a piece of its body, rather than wait for more of it.
    static OFFERED: Cell<Option<bool>> = const { Cell::new(None) };
}

/// An answer was asked for a piece of its body, and gave one or did not.
pub(super) fn offered(piece: bool) {
    OFFERED.set(Some(piece));
}

/// A stream of HTTP/2, handler and answer, which ends if its client takes nothing of the answer for too long.
///
/// The window of a stream can be shut while its connection is in the best of health, and then nobody polls the answer: only
/// the task of the stream can tell, and does so here.
#[pin_project]
pub(super) struct Watched<F> {
    #[pin]
    work: F,
    limit: Duration,
    /// Since when there is something that the client did not take.
    offered: Option<Instant>,
    // Few streams ever wait for their client.
    #[pin]
    timer: Option<Sleep>,
}

impl<F> Watched<F> {
    pub(super) const fn new(work: F, limit: Duration) -> Self {
        Self { work, limit, offered: None, timer: None }
    }
}

impl<F: Future> Future for Watched<F> {
    /// Nothing, if it took too long.
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        OFFERED.set(None);
        let result = this.work.poll(cx);
        if let Poll::Ready(output) = result {
            return Poll::Ready(Some(output));
        }
        match OFFERED.take() {
            Some(true) => *this.offered = Some(Instant::now()),
            Some(false) => *this.offered = None,
            // Nobody asked it, since what it gave before was not taken.
            None => {}
        }
        let Some(at) = this.offered.and_then(|at| at.checked_add(*this.limit)) else { return Poll::Pending };
        // A timer that is early finds out when it fires.
        loop {
            match this.timer.as_mut().as_pin_mut() {
                None => this.timer.set(Some(sleep_until(at))),
                // A handler that uses up the cooperative budget of its task in each poll has to be late as well.
                Some(mut timer) => match pin!(unconstrained(timer.as_mut())).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) if timer.deadline() >= at => return Poll::Ready(None),
                    Poll::Ready(()) => timer.reset(at),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_what_it_offers_is_not_taken() {
        let start = Instant::now();
        let stuck = async {
            offered(true);
            pending::<()>().await;
        };
        assert_eq!(Watched::new(stuck, SECOND).await, None);
        assert_eq!(start.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_think_as_long_as_it_likes_and_is_taken_piece_by_piece() {
        let start = Instant::now();
        let slow = async {
            for _ in 0..10 {
                offered(true);
                tokio::time::sleep(SECOND * 3 / 4).await;
                offered(false);
                tokio::time::sleep(10 * SECOND).await;
            }
        };
        assert_eq!(Watched::new(slow, SECOND).await, Some(()));
        assert_eq!(start.elapsed(), 10 * SECOND * 43 / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_does_as_much_as_it_may_in_each_poll_ends_as_well() {
        let start = Instant::now();
        let mut has_offered = false;
        let busy = poll_fn(|cx| {
            while has_budget_remaining() {
                assert!(pin!(consume_budget()).poll(cx).is_ready());
            }
            if !std::mem::replace(&mut has_offered, true) {
                offered(true);
            }
            Poll::<()>::Pending
        });
        let ended = tokio::time::timeout(60 * SECOND, Watched::new(busy, SECOND)).await;
        assert_eq!((ended, start.elapsed()), (Ok(None), SECOND));
    }

    #[tokio::test]
    async fn what_one_stream_offers_is_of_no_account_to_another() {
        let mut one = Box::pin(Watched::new(
            async {
                offered(true);
                pending::<()>().await;
            },
            SECOND,
        ));
        let mut two = Box::pin(Watched::new(pending::<()>(), SECOND));
        poll_fn(|cx| {
            assert!(one.as_mut().poll(cx).is_pending() && two.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(one.offered.is_some() && two.offered.is_none());
    }
}
