use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project::pin_project;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Manage;
use super::core::Core;
use super::entry::Entry;
use super::state::Check;
use crate::base::{Deadline, PoolClose, caught, deadline};

/// What says nothing for so long has had its chance, however little time the caller had who waited for it.
pub(super) const TELLING: Duration = Duration::from_millis(100);

/// An object that lay idle, under foreign code. If that panics, or is cut off, it is closed.
pub(super) struct Checking<M: Manage> {
    core: Arc<Core<M>>,
    /// Nothing, once it is known to be good.
    check: Option<Check<M::Object>>,
    since: Instant,
    why: PoolClose,
}

/// What has become of one after the first step.
pub(super) enum Begun<M: Manage> {
    /// It is over: nobody waits for this one, which is good, or there is none. The place is free, unless somebody panicked there.
    Over(Option<Entry<M::Object>>, Option<Place<M>>),
    /// The rest belongs into a task.
    Goes(Place<M>),
}

/// Where a check lies as long as it goes on. Most say at once that all is well, and leave it to the next one.
pub(super) type Place<M> = Pin<Box<dyn Holds<M>>>;

pub(super) trait Holds<M: Manage>: Future<Output = Option<Entry<M::Object>>> + Send {
    fn hold(self: Pin<&mut Self>, checking: Option<Checking<M>>);
}

pub(super) fn place<M: Manage>() -> Place<M> {
    Box::pin(Held { check: None, begin: |checking| deadline::detached(check(checking)) })
}

#[pin_project]
struct Held<F, B> {
    #[pin]
    check: Option<F>,
    begin: B,
}

impl<M: Manage, F, B> Holds<M> for Held<F, B>
where
    F: Future<Output = Option<Entry<M::Object>>> + Send,
    B: Fn(Checking<M>) -> F + Send,
{
    fn hold(self: Pin<&mut Self>, checking: Option<Checking<M>>) {
        let mut this = self.project();
        this.check.set(checking.map(&*this.begin));
    }
}

impl<F: Future, B> Future for Held<F, B> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().check.as_pin_mut().expect("one is held that has not ended").poll(cx)
    }
}

impl<M: Manage> Checking<M> {
    pub(super) const fn new(core: Arc<Core<M>>, check: Check<M::Object>, since: Instant) -> Self {
        Self { core, check: Some(check), since, why: PoolClose::Broken }
    }

    /// Nobody can ask here and now.
    pub(super) fn give_up(mut self) {
        if let Some(check) = self.check.take() {
            self.core.change(|state, chores| state.not_asked(check, chores));
        }
    }

    async fn passes(&mut self) -> bool {
        let Self { core, check: Some(Check { entry, hope }), since, why } = self else { return false };
        if !core.manager.is_usable(&entry.object) {
            return false;
        }
        *why = PoolClose::Checked;
        let since = *since;
        let limit = Deadline::after(since, core.settings.connect_timeout);
        let mut answer = pin!(limit.bound(core.manager.check(&mut entry.object)));
        let mut enough = pin!(None);
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(matches!(answer, Ok(Ok(()))));
            }
            if enough.is_none() {
                let hope = hope.get_or_insert_with(|| core.change(|state, _| state.hope()));
                enough.set(Some(said_nothing(Arc::clone(&hope.impatience), since)));
            }
            enough.as_mut().as_pin_mut().expect("it has just been set").poll(cx).map(|()| false)
        })
        .await
    }
}

/// A caller has waited for it for long enough, and it has had its chance.
async fn said_nothing(impatience: Arc<Notify>, since: Instant) {
    impatience.notified().await;
    sleep_until(since + TELLING).await;
}

/// Asks whether it is still good: it comes back if it said so at once and nobody has begun to wait for it, else it is for whoever needs it then. Not for one
/// caller: what was given up in the middle would have to be closed.
pub(super) async fn check<M: Manage>(mut checking: Checking<M>) -> Option<Entry<M::Object>> {
    if !checking.passes().await {
        return None;
    }
    let Check { entry, hope } = checking.check.take()?;
    let Some(hope) = hope else { return Some(entry) };
    let now = Instant::now();
    checking.core.change(|state, chores| state.passed(&hope, entry, now, chores));
    None
}

/// The same, as far as it goes at once. It is no part of the call for which it is begun, whose deadline is not its own.
pub(super) fn begin<M: Manage>(runtime: &Handle, mut place: Place<M>, checking: Checking<M>) -> Begun<M> {
    place.as_mut().hold(Some(checking));
    let _there = runtime.enter();
    match caught(|| place.as_mut().poll(&mut Context::from_waker(Waker::noop()))) {
        Ok(Poll::Ready(entry)) => {
            place.as_mut().hold(None);
            Begun::Over(entry, Some(place))
        }
        Ok(Poll::Pending) => Begun::Goes(place),
        // What panicked is gone, as it would be in a task.
        Err(_) => Begun::Over(None, None),
    }
}

impl<M: Manage> Drop for Checking<M> {
    fn drop(&mut self) {
        if let Some(check) = self.check.take() {
            self.core.change(|state, chores| state.not_passed(check, self.why, chores));
        }
    }
}
