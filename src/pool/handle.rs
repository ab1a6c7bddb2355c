use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::builder::PoolBuilder;
use super::core::{Asked, Core, Lost};
use super::entry::Entry;
use super::state::Handed;
use super::waiting::Waiting;
use super::{ConnectFailed, Manage, PoolClosed, PoolSettings, PoolStats, Pooled};
use crate::base::{Deadline, Error, NOBODY, PoolClose, scope};

/// A pool of connections, or of anything that is made slowly and used by one at a time. It is a handle: its clones share the pool.
///
/// **Guarantee.** At no moment are there more objects than [`max`](PoolSettings::max), those that are being connected included. Who
/// comes first goes first: an object that comes back goes from hand to hand to whoever has waited longest, and nobody overtakes. What a
/// caller who gives up was waiting for, or was handed, goes to the next.
///
/// ```
/// use stonework::pool::{Manage, Pool, PoolSettings};
///
/// struct Names;
///
/// impl Manage for Names {
///     type Object = Vec<String>;
///     type Error = std::convert::Infallible;
///
///     async fn connect(&self) -> Result<Vec<String>, Self::Error> {
///         Ok(Vec::new())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder(Names).settings(PoolSettings::new().max(4)).name("names").build()?;
/// let number = pool
///     .with(async |names| {
///         names.push("ann".to_owned());
///         names.len()
///     })
///     .await?;
/// assert_eq!((number, pool.stats().idle()), (1, 1));
/// # Ok(()) }
/// ```
///
/// The pool ends with its last handle: its tasks end, idle objects are closed, and those in use are closed when they come back.
pub struct Pool<M: Manage> {
    owner: Arc<Owner<M>>,
}

/// All handles of a pool together.
struct Owner<M: Manage> {
    core: Arc<Core<M>>,
}

impl<M: Manage> Drop for Owner<M> {
    fn drop(&mut self) {
        self.core.end();
    }
}

impl<M: Manage> Pool<M> {
    /// With the defaults: see [`PoolSettings`].
    #[must_use]
    pub fn new(manager: M) -> Self {
        PoolBuilder::new(manager).assemble()
    }

    /// Begin with the defaults, and change them.
    pub fn builder(manager: M) -> PoolBuilder<M> {
        PoolBuilder::new(manager)
    }

    pub(super) fn of(core: Core<M>) -> Self {
        let core = Arc::new(core);
        core.warm_up();
        Self { owner: Arc::new(Owner { core }) }
    }

    pub(super) fn core(&self) -> &Arc<Core<M>> {
        &self.owner.core
    }

    /// An object: one that lies idle, else one that comes back or that is connected, whichever is first, in the order of arrival.
    ///
    /// # Errors
    ///
    /// Not sent, all of them: of kind [`Timeout`](crate::base::Kind::Timeout), with [`PoolExhausted`](super::PoolExhausted) in its chain, at
    /// the end of the [wait](PoolSettings::wait_timeout) or at the [deadline](Deadline) in scope; of kind
    /// [`Overload`](crate::base::Kind::Overload), if too many wait; of kind [`Connect`](crate::base::Kind::Connect), with
    /// [`ConnectFailed`] in its chain, if nothing can be connected and nothing is in use that could come back; and [`PoolClosed`].
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in the queue. What was connected for it, or handed to it, goes to the next.
    pub async fn get(&self) -> Result<Pooled<M>, Error> {
        let core = self.core();
        let mut failed_checks = 0;
        loop {
            let now = scope::now();
            let entry = match core.ask(now, NOBODY)? {
                Asked::Object(entry) => entry,
                Asked::Waits(number) => self.wait(number, now).await?,
            };
            if let Some(entry) = self.looked_at(entry, now, &mut failed_checks).await {
                return Ok(Pooled::new(entry, Arc::clone(core)));
            }
        }
    }

    /// An object that lies idle and looks usable, if there is one and nobody waits.
    #[must_use]
    pub fn try_get(&self) -> Option<Pooled<M>> {
        let core = self.core();
        let now = scope::now();
        loop {
            let entry = core.change(|state, chores| {
                let free = !state.slots.closed && state.waiters.len() == 0;
                if free { state.pop(now, chores) } else { None }
            })?;
            let lost = Lost { core, entry: Some(entry), why: PoolClose::Broken };
            if lost.entry.as_ref().is_some_and(|entry| core.manager.is_usable(&entry.object)) {
                let entry = lost.keep().used(now, core.settings.idle_timeout);
                return Some(Pooled::new(entry, Arc::clone(core)));
            }
        }
    }

    /// One that could be handed out now, and need not be asked whether it is still good.
    pub(super) fn try_get_fresh(&self) -> Option<Pooled<M>> {
        let core = self.core();
        let used = core.state().next_used()?;
        let fresh = |after| scope::now().saturating_duration_since(used) < after;
        if core.settings.check_after.is_none_or(fresh) { self.try_get() } else { None }
    }

