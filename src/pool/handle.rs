use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::ask::Asked;
use super::builder::PoolBuilder;
use super::core::{Core, Lost};
use super::entry::Entry;
use super::state::Handed;
use super::waiting::Waiting;
use super::{ConnectFailed, Manage, PoolClosed, PoolSettings, PoolStats, Pooled};
use crate::base::{Deadline, Error, PoolClose, scope};

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
///
/// Its tasks run in the runtime in which it first had something to connect, and once that has ended in the next one. It may be used from
/// several, as by tests that share a static one; but what was connected in a runtime often cannot be used when that has ended, which
/// [`is_usable`](Manage::is_usable) has to tell.
pub struct Pool<M: Manage> {
    owner: Arc<Owner<M>>,
}

/// All handles of a pool together.
struct Owner<M: Manage> {
    core: Arc<Core<M>>,
}

impl<M: Manage> Drop for Owner<M> {
    fn drop(&mut self) {
        self.core.close();
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
    /// [`ConnectFailed`] in its chain, if nothing can be connected and nothing is in use that could come back; and [`PoolClosed`]. Who comes
    /// after such a failure waits until somebody may [try again](PoolSettings::backoff), and is told how that ended.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers; and where its manager panics when it looks at an object.
    ///
    /// # Cancellation
    ///
    /// Dropping the future gives up the place in the queue. What was connected or asked for it, or handed to it, goes to the next.
    pub async fn get(&self) -> Result<Pooled<M>, Error> {
        let since = scope::now();
        // What is awaited within a match is kept beside all that is matched.
        let place = match self.at_hand(since, self.core().settings.check_after) {
            Ok(object) => return Ok(object),
            Err(place) => place,
        };
        self.get_in_turn(since, place).await
    }

    /// One that is to be asked, that comes back or that is connected. Who came before, and got one that could not be used, has a place.
    async fn get_in_turn(&self, since: Instant, mut place: Option<u64>) -> Result<Pooled<M>, Error> {
        let core = self.core();
        let mut now = since;
        loop {
            let is_late = || self.end_of_wait(since).is_some_and(|end| end.remaining(now).is_zero());
            let (asked, number) = core.ask(now, place, is_late)?;
            let (mut lost, waited) = match asked {
                Asked::Object(lost) => (lost, None),
                Asked::Waits(waiting) => {
                    let lost = self.wait(waiting, since).await?;
                    now = Instant::now();
                    (lost, Some(now.saturating_duration_since(since)))
                }
                Asked::TooLate => return Err(self.in_vain(since)),
            };
            // For one that somebody waited for, time has passed.
            if (waited.is_none() || lost.is_young(now)) && lost.is_usable() {
                let entry = lost.keep().used(now, core.settings.idle_timeout);
                if let Some(waited) = waited {
                    core.change(|state, _| state.counts.waited(waited));
                }
                return Ok(Pooled::new(entry, Arc::clone(core)));
            }
            if waited.is_some() && lost.is_new() && lost.why == PoolClose::Broken {
                core.stillborn();
            }
            // Whoever came first still is.
            (now, place) = (Instant::now(), Some(number));
        }
    }

    /// An object that lies idle and looks usable, if there is one and nobody waits.
    #[must_use]
    pub fn try_get(&self) -> Option<Pooled<M>> {
        self.try_get_within(None)
    }

    /// One that could be handed out now, and need not be asked whether it is still good.
    pub(super) fn try_get_fresh(&self) -> Option<Pooled<M>> {
        self.try_get_within(self.core().settings.check_after)
    }

    /// One that lies idle and was last handed out within this time, if that matters.
    fn try_get_within(&self, fresh: Option<Duration>) -> Option<Pooled<M>> {
        let now = scope::now();
        loop {
            match self.at_hand(now, fresh) {
                Ok(object) => return Some(object),
                Err(Some(_)) => {}
                Err(None) => return None,
            }
        }
    }

    /// The one that was used last, if nobody waits, it was handed out within this time, if that matters, and it is usable. If it is not,
    /// it is closed, and its taker has a place in the order of arrival.
    #[inline]
    fn at_hand(&self, now: Instant, fresh: Option<Duration>) -> Result<Pooled<M>, Option<u64>> {
        let core = self.core();
        let taken = core.change(|state, chores| {
            if state.slots.closed || state.waiters.len() > 0 {
                return None;
            }
            let lost = Lost::new(core, state.pop(now, |entry| entry.is_fresh(now, fresh), chores)?);
            Some((lost, state.waiters.number()))
        });
        let Some((lost, number)) = taken else { return Err(None) };
        if !lost.is_usable() {
            return Err(Some(number));
        }
        let entry = lost.keep().used(now, core.settings.idle_timeout);
        Ok(Pooled::new(entry, Arc::clone(core)))
    }

    /// Do something with an object, and put it back, also where what comes of the work is an error. If the work panics or is dropped, the object is closed, unless its manager says
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
        let entry = Entry::new(object, Instant::now(), &core.settings, &core.rng);
        let refused = core.change(|state, chores| {
            if state.slots.closed || state.slots.room() == 0 {
                return Some(entry);
            }
            state.slots.open += 1;
            state.put(entry, chores);
            None
        });
        refused.map_or(Ok(()), |entry| Err(entry.object))
    }

