//! All of it: A, three Bs behind a balancer with a prober, and C.

use std::time::Duration;

use stonework::balance::{Balancer, BalancerSettings, EndpointStats, Pick};
use stonework::base::{Backoff, BoxError, ClassifyGrpc, EndpointId, EndpointState};
use stonework::health::{GrpcProbe, Prober, ProberSettings};
use stonework::testing::Recorder;

use crate::log::Log;
use crate::node::{Node, SERVICE};
use crate::services::{Checkout, Pricing, Stock};
use crate::stack::{Endpoint, Stack, client, endpoint, stack};

pub(crate) const NAMES: [&str; 3] = ["b1", "b2", "b3"];

pub(crate) struct Mesh {
    pub(crate) log: Log,
    /// What the callers of A call through.
    pub(crate) front: Stack,
    /// What A's retries, its balancer and the prober have told.
    pub(crate) events: Recorder,
    pub(crate) bs: Vec<Node>,
    balancer: Balancer<Endpoint>,
    c: EndpointId,
    // They live as long as this.
    _prober: Prober,
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
            .slow_start(ms(500))
            .backoff(Backoff::exponential(ms(50), ms(400))?);
        let connections = client()?;
        let balancer = Balancer::builder(move |id| endpoint(&connections, id))
            .members(bs.iter().map(|b| b.id().to_string()))
            .settings(settings)
            .observer(events.clone())
            .build()?;
        let pricing = stack(balancer.service().classify(ClassifyGrpc), events.clone())?;
        let a = Node::start(Checkout { log: log.clone(), pricing }.methods(), 0).await?;
        let front = stack(endpoint(&client()?, &a.id()), Recorder::new())?;

        // Whoever stops is left alone within a second: that is two probes, each of which may take nearly all of its time.
        let probes = ProberSettings::new().interval(ms(400)).timeout(ms(350)).fall(2).rise(2);
        let told = balancer.clone();
        let prober = Prober::builder(GrpcProbe::new(client()?).service(SERVICE))
            .settings(probes)
            .observer(events.clone())
            .on_change(move |id, fitness| told.found(id, fitness))
            .build()?;
        prober.set(bs.iter().map(Node::id));
        if !prober.wait_first(Duration::from_secs(10)).await {
            return Err("the servers did not come up".into());
        }
        Ok(Self { log, front, events, bs, balancer, c: c.id(), _prober: prober, _nodes: [a, c] })
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

    /// What the balancer thinks of this B.
    pub(crate) fn state_of(&self, at: usize) -> Option<EndpointState> {
        self.stats_of(at).map(|stats| stats.state())
    }

    fn stats_of(&self, at: usize) -> Option<EndpointStats> {
        let id = self.bs[at].id();
        self.balancer.stats().endpoints().iter().find(|stats| *stats.id() == id).cloned()
    }

    /// A way to a single B, past the balancer.
    pub(crate) fn to(&self, at: usize) -> Result<Stack, BoxError> {
        Ok(stack(endpoint(&client()?, &self.bs[at].id()), Recorder::new())?)
    }
}

async fn pricing(name: &'static str, log: &Log, c: &EndpointId, port: u16) -> Result<Node, BoxError> {
    // Each has connections of its own, as another process would.
    let stock = stack(endpoint(&client()?, c), Recorder::new())?;
    Node::start(Pricing { name, log: log.clone(), stock }.methods(), port).await
}
