//! All of it: A, three Bs behind a balancer with a prober, and C.

use std::time::Duration;

use stonework::balance::{Balancer, BalancerSettings, EndpointStats, OutlierSettings, Pick};
use stonework::base::{Backoff, BoxError, ClassifyGrpc, EndpointId, EndpointState, Fitness};
use stonework::health::{GrpcProbe, Prober, ProberSettings};
use stonework::testing::Recorder;
use tokio::time::{Instant, interval, timeout};

use crate::log::Log;
use crate::node::{Node, SERVICE};
use crate::services::{Checkout, Pricing, Stock};
use crate::stack::{Endpoint, Stack, WHOLE, client, endpoint, stack};

pub(crate) const NAMES: [&str; 3] = ["b1", "b2", "b3"];

/// How long it takes until one that has come back gets as much as the others.
pub(crate) const SLOW_START: Duration = Duration::from_millis(500);

/// How long A waits for a B, before it asks another: less than half of what a call may take.
const ATTEMPT: Duration = Duration::from_secs(2);

pub(crate) struct Mesh {
    pub(crate) log: Log,
    /// What the callers of A call through.
    pub(crate) front: Stack,
    /// What A's retries, its balancer and the prober have told.
    pub(crate) events: Recorder,
    pub(crate) bs: Vec<Node>,
    balancer: Balancer<Endpoint>,
    c: EndpointId,
    prober: Prober,
    // They live as long as this.
    _nodes: [Node; 2],
}

impl Mesh {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let (log, events) = (Log::default(), Recorder::new());
        let c = Node::start(Stock { log: log.clone() }.methods(), 0).await?;
        let mut bs = Vec::new();
        for name in NAMES {
            bs.push(pricing(name, &log, &c.id(), 0).await?);
        }

        let ms = Duration::from_millis;
        let settings = BalancerSettings::new()
            // The three are as good as each other, and whoever looks wants to see that.
            .pick(Pick::LeastLoaded)
            // Everything goes faster here than elsewhere, for the show is short.
            .slow_start(SLOW_START)
            .outliers(OutlierSettings::new().base_ejection(ms(500)))
            .backoff(Backoff::exponential(ms(50), ms(400))?);
        let connections = client()?;
        let balancer = Balancer::builder(move |id| endpoint(&connections, id))
            .members(bs.iter().map(|b| b.id().to_string()))
            .settings(settings)
            .observer(events.clone())
            .build()?;
        let pricing = stack(balancer.service().classify(ClassifyGrpc), ATTEMPT, events.clone())?;
        let a = Node::start(Checkout { log: log.clone(), pricing }.methods(), 0).await?;
        let front = stack(endpoint(&client()?, &a.id()), WHOLE, Recorder::new())?;

        // Whoever stops is left alone within a second: that is two probes, each of which may take nearly all of its time.
        let probes = ProberSettings::new().interval(ms(400)).timeout(ms(350)).fall(2).rise(2);
        let told = balancer.clone();
        let prober = Prober::builder(GrpcProbe::new(client()?).service(SERVICE))
            .settings(probes)
            .observer(events.clone())
            .on_change(move |id, fitness| told.found(id, fitness))
            .build()?;
        prober.set(bs.iter().map(Node::id));
        Ok(Self { log, front, events, bs, balancer, c: c.id(), prober, _nodes: [a, c] })
    }

    /// Starts a B again where it was.
    pub(crate) async fn restart(&mut self, at: usize) -> Result<(), BoxError> {
        let port = self.bs[at].port();
        self.bs[at] = pricing(NAMES[at], &self.log, &self.c, port).await?;
        Ok(())
    }

    /// How often the balancer has sent something to this B.
    pub(crate) fn sent_to(&self, at: usize) -> Option<u64> {
        self.stats_of(at).map(|stats| stats.calls())
    }

    /// Waits until all Bs are, so that a scene begins like the one before.
    pub(crate) async fn all_well(&self) -> Result<(), BoxError> {
        for at in 0..self.bs.len() {
            self.taken_back(at).await?;
        }
        Ok(())
    }

    /// Waits until the prober has found out that this B is not well, and has said so.
    pub(crate) async fn left_alone(&self, at: usize) -> Result<Duration, BoxError> {
        self.until(|| self.prober.fitness(&self.bs[at].id()) == Fitness::Unfit && !self.is_ready(at)).await
    }

    /// Waits until it has found out that this B is well, and it is one of those who are asked.
    pub(crate) async fn taken_back(&self, at: usize) -> Result<Duration, BoxError> {
        self.until(|| self.prober.fitness(&self.bs[at].id()) == Fitness::Fit && self.is_ready(at)).await
    }

    /// Looks every now and then, for ten seconds at most, since it may never be. Says how long it took.
    async fn until(&self, holds: impl Fn() -> bool) -> Result<Duration, BoxError> {
        let (start, mut looks) = (Instant::now(), interval(Duration::from_millis(20)));
        let found = async {
            while !holds() {
                looks.tick().await;
            }
        };
        timeout(Duration::from_secs(10), found).await?;
        Ok(start.elapsed())
    }

    fn is_ready(&self, at: usize) -> bool {
        self.stats_of(at).is_some_and(|stats| stats.state() == EndpointState::Ready)
    }

    fn stats_of(&self, at: usize) -> Option<EndpointStats> {
        let id = self.bs[at].id();
        self.balancer.stats().endpoints().iter().find(|stats| *stats.id() == id).cloned()
    }

    /// A way to a single B, past the balancer.
    pub(crate) fn to(&self, at: usize) -> Result<Stack, BoxError> {
        Ok(stack(endpoint(&client()?, &self.bs[at].id()), WHOLE, Recorder::new())?)
    }
}

async fn pricing(name: &'static str, log: &Log, c: &EndpointId, port: u16) -> Result<Node, BoxError> {
    // Each has connections of its own, as another process would.
    let stock = stack(endpoint(&client()?, c), WHOLE, Recorder::new())?;
    Node::start(Pricing { name, log: log.clone(), stock }.methods(), port).await
}
