use std::sync::Arc;

use tower_layer::Layer;

use super::{Hedge, HedgeService, HedgeSettings};
use crate::base::{Budget, ClassifyHttp, Observe, Observer, WallClock};

/// Sends a request a second time while the first is still waited for. See the [module](super).
///
/// Services made by one layer, or by its clones, learn together and share one budget.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct HedgeLayer<C = ClassifyHttp> {
    shared: Arc<Shared<C>>,
}

/// What all clones of a service share.
#[derive(Clone, Debug)]
pub(super) struct Shared<C> {
    pub(super) hedge: Hedge,
    pub(super) budget: Option<Budget>,
    /// Whether nobody else counts the requests that fill the budget.
    pub(super) deposits: bool,
    pub(super) classify: C,
    pub(super) observe: Observe,
    pub(super) wall: WallClock,
    pub(super) is_on: bool,
}

impl Default for HedgeLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// A layer that learns together with the others that are made from clones of this. Its budget is its own.
impl From<Hedge> for HedgeLayer {
    fn from(hedge: Hedge) -> Self {
        let budget = hedge.settings().budget.map(Budget::new);
        let (observe, wall) = (Observe::default(), WallClock::default());
        let classify = ClassifyHttp;
        Self {
            shared: Arc::new(Shared { hedge, budget, deposits: true, classify, observe, wall, is_on: true }),
        }
    }
}

impl From<HedgeSettings> for HedgeLayer {
    fn from(settings: HedgeSettings) -> Self {
        Self::from(Hedge::new(settings))
    }
}

impl HedgeLayer {
    /// With the defaults: see [`HedgeSettings`].
    pub fn new() -> Self {
        Self::from(HedgeSettings::new())
    }
}

impl<C> HedgeLayer<C> {
    /// What is known of how long calls take.
    #[must_use]
    pub fn hedge(&self) -> Hedge {
        self.shared.hedge.clone()
    }
}

impl<C: Clone> HedgeLayer<C> {
    /// Take what further attempts cost from this budget, instead of from one of the layer's own. It is that of the
    /// [`retry`](crate::retry) around it, which counts the requests that fill it: here they are not counted again.
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|shared| {
            shared.budget = Some(budget);
            shared.deposits = false;
        })
    }

    /// Do without a budget. **A service that has become slow as a whole is then asked twice by everyone**, until it is known how
    /// slow it is.
    pub fn without_budget(self) -> Self {
        self.with(|shared| shared.budget = None)
    }

    /// Tell this observer what happens. Default: nobody.
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.with(|shared| shared.observe = Observe::by(observer))
    }

    /// Read the date in a `Retry-After` by this clock. Default: the system's.
    pub fn wall_clock(self, wall: WallClock) -> Self {
        self.with(|shared| shared.wall = wall)
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(self, on: bool) -> Self {
        self.with(|shared| shared.is_on = on)
    }

    /// Judge responses and errors by this. Default: [`ClassifyHttp`].
    pub fn classify<D>(self, classify: D) -> HedgeLayer<D> {
        let Shared { hedge, budget, deposits, classify: _, observe, wall, is_on } =
            Arc::unwrap_or_clone(self.shared);
        HedgeLayer { shared: Arc::new(Shared { hedge, budget, deposits, classify, observe, wall, is_on }) }
    }

    /// Whether nobody outside counts the requests that fill the budget.
    #[cfg(feature = "client")]
    pub(crate) fn counting(self, counts: bool) -> Self {
        self.with(|shared| shared.deposits = counts)
    }

    fn with(mut self, change: impl FnOnce(&mut Shared<C>)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S, C> Layer<S> for HedgeLayer<C> {
    type Service = HedgeService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService::with(inner, Arc::clone(&self.shared))
    }
}
