//! Looks after what nobody asks for: objects that are idle for too long or too old, those that are kept ready, and pauses after failures.

use std::sync::Weak;

use tokio::time::{Instant, sleep_until};

use super::Manage;
use super::core::Core;

/// It ends with the pool.
pub(super) async fn keep<M: Manage>(core: Weak<Core<M>>) {
    loop {
        let Some(core) = core.upgrade() else { return };
        let now = Instant::now();
        let next = core.change(|state, chores| {
            state.sweep(|entry| entry.over(now), chores);
            state.begin(chores);
            state.next_chore()
        });
        let news = core.news.notified();
        match next {
            Some(at) => tokio::select! {
                () = news => {}
                () = sleep_until(at) => {}
            },
            None => news.await,
        }
    }
}
