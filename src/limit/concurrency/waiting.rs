use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Permit;
use super::core::{Core, Joined};

/// A place in the queue, given up when this is dropped.
pub(in crate::limit) struct Waiting {
    core: Arc<Core>,
    /// Zero until it has joined the queue, and when it is through.
    number: u64,
    /// It is for a call that has not come yet, and cannot be refused.
    reserves: bool,
}

/// Too many wait already.
#[derive(Debug)]
pub(in crate::limit) struct QueueIsFull;

impl Waiting {
    pub(super) const fn new(core: Arc<Core>, reserves: bool) -> Self {
        Self { core, number: 0, reserves }
    }

    pub(in crate::limit) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Permit, QueueIsFull>> {
        if self.number == 0 {
            match self.core.join(cx.waker(), self.reserves) {
                Joined::Entered => {}
                Joined::Full => return Poll::Ready(Err(QueueIsFull)),
                Joined::Waits(number) => {
                    self.number = number;
                    return Poll::Pending;
                }
            }
        } else if !self.core.is_called(self.number, cx.waker()) {
            return Poll::Pending;
        }
        self.number = 0;
        let core = Arc::clone(&self.core);
        Poll::Ready(Ok(if self.reserves { Permit::reserved(core) } else { Permit::entered(core, false) }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.number != 0 {
            self.core.give_up(self.number);
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("number", &self.number).finish_non_exhaustive()
    }
}
