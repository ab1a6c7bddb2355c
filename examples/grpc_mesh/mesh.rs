//! All of it: A, three Bs behind a balancer with a prober, and C.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stonework::balance::{BalancerSettings, EndpointStats, OutlierSettings, Pick};
use stonework::base::{Backoff, BoxError, EndpointId, EndpointState, Event, Fitness, Observer};
use stonework::client::Client;
use stonework::health::{GrpcProbe, Prober, ProberSettings};
use stonework::testing::Recorder;
use tokio::time::{Instant, interval, timeout};

use crate::log::Log;
use crate::node::{Node, SERVICE};
use crate::services::{Checkout, Pricing, Stock};
use crate::stack::{Stack, WHOLE, bare, builder};

/// What the Bs are called together. Nobody looks this name up.
const PRICING: &str = "http://pricing.shop";
pub(crate) const NAMES: [&str; 3] = ["b1", "b2", "b3"];

/// How long it takes until one that has come back gets as much as the others.
pub(crate) const SLOW_START: Duration = Duration::from_millis(500);

/// How long A waits for a B, before it asks another: less than half of what a call may take.
const ATTEMPT: Duration = Duration::from_secs(2);

pub(crate) struct Mesh {
    pub(crate) log: Log,
    /// What the callers of A call through.
    pub(crate) front: Stack,
    /// What A's retries and its balancer have told.
    pub(crate) events: Recorder,
    pub(crate) bs: Vec<Node>,
    /// What A calls the Bs through.
    pricing: Client,
    probed: Probed,
    c: EndpointId,
    // They live as long as this.
    _nodes: [Node; 2],
}

impl Mesh {
    pub(crate) async fn start() -> Result<Self, BoxError> {
        let (log, events, probed) = (Log::default(), Recorder::new(), Probed::default());
        let c = Node::start(Stock { log: log.clone() }.methods(), 0).await?;
        let mut bs = Vec::new();
        for name in NAMES {
            bs.push(pricing(name, &log, &c.id(), 0).await?);
        }

        let ms = Duration::from_millis;
        let balancer = BalancerSettings::new()
            // The three are as good as each other, and whoever looks wants to see that.
            .pick(Pick::LeastLoaded)
            // Everything goes faster here than elsewhere, for the show is short.
            .slow_start(SLOW_START)
            .outliers(OutlierSettings::new().base_ejection(ms(500)))
            .backoff(Backoff::exponential(ms(50), ms(400))?);
        // Whoever stops is left alone within a second: that is two probes, each of which may take nearly all of its time.
        let probes = ProberSettings::new().interval(ms(400)).timeout(ms(350)).fall(2).rise(2);
        let (members, prober, told) = (bs.iter().map(Node::id).collect::<Vec<_>>(), bare()?, probed.clone());
        let calls = builder(ATTEMPT)?
            .observer(events.clone())
            .upstream(PRICING, move |pricing| {
                let probe = GrpcProbe::new(prober.clone()).service(SERVICE);
                pricing
                    .members(members.iter().map(EndpointId::as_str))
                    .settings(balancer.clone())
                    .inspect(Prober::builder(probe).settings(probes).observer(told.clone()))
            })
            .build()?;
        let stack = Stack::new(calls.clone(), PRICING)?;
        let a = Node::start(Checkout { log: log.clone(), pricing: stack }.methods(), 0).await?;
        let front = one(&a.id())?;
        Ok(Self { log, front, events, bs, pricing: calls, probed, c: c.id(), _nodes: [a, c] })
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
        self.until(|| self.probed.fitness(&self.bs[at].id()) == Fitness::Unfit && !self.is_ready(at)).await
    }

    /// Waits until it has found out that this B is well, and it is one of those who are asked.
    pub(crate) async fn taken_back(&self, at: usize) -> Result<Duration, BoxError> {
        self.until(|| self.probed.fitness(&self.bs[at].id()) == Fitness::Fit && self.is_ready(at)).await
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
        let (id, balancer) = (self.bs[at].id(), self.pricing.upstream(PRICING)?);
        balancer.stats().endpoints().iter().find(|stats| *stats.id() == id).cloned()
    }

    /// A way to a single B, past the balancer.
    pub(crate) fn to(&self, at: usize) -> Result<Stack, BoxError> {
        one(&self.bs[at].id())
    }
}

async fn pricing(name: &'static str, log: &Log, c: &EndpointId, port: u16) -> Result<Node, BoxError> {
    // Each has connections of its own, as another process would.
    let stock = one(c)?;
    Node::start(Pricing { name, log: log.clone(), stock }.methods(), port).await
}

/// A way to a single server: where there is no other to ask, an attempt may take as long as the call.
fn one(id: &EndpointId) -> Result<Stack, BoxError> {
    Ok(Stack::new(builder(WHOLE)?.build()?, &format!("http://{id}"))?)
}

/// What probes have found out last. It is a handle: one goes to the prober.
#[derive(Clone, Default)]
struct Probed(Arc<Mutex<BTreeMap<EndpointId, Fitness>>>);

impl Probed {
    fn fitness(&self, id: &EndpointId) -> Fitness {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).copied().unwrap_or(Fitness::Unknown)
    }
}

impl Observer for Probed {
    fn observe(&self, event: &Event) {
        if let Event::FitnessChanged { endpoint, to, .. } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint.clone(), *to);
        }
    }
}
