use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until};

use super::core::Core;

/// The one task of a client, which closes what lies idle for too long. It is there while something lies idle.
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
    loop {
        let Some(strong) = core.upgrade() else { return };
        let now = Instant::now();
        let next = strong.expire(now);
        let next = match next {
            // What will lie idle later is due no earlier than this, but for what a server asks to be let go sooner.
            Some(next) => strong.settings.idle_timeout.map_or(next, |idle| next.min(now + idle)),
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
