use std::sync::Arc;
use std::time::Duration;

use crate::base::{EndpointId, Fitness};

/// What a prober knows, at one moment. See [`Prober::stats`](super::Prober::stats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProberStats {
    /// Every endpoint of the set, in the order of their names.
    pub endpoints: Vec<ProbedEndpoint>,
}

impl ProberStats {
    /// How many endpoints are known to be so.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use stonework::base::Fitness;
    /// use stonework::health::{Prober, TcpProbe};
    ///
    /// let prober = Prober::builder(TcpProbe).build().unwrap();
    /// prober.set(["10.0.0.7:80", "10.0.0.8:80"]);
    /// assert_eq!(prober.stats().count(Fitness::Unknown), 2);
    /// # }
    /// ```
    #[must_use]
    pub fn count(&self, fitness: Fitness) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.fitness == fitness).count()
    }
}

/// What is known of one endpoint: a part of what [`Prober::stats`](super::Prober::stats) tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbedEndpoint {
    /// Its name.
    pub id: EndpointId,
    /// What counts, thresholds considered.
    pub fitness: Fitness,
    /// A probe of it is under way.
    pub running: bool,
    /// How many of its probes have ended.
    pub probes: u64,
    /// How many of these have failed.
    pub failures: u64,
    /// The time since the last of them ended.
    pub age: Option<Duration>,
    /// What that said.
    pub output: Option<Arc<str>>,
}