    /// When a caller who came at `since` gives up.
    fn end_of_wait(&self, since: Instant) -> Option<Deadline> {
        match self.core().settings.wait_timeout {
            Some(limit) => Some(Deadline::after(since, limit).in_scope()),
            None => Deadline::current(),
        }
    }

    #[cold]
    async fn wait<'a>(&'a self, mut waiting: Waiting<'a, M>, since: Instant) -> Result<Lost<'a, M>, Error> {
        let mut turn = poll_fn(|cx: &mut Context<'_>| waiting.poll(cx));
        let handed = match self.end_of_wait(since) {
            Some(end) => self.within(end, &mut turn).await,
            None => Some(turn.await),
        };
        match handed {
            Some(Handed::Object(entry)) => Ok(Lost::new(self.core(), entry)),
            Some(Handed::Failed(error)) => Err(ConnectFailed(error).into_error(self.again_in())),
            Some(Handed::Closed) => Err(PoolClosed.into()),
            None => {
                drop(waiting);
                Err(self.in_vain(since))
            }
        }
    }

    /// What a caller is handed by the end of its time. Half of it, and half of the rest, are as much as it gives to one that is being asked and
    /// says nothing.
    async fn within(
        &self,
        end: Deadline,
        mut turn: impl Future<Output = Handed<M::Object>> + Unpin,
    ) -> Option<Handed<M::Object>> {
        for _ in 0..2 {
            let now = Instant::now();
            let half = Deadline::after(now, end.remaining(now) / 2);
            match half.bound(&mut turn).await {
                Ok(handed) => return Some(handed),
                Err(_) => self.core().change(|state, chores| state.impatient(Instant::now(), chores)),
            }
        }
        end.bound(turn).await.ok()
    }

    /// The time is over.
    fn in_vain(&self, since: Instant) -> Error {
        let core = self.core();
        let exhausted = core.change(|state, _| {
            state.counts.timed_out += 1;
            core.exhausted(state)
        });
        exhausted.into_error(Some(since.elapsed()))
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
            state.slots.min_idle = self.settings().min_idle.min(max);
            state.shrink(chores);
            state.begin(chores);
        });
    }

    /// Hand nothing out any more: whoever waits or comes is refused, idle objects are closed, what is being connected is given up, and those
    /// in use are closed when they come back. It ends when none is left.
    ///
    /// *Cancellation:* dropping the future waits no longer; the pool stays closed.
    pub async fn close(&self) {
        let core = self.core();
        core.close();
        loop {
            let home = core.home.notified();
            if core.state().slots.is_empty() {
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
