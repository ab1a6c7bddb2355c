use std::fmt;
use std::sync::Arc;

use super::probe::AnyProbe;
use super::state::{OnChange, State};
use super::task::Task;
use super::{Probe, Prober, ProberSettings};
use crate::base::{EndpointId, Fitness, Observe, Observer, Rng};
use crate::health::InvalidHealth;

/// Builds a [`Prober`]. The order of the setters does not matter.
#[must_use = "a builder does nothing until it is built"]
pub struct ProberBuilder {
    probe: Arc<dyn AnyProbe>,
    settings: ProberSettings,
    name: Arc<str>,
    on_change: Option<OnChange>,
    observe: Observe,
    rng: Rng,
}

impl ProberBuilder {
    pub(super) fn new(probe: impl Probe) -> Self {
        Self {
            probe: Arc::new(probe),
            settings: ProberSettings::new(),
            name: "".into(),
            on_change: None,
            observe: Observe::default(),
            rng: Rng::default(),
        }
    }

    /// Everything that is data. Default: [`ProberSettings::new`].
    pub const fn settings(mut self, settings: ProberSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What to call it in events. Default: nothing.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Call this when something else is known of an endpoint than before: a balancer wants to hear of it. It is called by one task, in
    /// the order of the changes, with no lock held; it must not block. With a handle of this prober in it, the prober would never end.
    ///
    /// An endpoint that is removed, and every endpoint when the prober ends, is [`Unknown`](Fitness::Unknown) if anything was known
    /// of it: so nobody leaves out for ever what nobody looks at any more. What it returns is of no account.
    pub fn on_change<R>(
        mut self,
        on_change: impl Fn(&EndpointId, Fitness) -> R + Send + Sync + 'static,
    ) -> Self {
        self.on_change = Some(Box::new(move |endpoint, fitness| drop(on_change(endpoint, fitness))));
        self
    }

    /// Call this too, and first, so that it is called whatever the other does.
    #[cfg(all(feature = "balance", feature = "client"))]
    pub(crate) fn and_on_change(
        mut self,
        also: impl Fn(&EndpointId, Fitness) + Send + Sync + 'static,
    ) -> Self {
        let other = self.on_change.take();
        self.on_change(move |endpoint, fitness| {
            also(endpoint, fitness);
            if let Some(other) = &other {
                other(endpoint, fitness);
            }
        })
    }

    /// What [`build`](Self::build) would say of the settings.
    #[cfg(all(feature = "balance", feature = "client"))]
    pub(crate) fn check(&self) -> Result<(), InvalidHealth> {
        self.settings.check()
    }

    /// Tell this observer of every such change: [`FitnessChanged`](crate::base::Event::FitnessChanged), with what the probe said.
    /// Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        self
    }

    /// Draw from here: the order of endpoints, and jitter. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Starts the task that probes. It has no endpoints yet.
    ///
    /// # Errors
    ///
    /// [`InvalidHealth`], which names the setting that cannot be.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    pub fn build(self) -> Result<Prober, InvalidHealth> {
        let Self { probe, settings, name, on_change, observe, rng } = self;
        settings.check()?;
        let state = Arc::new(State::new(settings, name, (observe, on_change), rng));
        let task = tokio::spawn(Task::new(Arc::clone(&state), probe).run());
        Ok(Prober::new(state, task))
    }
}

impl fmt::Debug for ProberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProberBuilder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
