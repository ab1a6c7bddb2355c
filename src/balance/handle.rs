use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::builder::BalancerBuilder;
use super::core::Core;
use super::stats::{BalancerStats, EndpointStats};
use super::{BalancerService, BalancerSettings, Member};
use crate::base::{Anchored, EndpointId, Fitness};

/// A set of endpoints, each with a service of its own, and what is known of each. It is a handle: its clones share the set.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use stonework::balance::{Balancer, Member};
/// use stonework::base::Fitness;
///
/// let balancer = Balancer::builder(|id| id.to_string()).members(["10.0.0.1:80"]).build().unwrap();
/// balancer.set([Member::new("10.0.0.1:80"), Member::new("10.0.0.2:80").weight(3)]);
/// assert_eq!(balancer.stats().endpoints().len(), 2);
///
/// // From whoever looks after health.
/// assert!(balancer.found(&"10.0.0.2:80".into(), Fitness::Unfit));
/// # }
/// ```
///
/// The set ends with its last handle, service or call; its tasks end with it. A task is there for each endpoint that is not ready, in
/// the runtime in which that was found out; where there was none, in that of the first call.
pub struct Balancer<S> {
    shared: Arc<Anchored<Core<S>>>,
}

impl<S> Balancer<S> {
    fn core(&self) -> &Arc<Core<S>> {
        self.shared.core()
    }
}

impl<S> Clone for Balancer<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Clone + Send + Sync + 'static> Balancer<S> {
    /// Begin to build one. `make` makes the service of an endpoint, with whatever belongs to that alone: a circuit, a limit, its
    /// connections.
    pub fn builder(make: impl Fn(&EndpointId) -> S + Send + Sync + 'static) -> BalancerBuilder<S> {
        BalancerBuilder::new(Box::new(make))
    }

    pub(super) const fn of(shared: Arc<Anchored<Core<S>>>) -> Self {
        Self { shared }
    }

    /// The balancer as a service: see [`BalancerService`].
    #[must_use]
    pub fn service(&self) -> BalancerService<S> {
        BalancerService::new(Arc::clone(&self.shared))
    }

    /// Have these endpoints and no others. Those that are there already stay as they are, but for their weight and tier; those that
    /// are not in the list get no more calls, and what is under way there goes on to its end. Of two of one name, the first counts.
    ///
    /// With nothing in it, calls fail with [`NoEndpoints`](super::NoEndpoints): by hand that is meant, where
    /// [discovery](super::Discover) is not believed.
    ///
    /// # Panics
    ///
    /// If making a service does.
    pub fn set(&self, members: impl IntoIterator<Item = impl Into<Member>>) {
        self.core().set(members.into_iter().map(Into::into).collect());
    }

    /// Somebody has looked at an endpoint from outside. One that is [`Unfit`](Fitness::Unfit) is left out until it is found to be
    /// [`Fit`](Fitness::Fit), which is believed at once, whatever was held against it, or until nobody looks any more
    /// ([`Unknown`](Fitness::Unknown)). Says whether there is such an endpoint.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn found(&self, endpoint: &EndpointId, fitness: Fitness) -> bool {
        self.core().found(endpoint, fitness)
    }

    /// What is known. This takes the lock that changes of endpoints take, and no call does.
    #[must_use]
    pub fn stats(&self) -> BalancerStats {
        let (ticks, decay) = (self.core().ticks(Instant::now()), self.core().settings.decay);
        let endpoints = self.core().look(|fleet| {
            let stats = fleet.entries.iter().map(|entry| EndpointStats {
                id: entry.member.id.clone(),
                state: entry.life.state(),
                weight: entry.member.weight,
                tier: entry.member.tier,
                calls: entry.endpoint.load.calls(),
                in_flight: entry.endpoint.load.in_flight(),
                latency: entry.endpoint.latency.time(ticks, decay),
            });
            stats.collect()
        });
        BalancerStats { endpoints }
    }

    /// Its settings.
    pub fn settings(&self) -> &BalancerSettings {
        &self.core().settings
    }

    /// What it does, in words.
    #[cfg(feature = "client")]
    pub(crate) fn told(&self) -> Told<'_> {
        Told(&self.core().settings, self.core().picker.is_some())
    }

    /// The name it was given; empty if there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core().name
    }
}

/// How a balancer picks, and what else it does, in words.
#[cfg(feature = "client")]
pub(crate) struct Told<'a>(&'a BalancerSettings, bool);

#[cfg(feature = "client")]
impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(settings, has_picker) = self;
        if !has_picker {
            return settings.fmt(f);
        }
        f.write_str("by a picker of its own")?;
        settings.after_the_pick(f)
    }
}

impl<S> fmt::Debug for Balancer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints = self.core().look(|fleet| fleet.entries.len());
        f.debug_struct("Balancer")
            .field("name", &self.core().name)
            .field("endpoints", &endpoints)
            .finish_non_exhaustive()
    }
}
