use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::core::Core;
use super::stats::BreakerStats;
use super::{BreakerSettings, CircuitOpen, InvalidBreaker, Permit};
use crate::base::{Anchored, CircuitState, Observe, Observer, Rng, lanes};

/// A handle to a circuit, shared by cloning: layers that are given clones of it open and close together.
///
/// It shows the circuit's [`state`](Self::state) and [`stats`](Self::stats), and can force it open or closed. Its layer is
/// [`BreakerLayer`](super::BreakerLayer); a plain operation asks it for a permit:
///
/// ```
/// use stonework::base::Outcome;
/// use stonework::breaker::{Breaker, CircuitOpen};
///
/// async fn read(breaker: &Breaker) -> Result<Option<String>, CircuitOpen> {
///     let permit = breaker.try_acquire()?;
///     let read = tokio::fs::read_to_string("/no/such/file").await;
///     permit.settle(if read.is_ok() { Outcome::Success } else { Outcome::Failure });
///     Ok(read.ok())
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let breaker = Breaker::default();
/// assert_eq!(read(&breaker).await, Ok(None));
/// assert_eq!(breaker.stats().failures(), 1);
/// # }
/// ```
///
/// While the circuit is closed, a call takes no lock, allocates nothing, and writes only to counts that few threads share, up to
/// sixteen of each; all else they only read. Cloning the handle, or a service that has it, does write to shared memory.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Anchored<Core>>,
}

impl Default for Breaker {
    /// With [`BreakerSettings::new`].
    fn default() -> Self {
        Self::with(BreakerSettings::new())
    }
}

impl Breaker {
    /// A closed circuit.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`], which names the setting, if it could never open or never close.
    pub fn new(settings: BreakerSettings) -> Result<Self, InvalidBreaker> {
        settings.check()?;
        Ok(Self::with(settings))
    }

    /// The settings were checked, or are the defaults.
    pub(super) fn with(settings: BreakerSettings) -> Self {
        Self::made(settings, "".into(), Observe::default(), Rng::default())
    }

    pub(super) fn made(settings: BreakerSettings, name: Arc<str>, observe: Observe, rng: Rng) -> Self {
        let core = Core::new(settings, name, observe, rng, lanes());
        Self { shared: Anchored::new(Arc::new(core)) }
    }

    /// The same with a name, which its events carry. As with the two below, this makes a new circuit, closed and with nothing
    /// counted: it is for a handle that was not shared yet.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let core = self.core();
        Self::made(core.settings.clone(), name.into(), core.observe().clone(), core.rng.clone())
    }

    /// The same, telling this observer what happens: [`CircuitChanged`](crate::base::Event::CircuitChanged) and
    /// [`CircuitProbed`](crate::base::Event::CircuitProbed). Default: nobody. It is told with no lock held, so it may ask the
    /// handle; and after the fact, in the order of what happened, one event at a time: by whichever thread is about it already, so where the
    /// observer panics, that may be through another call.
    #[must_use]
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        let Core { settings, name, rng, .. } = &**self.core();
        Self::made(settings.clone(), Arc::clone(name), Observe::by(observer), rng.clone())
    }

    /// The same, drawing jitter from here. Default: seeded by the operating system.
    #[must_use]
    pub fn rng(self, rng: Rng) -> Self {
        let core = self.core();
        Self::made(core.settings.clone(), Arc::clone(&core.name), core.observe().clone(), rng)
    }

    /// What it is at this moment. An open circuit whose time is over stays [`Open`](CircuitState::Open) until the next call.
    #[must_use]
    pub fn state(&self) -> CircuitState {
        self.core().state()
    }

    /// What it has counted, and what it knows. This takes the lock that changes of the state take.
    #[must_use]
    pub fn stats(&self) -> BreakerStats {
        self.core().stats()
    }

    /// The name it was given, or its key in [`Breakers`](super::Breakers); empty if there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core().name
    }

    /// Refuse every call, until [`force_closed`](Self::force_closed) or [`reset`](Self::reset). What is under way goes on and is
    /// not counted.
    pub fn force_open(&self) {
        self.core().change(Instant::now(), |gate, given| gate.circuit.force_open(given));
    }

    /// Let every call through and count none, until [`force_open`](Self::force_open) or [`reset`](Self::reset).
    pub fn force_closed(&self) {
        self.core().change(Instant::now(), |gate, given| gate.circuit.force_closed(given));
    }

    /// Begin anew: closed, nothing counted, the next open time the shortest. What is under way is not counted.
    pub fn reset(&self) {
        self.core().change(Instant::now(), |gate, given| gate.circuit.reset(given));
    }

    /// Ask to make a call; how it went is said with [`Permit::settle`].
    ///
    /// # Errors
    ///
    /// [`CircuitOpen`] if it may not be made now.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, CircuitOpen> {
        let anchor = self.shared.anchor();
        match anchor.core().admit(anchor.lane()) {
            Ok(admitted) => Ok(Permit::new(anchor, admitted)),
            Err(retry_after) => Err(CircuitOpen::new(retry_after)),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        self.shared.core()
    }

    /// Whether nobody but the one who asks has this handle, and no call is under way.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && self.shared.is_idle()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
