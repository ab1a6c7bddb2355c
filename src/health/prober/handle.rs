use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::state::State;
use super::{Probe, ProberBuilder, ProberStats};
use crate::base::{Deadline, EndpointId, Fitness};

/// Probes a set of endpoints, and knows which of them are well. It is a handle: its clones share the set. See the [module](crate::health).
///
/// It probes in a task of its own, which ends with the last handle, and its probes with it.
#[derive(Clone)]
pub struct Prober {
    shared: Arc<Shared>,
}

struct Shared {
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Begin to build one that probes like this: with an [`HttpProbe`](super::HttpProbe), a [`GrpcProbe`](super::GrpcProbe), a
    /// [`TcpProbe`](super::TcpProbe), or a closure in [`probe_fn`](super::probe_fn).
    pub fn builder(probe: impl Probe) -> ProberBuilder {
        ProberBuilder::new(probe)
    }

    pub(super) fn new(state: Arc<State>, task: JoinHandle<()>) -> Self {
        Self { shared: Arc::new(Shared { state, task }) }
    }

    /// Probe these endpoints and no others. What is known of those that are there already stays known; of those that are not in
    /// the list, nothing is known any more, and a probe of theirs that is under way is dropped. Those that are new are probed soon: see
    /// the [module](crate::health).
    pub fn set(&self, endpoints: impl IntoIterator<Item = impl Into<EndpointId>>) {
        self.shared.state.set(endpoints.into_iter().map(Into::into).collect());
    }

    /// What is known of an endpoint: [`Unknown`](Fitness::Unknown) before its first result, and if it is not in the set.
    #[must_use]
    pub fn fitness(&self, endpoint: &EndpointId) -> Fitness {
        self.shared.state.roster().fitness(endpoint)
    }

    /// Waits until there is a first result of each endpoint in the set, whatever it is, and whoever wants to hear of changes has heard
    /// of it; but no longer than this. Says whether there is. Of no endpoints there is, at once; there will never be when the
    /// runtime has ended that the prober was built in.
    ///
    /// To be called before the first request, so that none goes to an endpoint of which nothing is known.
    ///
    /// # Cancellation
    ///
    /// Dropping the future only ends the waiting.
    pub async fn wait_first(&self, limit: Duration) -> bool {
        Deadline::within(limit).bound(self.shared.state.wait_first()).await.unwrap_or(false)
    }

    /// All that is known, with what the probes said.
    #[must_use]
    pub fn stats(&self) -> ProberStats {
        ProberStats { endpoints: self.shared.state.endpoints() }
    }

    /// The name it was given; empty if there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.state.name()
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("name", &self.name())
            .field("endpoints", &self.shared.state.roster().len())
            .finish_non_exhaustive()
    }
}
