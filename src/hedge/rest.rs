use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;

use crate::base::Alarm;
use crate::base::drain::{self, Drain};

/// What is left of the answer of an attempt that has failed. It is read while another one is waited for.
#[pin_project]
pub(super) struct Rest<B> {
    #[pin]
    drain: Drain<B>,
    #[pin]
    alarm: Alarm,
    until: Instant,
}

impl<B: Body> Rest<B> {
    pub(super) fn of(body: B, now: Instant) -> Self {
        Self { drain: Drain::of(Some(body)), alarm: Alarm::new(), until: now + drain::LONGEST }
    }

    /// Ready once there is nothing to read any more, or it takes too long.
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        this.drain.as_mut().poll(cx);
        if this.drain.is_open() { this.alarm.poll_until(cx, *this.until) } else { Poll::Ready(()) }
    }
}
