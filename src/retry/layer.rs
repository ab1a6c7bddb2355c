use std::sync::Arc;

use tower_layer::Layer;

use super::verdict::Role;
use super::{Retry, RetrySettings};
use crate::base::{Budget, CallId, ClassifyHttp, Event, Observe, Observer, Rng, Schedule, WallClock};

/// Sends requests again when that may help and can do no harm. See the [module](super).
///
/// Services made by one layer, or by its clones, share one budget.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RetryLayer<C = ClassifyHttp> {
    shared: Arc<Shared<C>>,
}

/// What all clones of a service share.
#[derive(Clone, Debug)]
pub(super) struct Shared<C> {
    pub(super) settings: RetrySettings,
    pub(super) schedule: Arc<dyn Schedule>,
    pub(super) budget: Option<Budget>,
    pub(super) classify: C,
    pub(super) observe: Observe,
    pub(super) rng: Rng,
    pub(super) wall: WallClock,
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<RetrySettings> for RetryLayer {
    fn from(settings: RetrySettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                schedule: Arc::new(settings.backoff),
                budget: settings.budget.map(Budget::new),
                classify: ClassifyHttp,
                observe: Observe::default(),
                rng: Rng::default(),
                wall: WallClock::default(),
                settings,
            }),
        }
    }
}

impl RetryLayer {
    /// With the defaults: see [`RetrySettings`].
    pub fn new() -> Self {
        Self::from(RetrySettings::new())
    }
}

impl<C: Clone> RetryLayer<C> {
    /// Take the cost of retries from this budget, instead of from one of the layer's own. Give all clients of one
    /// service a clone of the same.
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|shared| shared.budget = Some(budget))
    }

    /// Do without a budget. **In an outage every client then multiplies its load by the number of attempts**, which is
    /// how an outage lasts.
    pub fn without_budget(self) -> Self {
        self.with(|shared| shared.budget = None)
    }

    /// Let this schedule choose the pauses, in place of the settings' backoff.
    pub fn schedule(self, schedule: impl Schedule + 'static) -> Self {
        self.with(|shared| shared.schedule = Arc::new(schedule))
    }

    /// Tell this observer what happens. Default: nobody.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.with(|shared| shared.observe = Observe::by(observer))
    }

    /// Draw jitter and generated keys from here. Default: seeded by the operating system.
    pub fn rng(self, rng: Rng) -> Self {
        self.with(|shared| shared.rng = rng)
    }

    /// Read the date in a `Retry-After` by this clock. Default: the system's.
    pub fn wall_clock(self, wall: WallClock) -> Self {
        self.with(|shared| shared.wall = wall)
    }

    /// Judge responses and errors by this. Default: [`ClassifyHttp`].
    pub fn classify<D>(self, classify: D) -> RetryLayer<D> {
        let Shared { settings, schedule, budget, classify: _, observe, rng, wall } =
            Arc::unwrap_or_clone(self.shared);
        RetryLayer { shared: Arc::new(Shared { settings, schedule, budget, classify, observe, rng, wall }) }
    }

    fn with(mut self, change: impl FnOnce(&mut Shared<C>)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S, C> Layer<S> for RetryLayer<C> {
    type Service = Retry<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::with(inner, Arc::clone(&self.shared))
    }
}

impl<C> Shared<C> {
    /// A call begins, with its first attempt.
    pub(super) fn begin(&self, role: Role) -> Option<CallId> {
        // What somebody outside repeats, or may repeat, is counted there: repetitions are to earn none.
        if let (Some(budget), Role::Outermost) = (&self.budget, role) {
            budget.deposit();
        }
        let call = self.observe.begin();
        self.observe.tell(call, |call| Event::AttemptStarted { call, attempt: 1 });
        call
    }
}
