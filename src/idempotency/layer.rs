use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use http::Request;
use tower_layer::Layer;

use super::core::Core;
use super::{IdempotencyService, IdempotencySettings, InvalidIdempotency, Store};
use crate::base::{Detach, KeyOf, Observe, Observer, Problem, Rng};

/// Does a keyed request once. See the [module](super), where an example stands.
///
/// `F` says which route a request is for, and `R` what a refusal looks like.
#[must_use = "a layer does nothing until it wraps a service"]
pub struct IdempotencyLayer<S, F = ByPath, R = Problem> {
    core: Arc<Core<S>>,
    route: F,
    refuse: R,
    on: bool,
}

impl<S: Store> IdempotencyLayer<S> {
    /// With what this store remembers.
    pub fn new(store: S) -> Self {
        let core = Core {
            store,
            settings: IdempotencySettings::new(),
            detach: Detach::default(),
            late: Detach::default(),
            detached: true,
            observe: Observe::default(),
            rng: Rng::from_entropy(),
            away: AtomicBool::new(false),
            refused: Mutex::default(),
        };
        Self { core: Arc::new(core), route: ByPath, refuse: Problem, on: true }
    }
}

impl<S, F, R> IdempotencyLayer<S, F, R> {
    /// Behave like this. Default: [`IdempotencySettings::new`].
    ///
    /// # Errors
    ///
    /// [`InvalidIdempotency`], which names a setting that cannot be.
    pub fn settings(mut self, settings: IdempotencySettings) -> Result<Self, InvalidIdempotency>
    where
        S: Clone,
    {
        settings.check()?;
        self.edit(|core| core.settings = settings);
        Ok(self)
    }

    /// Run handlers of keyed requests in this, so that they can be waited for: in place of one of the layer's own, in which there are up to
    /// 1024 at once.
    pub fn detach(mut self, detach: Detach) -> Self
    where
        S: Clone,
    {
        self.edit(|core| core.detach = detach);
        self
    }

    /// Let a keyed request end when its client has gone, as others do. What was done by then nobody knows, and whoever asks again is
    /// told so.
    pub fn attached(mut self) -> Self
    where
        S: Clone,
    {
        self.edit(|core| core.detached = false);
        self
    }

    /// Tell this observer what happens: [`KeyedReplayed`](crate::base::Event::KeyedReplayed), [`KeyedRefused`](crate::base::Event::KeyedRefused),
    /// [`KeyedLost`](crate::base::Event::KeyedLost). Default: nobody.
    ///
    /// ```
    /// use stonework::base::TracingObserver;
    /// use stonework::idempotency::{IdempotencyLayer, MemoryStore};
    ///
    /// let layer = IdempotencyLayer::new(MemoryStore::new()).observer(TracingObserver);
    /// # let _ = layer;
    /// ```
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self
    where
        S: Clone,
    {
        self.edit(|core| core.observe = Observe::by(observer));
        self
    }

    fn edit(&mut self, change: impl FnOnce(&mut Core<S>))
    where
        S: Clone,
    {
        let Core { store, settings, detach, late, detached, observe, rng, away: _, refused: _ } = &*self.core;
        let mut core = Core {
            store: store.clone(),
            settings: settings.clone(),
            detach: detach.clone(),
            late: late.clone(),
            detached: *detached,
            observe: observe.clone(),
            rng: rng.clone(),
            away: AtomicBool::new(false),
            refused: Mutex::default(),
        };
        change(&mut core);
        self.core = Arc::new(core);
    }

    /// A key belongs to this route, besides its sender and method; two requests to different routes may have one key and are two. Where
    /// paths have identifiers, and one of them chosen anew is still the same request, this is what they have in common. Default: the path.
    ///
    /// It is also the place for the host, where several are served from one store, and for more that tells senders apart, such as
    /// their address where nobody knows who they are: requests without a [`Principal`](crate::base::Principal), or with one that has no name,
    /// are all from the same one.
    ///
    /// ```
    /// use http::Request;
    /// use stonework::idempotency::{IdempotencyLayer, MemoryStore};
    ///
    /// let layer = IdempotencyLayer::new(MemoryStore::new()).route(|request: &Request<()>| {
    ///     let mut parts = request.uri().path().split('/').skip(1);
    ///     parts.next().unwrap_or_default().to_owned()
    /// });
    /// # let _ = layer;
    /// ```
    pub fn route<G>(self, route: G) -> IdempotencyLayer<S, G, R> {
        let Self { core, route: _, refuse, on } = self;
        IdempotencyLayer { core, route, refuse, on }
    }

    /// Refuse with a response made by `refuse`. Default: [`Problem`]. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<T>(self, refuse: T) -> IdempotencyLayer<S, F, T> {
        let Self { core, route, refuse: _, on } = self;
        IdempotencyLayer { core, route, refuse, on }
    }

    /// With `false`, switch the layer off; its type stays the same. **Keys are then of no account.**
    pub fn when(mut self, on: bool) -> Self {
        self.on &= on;
        self
    }

    /// What runs handlers of keyed requests: for [`ServerBuilder::detach`](../server/struct.ServerBuilder.html#method.detach), which
    /// waits for them.
    pub fn detached(&self) -> &Detach {
        &self.core.detach
    }
}

impl<S, F: Clone, R: Clone> Clone for IdempotencyLayer<S, F, R> {
    fn clone(&self) -> Self {
        let Self { core, route, refuse, on } = self;
        Self { core: Arc::clone(core), route: route.clone(), refuse: refuse.clone(), on: *on }
    }
}

impl<S, F, R> fmt::Debug for IdempotencyLayer<S, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("settings", &self.core.settings)
            .field("on", &self.on)
            .finish_non_exhaustive()
    }
}

impl<I, S, F: Clone, R: Clone> Layer<I> for IdempotencyLayer<S, F, R> {
    type Service = IdempotencyService<I, S, F, R>;

    fn layer(&self, inner: I) -> Self::Service {
        let core = self.on.then(|| Arc::clone(&self.core));
        IdempotencyService::with(inner, core, self.route.clone(), self.refuse.clone())
    }
}

/// By the path: what a [layer](IdempotencyLayer) takes for the route unless it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct ByPath;

impl<B> KeyOf<Request<B>> for ByPath {
    type Key = String;

    fn key_of(&self, request: &Request<B>) -> String {
        request.uri().path().to_owned()
    }
}
