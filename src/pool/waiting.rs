use std::sync::Arc;
use std::task::{Context, Poll};

use super::Manage;
use super::core::Core;
use super::state::Handed;

/// A place in the queue, given up when this is dropped. What was handed to it by then goes to the next.
pub(super) struct Waiting<'a, M: Manage> {
    core: &'a Arc<Core<M>>,
    /// Its place in the order of arrival.
    pub(super) number: u64,
    over: bool,
}

impl<'a, M: Manage> Waiting<'a, M> {
    pub(super) const fn new(core: &'a Arc<Core<M>>, number: u64) -> Self {
        Self { core, number, over: false }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Handed<M::Object>> {
        let mut state = self.core.state();
        if let Some(handed) = state.take_handed(self.number) {
            self.over = true;
            return Poll::Ready(handed);
        }
        let (_, before) = state.waiters.stay(self.number, cx.waker());
        let is_kept = state.is_kept;
        drop(state);
        // A task may go with it.
        drop(before);
        if !is_kept {
            // Where whatever has to be done for it was done is no more.
            self.core.keep();
        }
        Poll::Pending
    }
}

impl<M: Manage> Drop for Waiting<'_, M> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let number = self.number;
        let waker = self.core.change(|state, chores| {
            let waker = state.waiters.leave(number);
            if waker.is_none() {
                if let Some(Handed::Object(entry)) = state.take_handed(number) {
                    state.counts.handed_out -= 1;
                    state.put(entry, chores);
                }
            }
            waker
        });
        // A task may go with it.
        drop(waker);
    }
}
