use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;

use super::core::Core;
use crate::base::{BoxError, EndpointId, Fitness};

/// Looks at endpoints from outside, and says how they are: with the features `client` and `health`, a
#[cfg_attr(
    all(feature = "client", feature = "health"),
    doc = "[`ProberBuilder`](crate::health::ProberBuilder);"
)]
#[cfg_attr(not(all(feature = "client", feature = "health")), doc = "`ProberBuilder`;")]
/// or something of your own.
///
/// ```
/// use stonework::balance::{Balancer, Found, Inspect};
/// use stonework::base::{BoxError, EndpointId, Fitness};
///
/// /// Leaves out what is in another zone.
/// struct Here;
///
/// impl Inspect for Here {
///     fn check(&self) -> Result<(), BoxError> {
///         Ok(())
///     }
///
///     fn begin(self, found: Found) -> impl Fn(Vec<EndpointId>) + Send + Sync + 'static {
///         move |endpoints| {
///             for endpoint in endpoints {
///                 let is_here = endpoint.as_str().starts_with("10.0.");
///                 found.tell(&endpoint, if is_here { Fitness::Fit } else { Fitness::Unfit });
///             }
///         }
///     }
/// }
///
/// let members = ["10.0.0.1:80", "10.1.0.1:80"];
/// let balancer = Balancer::builder(|id| id.to_string()).members(members).inspect(Here);
/// # let _ = balancer;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not look at endpoints",
    note = "with the features `client` and `health`, a `stonework::health::ProberBuilder` does"
)]
pub trait Inspect: Send + 'static {
    /// Whether it can be as it is; what it says is told by [`BalancerBuilder::build`](super::BalancerBuilder::build).
    ///
    /// # Errors
    ///
    /// Whatever says why not.
    fn check(&self) -> Result<(), BoxError>;

    /// Begin. What is returned is called with the endpoints that there are, all of them: at once, and again whenever there are others; one
    /// call after the other, and the newest list last. It must not block. It is dropped when the balancer ends, and the looking is to end with it.
    fn begin(self, found: Found) -> impl Fn(Vec<EndpointId>) + Send + Sync + 'static;
}

/// Tells a balancer how its endpoints are: what an [`Inspect`] is given. It does not keep the balancer alive.
#[derive(Clone)]
pub struct Found(Arc<Tell>);

/// Says whether there is such an endpoint.
type Tell = dyn Fn(&EndpointId, Fitness) -> bool + Send + Sync;

impl Found {
    /// What [`Balancer::found`](super::Balancer::found) does: says whether there is such an endpoint.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn tell(&self, endpoint: &EndpointId, fitness: Fitness) -> bool {
        (self.0)(endpoint, fitness)
    }

    fn by<S: Clone + Send + Sync + 'static>(core: Weak<Core<S>>) -> Self {
        Self(Arc::new(move |endpoint, fitness| {
            core.upgrade().is_some_and(|core| core.found(endpoint, fitness))
        }))
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").finish_non_exhaustive()
    }
}

/// Hears of the endpoints that there are.
type Look = Arc<dyn Fn(Vec<EndpointId>) + Send + Sync>;

/// Who looks at the endpoints of a balancer, if anybody does.
pub(super) struct Inspection(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Nobody,
    /// There was no runtime yet.
    Waits(Box<dyn Begin>),
    Looks {
        look: Look,
        /// Somebody is telling it.
        busy: bool,
        /// What is being told is old by now.
        stale: bool,
    },
}

impl Inspection {
    pub(super) fn by(inspect: Option<Box<dyn Begin>>) -> Self {
        Self(Mutex::new(inspect.map_or(State::Nobody, State::Waits)))
    }

    /// There are other endpoints, or there may be a runtime now.
    pub(super) fn look<S: Clone + Send + Sync + 'static>(&self, core: &Arc<Core<S>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Waits(_)) && Handle::try_current().is_err() {
            return;
        }
        *state = match std::mem::take(&mut *state) {
            State::Waits(inspect) => {
                let look = inspect.begin(Found::by(Arc::downgrade(core)));
                State::Looks { look, busy: false, stale: false }
            }
            other => other,
        };
        let State::Looks { look, busy, stale } = &mut *state else { return };
        *stale = *busy;
        if std::mem::replace(busy, true) {
            return;
        }
        let look = Arc::clone(look);
        drop(state);
        // With no lock held: it may find something at once, and whoever hears of that may set another list. Of all lists the newest is
        // told last.
        let telling = Telling(self);
        loop {
            look(core.members());
            if !telling.is_stale() {
                return;
            }
        }
    }

    /// Whether it is still to begin.
    pub(super) fn waits(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Waits(_))
    }
}

/// The list is being told. It can be told again when this is gone, also if that panics.
struct Telling<'a>(&'a Inspection);

impl Telling<'_> {
    /// Whether there is another list by now. If not, this is over.
    fn is_stale(&self) -> bool {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Looks { busy, stale, .. } = &mut *state else { return false };
        *busy = *stale;
        std::mem::take(stale)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let State::Looks { busy, stale, .. } = &mut *state {
                (*busy, *stale) = (false, false);
            }
        }
    }
}

/// The same, whichever it is.
pub(super) trait Begin: Send {
    fn check(&self) -> Result<(), BoxError>;
    fn begin(self: Box<Self>, found: Found) -> Look;
}

impl<I: Inspect> Begin for I {
    fn check(&self) -> Result<(), BoxError> {
        Inspect::check(self)
    }

    fn begin(self: Box<Self>, found: Found) -> Look {
        Arc::new(Inspect::begin(*self, found))
    }
}