    /// Do something with an object, and put it back. If the work panics or is dropped, the object is closed, unless its manager says
    /// that it is [clean](Manage::is_clean).
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get).
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&mut M::Object) -> T) -> Result<T, Error> {
        let mut object = self.get().await?;
        let result = work(&mut object).await;
        object.put_back();
        Ok(result)
    }

    /// Add an object that was made elsewhere.
    ///
    /// # Errors
    ///
    /// Gives it back, if there is no place for it or the pool is closed.
    pub fn add(&self, object: M::Object) -> Result<(), M::Object> {
        let core = self.core();
        let entry = Entry::new(object, scope::now(), &core.settings, &core.rng);
        let refused = core.change(|state, chores| {
            if state.slots.closed || state.slots.open >= state.slots.max {
                return Some(entry);
            }
            state.slots.open += 1;
            state.put(entry, chores);
            None
        });
        refused.map_or(Ok(()), |entry| Err(entry.object))
    }

    /// What is handed out is looked at first. What nobody has used for a while is asked, too.
    async fn looked_at(
        &self,
        entry: Entry<M::Object>,
        now: Instant,
        failed_checks: &mut u32,
    ) -> Option<Entry<M::Object>> {
        let core = self.core();
        let stale =
            core.settings.check_after.is_some_and(|after| now.saturating_duration_since(entry.used) >= after);
        let mut lost = Lost { core, entry: Some(entry), why: PoolClose::Broken };
        let entry = lost.entry.as_mut()?;
        if !core.manager.is_usable(&entry.object) {
            return None;
        }
        if stale {
            lost.why = PoolClose::Checked;
            let limit = Deadline::within(core.settings.connect_timeout);
            let checked = limit.bound(core.manager.check(&mut entry.object)).await;
            if !matches!(checked, Ok(Ok(()))) {
                *failed_checks += 1;
                if *failed_checks > 1 {
                    // The others have lain idle for longer.
                    core.change(|state, chores| state.sweep(|_| Some(PoolClose::Checked), chores));
                }
                return None;
            }
        }
        Some(lost.keep().used(now, core.settings.idle_timeout))
    }

    #[cold]
    async fn wait(&self, number: u64, since: Instant) -> Result<Entry<M::Object>, Error> {
        let core = self.core();
        let mut waiting = Waiting::new(core, number);
        let turn = poll_fn(|cx: &mut Context<'_>| waiting.poll(cx));
        let handed = match core.settings.wait_timeout {
            Some(limit) => Deadline::after(since, limit).in_scope().bound(turn).await.ok(),
            None => match Deadline::current() {
                Some(deadline) => deadline.bound(turn).await.ok(),
                None => Some(turn.await),
            },
        };
        let waited = || since.elapsed();
        match handed {
            Some(Handed::Object(entry)) => {
                let waited = waited();
                core.change(|state, _| state.counts.waited(waited));
                Ok(entry)
            }
            Some(Handed::Failed(error)) => Err(ConnectFailed(error).into_error(self.again_in())),
            Some(Handed::Closed) => Err(PoolClosed.into()),
            None => {
                drop(waiting);
                let exhausted = core.change(|state, _| {
                    state.counts.timed_out += 1;
                    core.exhausted(state)
                });
                Err(exhausted.into_error(Some(waited())))
            }
        }
    }

    fn again_in(&self) -> Option<Duration> {
        let dial_at = self.core().state().slots.dial_at;
        dial_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Change how many there may be. Fewer means that idle ones are closed now, and those in use when they come back.
    ///
    /// # Panics
    ///
    /// If it is zero: see [`close`](Self::close).
    pub fn set_max(&self, max: usize) {
        assert!(max > 0, "a pool of nothing would let everybody wait");
        self.core().change(|state, chores| {
            state.slots.max = max;
            state.slots.min_idle = state.slots.min_idle.min(max);
            state.shrink(chores);
            state.begin(chores);
        });
    }

    /// Hand nothing out any more: whoever waits or comes is refused, idle objects are closed, and those in use when they come back. It
    /// ends when none is left.
    ///
    /// *Cancellation:* dropping the future waits no longer; the pool stays closed.
    pub async fn close(&self) {
        let core = self.core();
        core.close();
        loop {
            let home = core.home.notified();
            if core.state().slots.open == 0 {
                return;
            }
            home.await;
        }
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core().state().slots.closed
    }

    /// How it stands, and what has happened so far.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.core().state().stats()
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &PoolSettings {
        &self.core().settings
    }

    /// The name it was given; empty, if none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core().name
    }
}

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner) }
    }
}

impl<M: Manage> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("in_use", &stats.in_use())
            .field("idle", &stats.idle())
            .field("connecting", &stats.connecting())
            .field("waiting", &stats.waiting())
            .field("max", &stats.max())
            .finish_non_exhaustive()
    }
}
