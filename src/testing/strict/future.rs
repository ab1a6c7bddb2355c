use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::{Breach, Ledger};

/// The answer of a [`Strict`](super::Strict) service, counted as in flight until it answers or is dropped.
///
/// # Panics
///
/// When it is polled again after it has answered.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct StrictFuture<F> {
    #[pin]
    inner: F,
    flight: Flight,
}

impl<F> StrictFuture<F> {
    pub(super) const fn new(inner: F, flight: Flight) -> Self {
        Self { inner, flight }
    }
}

impl<F: Future> Future for StrictFuture<F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.flight.landed {
            this.flight.ledger.broken(Breach::PolledAnswered);
        }
        let answer = ready!(this.inner.poll(cx));
        this.flight.land(true);
        Poll::Ready(answer)
    }
}

/// One call in flight. Settled once: by the answer, or by the drop.
#[derive(Debug)]
pub(super) struct Flight {
    ledger: Ledger,
    landed: bool,
}

impl Flight {
    pub(super) fn start(ledger: Ledger) -> Self {
        ledger.started();
        Self { ledger, landed: false }
    }

    fn land(&mut self, answered: bool) {
        if !std::mem::replace(&mut self.landed, true) {
            self.ledger.ended(answered);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.land(false);
    }
}
