//! Looks after an endpoint that is not ready, until it is: by the clock, and not by calls.

use std::sync::{Arc, Weak};

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::core::{Check, Core};
use super::endpoint::Endpoint;
use super::life::{Chore, Life};

/// It ends when the endpoint is ready or gone, and with the balancer or its runtime.
pub(super) async fn drive<S: Clone + Send + Sync + 'static>(core: Weak<Core<S>>, endpoint: Arc<Endpoint<S>>) {
    loop {
        let Some(chore) = core.upgrade().and_then(|core| next(&core, &endpoint)) else { return };
        match chore {
            Todo::Wait(until) => drop(timeout_at(until, endpoint.news.notified()).await),
            Todo::Check(check, epoch) => {
                let checked = Arc::clone(&endpoint);
                let check = async move { check(checked.service.clone()).await };
                let Some(limit) = core.upgrade().map(|core| core.settings.check_timeout) else { return };
                // In a task of its own: what panics there has not reached the endpoint, and this goes on.
                let mut task = JoinSet::new();
                task.spawn(timeout(limit, check));
                let reached = matches!(task.join_next().await, Some(Ok(Ok(Ok(())))));
                let Some(core) = core.upgrade() else { return };
                let now = Instant::now();
                if reached {
                    core.connected(&endpoint, now);
                } else {
                    core.connect_failed(&endpoint, epoch, now);
                }
            }
        }
    }
}

enum Todo<S> {
    Wait(Instant),
    Check(Check<S>, u64),
}

/// What is to be done now; nothing, if somebody else begins this anew when there is something.
fn next<S: Clone + Send + Sync + 'static>(core: &Arc<Core<S>>, endpoint: &Endpoint<S>) -> Option<Todo<S>> {
    let now = Instant::now();
    core.live(endpoint, |life: &mut Life| life.look(now));
    let (chore, epoch) = core.look(|fleet| {
        let (entry, _) = fleet.entry(endpoint)?;
        let chore = entry.life.chore();
        if chore == Chore::Rest {
            entry.driver = None;
        }
        Some((chore, entry.life.epoch()))
    })?;
    match chore {
        Chore::Rest => None,
        Chore::Wait(until) => Some(Todo::Wait(until)),
        Chore::Check => Some(Todo::Check(Arc::clone(core.check.as_ref()?), epoch)),
    }
}
