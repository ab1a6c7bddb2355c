//! Looks after what nobody asks for: objects that are idle for too long or too old, those that are kept ready, and pauses after failures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use tokio::time::{Instant, timeout_at};

use super::Manage;
use super::core::Core;
use super::state::State;

/// It ends with the pool, or with its runtime.
pub(super) async fn keep<M: Manage>(keeper: Keeper<M>) {
    loop {
        let Some(core) = keeper.core.upgrade() else { return };
        let now = Instant::now();
        let look = || {
            core.change(|state, chores| {
                state.sweep(|entry| entry.over(now), chores);
                state.begin(chores);
                state.next_chore()
            })
        };
        // What panics is somebody else's code, such as the end of an object: that one is gone, and the others are still looked after.
        let Ok(next) = catch_unwind(AssertUnwindSafe(look)) else { continue };
        let news = core.news.notified();
        match next {
            // Whichever is first.
            Some(at) => drop(timeout_at(at, news).await),
            None => news.await,
        }
    }
}

/// While it is there, somebody looks at the clock: from before its task is spawned, since a runtime that ends may never poll it.
pub(super) struct Keeper<M: Manage> {
    core: Weak<Core<M>>,
}

impl<M: Manage> Keeper<M> {
    pub(super) fn new(core: &Arc<Core<M>>) -> Self {
        core.state().is_kept = true;
        Self { core: Arc::downgrade(core) }
    }
}

impl<M: Manage> Drop for Keeper<M> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.change(State::not_kept);
        }
    }
}
