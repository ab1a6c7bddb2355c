use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::Manage;
use super::core::Core;
use super::state::{Check, Chores, State};
use crate::base::{Deadline, PoolClose, caught, deadline};

/// What says nothing for so long has had its chance, however little time the caller had who waited for it.
pub(super) const TELLING: Duration = Duration::from_millis(100);

/// An object that lay idle, under foreign code. If that panics, or is cut off, it is closed.
pub(super) struct Checking<M: Manage> {
    core: Arc<Core<M>>,
    /// Nothing, once it is known to be good.
    check: Option<Check<M::Object>>,
    why: PoolClose,
}

impl<M: Manage> Checking<M> {
    pub(super) const fn new(core: Arc<Core<M>>, check: Check<M::Object>) -> Self {
        Self { core, check: Some(check), why: PoolClose::Broken }
    }

    /// Nobody can ask here and now.
    pub(super) fn give_up(mut self) {
        self.end(|state, Check { entry, number, .. }, chores| state.not_asked(number, entry, chores));
    }

    async fn passes(&mut self) -> bool {
        let Some(Check { entry, impatience, .. }) = &mut self.check else { return false };
        let manager = &self.core.manager;
        if !manager.is_usable(&entry.object) {
            return false;
        }
        self.why = PoolClose::Checked;
        let start = Instant::now();
        let limit = Deadline::after(start, self.core.settings.connect_timeout);
        let mut answer = pin!(limit.bound(manager.check(&mut entry.object)));
        let mut enough = pin!(async {
            impatience.notified().await;
            sleep_until(start + TELLING).await;
        });
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(matches!(answer, Ok(Ok(())))),
            Poll::Pending => enough.as_mut().poll(cx).map(|()| false),
        })
        .await
    }

    fn end(&mut self, how: impl FnOnce(&mut State<M::Object>, Check<M::Object>, &mut Chores<M::Object>)) {
        if let Some(check) = self.check.take() {
            self.core.change(|state, chores| how(state, check, chores));
        }
    }
}

/// Asks whether it is still good, for whoever needs it then. Not for one caller: what was given up in the middle would have to be closed.
pub(super) async fn check<M: Manage>(mut checking: Checking<M>) {
    if checking.passes().await {
        let now = Instant::now();
        checking.end(|state, Check { entry, number, .. }, chores| state.passed(number, entry, now, chores));
    }
}

/// The same, as far as it goes at once: what is left of it belongs into a task. It is no part of the call for which it is begun, whose
/// deadline is not its own.
pub(super) fn begin<M: Manage>(
    runtime: &Handle,
    checking: Checking<M>,
) -> Option<Pin<Box<impl Future<Output = ()> + use<M>>>> {
    let mut check = Box::pin(deadline::detached(check(checking)));
    let _there = runtime.enter();
    let polled = caught(|| check.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    // What panicked is gone, as it would be in a task.
    polled.is_ok_and(|polled| polled.is_pending()).then_some(check)
}

impl<M: Manage> Drop for Checking<M> {
    fn drop(&mut self) {
        let why = self.why;
        self.end(|state, Check { entry, number, .. }, chores| state.not_passed(number, entry, why, chores));
    }
}
