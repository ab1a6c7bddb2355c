use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until};

use super::core::Core;

/// How long it stays when nothing lies idle. Between two requests a connection lies idle for a moment, which is not to cost a task each time.
const LULL: Duration = Duration::from_secs(1);

/// The one task of a client, which closes what lies idle for too long. It is there while something lies idle, and a moment longer.
#[derive(Debug, Default)]
pub(super) struct Keeper(Mutex<Option<AbortHandle>>);

impl Keeper {
    /// Something lies idle from now on.
    pub(super) fn watch(&self, core: &Arc<Core>) {
        let mut running = self.running();
        // A runtime that is gone has taken its tasks along.
        if running.as_ref().is_none_or(AbortHandle::is_finished) {
            let begun = tokio::runtime::Handle::try_current().map(|runtime| spawn(&runtime, core));
            *running = begun.ok().map(|task| task.abort_handle());
        }
    }

    pub(super) fn stop(&self) {
        let running = self.running().take();
        if let Some(task) = running {
            task.abort();
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(runtime: &tokio::runtime::Handle, core: &Arc<Core>) -> JoinHandle<()> {
    runtime.spawn(keep(Arc::downgrade(core)))
}

async fn keep(core: Weak<Core>) {
    let mut lull = false;
    loop {
        let Some(strong) = core.upgrade() else { return };
        let now = Instant::now();
        let next = strong.expire(now);
        let was_lull = mem::replace(&mut lull, next.is_none());
        let next = match next {
            // What will lie idle later is due no earlier than this, but for what a server asks to be let go sooner.
            Some(next) => strong.settings.idle_timeout.map_or(next, |idle| next.min(now + idle)),
            None if !was_lull => now + strong.settings.idle_timeout.map_or(LULL, |idle| idle.min(LULL)),
            None => {
                let mut running = strong.keeper.running();
                // Whoever lays something down from now on finds nobody, and begins anew.
                if strong.expire(now).is_none() {
                    *running = None;
                    return;
                }
                now
            }
        };
        drop(strong);
        sleep_until(next).await;
    }
}
