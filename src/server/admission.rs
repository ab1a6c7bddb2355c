//! What stands before the service, outermost first: what a request is called, what becomes of it, what is answered for a service that fails, who
//! is asking, how long it may take, and whether it may come in.

use std::sync::Arc;

use http::Request;
use tower_layer::Layer;

use super::ServerSettings;
use super::inside::{Inside, Within};
use super::instead::Instead;
use crate::base::body::Body;
use crate::base::{Answer, ByClient, Network, Priority, Problem, Ratio, Rng, X_REQUEST_ID};
use crate::limit::{
    Admission as Wait, ClientAddressLayer, ClientAddressService, ConcurrencyLimitLayer, ConcurrencyLimiter,
    Gated, Keyed, KeyedRateLimiter, Prioritized, QuotaAndRoom, QuotaAndRoomLayer,
};
use crate::observe::{Log, Naming, Parts, Received, Tracing};
use crate::timeout::{ReceiveDeadline, ReceiveDeadlineLayer};

type ByNetwork = Keyed<KeyedRateLimiter<Network>, ByClient>;

/// A service behind all of it.
pub(super) type Admitted<S> =
    Received<Instead<ClientAddressService<ReceiveDeadline<Counted<Within<S>>, Answer<Problem>>>>>;
type Counted<S> = Gated<S, QuotaAndRoom<ByNetwork, ByPriority>, Answer<Problem>>;
type ByPriority = Prioritized<ConcurrencyLimiter, PriorityOf>;
/// How much a request matters.
pub(super) type PriorityOf = fn(&Request<Body>) -> Priority;

/// The layers. Who it is has to be known first. Whoever has no quota left waits for no room, and what is refused because there is too much in flight
/// has not spent any: the two are one step. Nothing waits without a deadline, if there is one.
#[derive(Debug)]
pub(super) struct Admission {
    received: Option<Arc<Parts>>,
    address: ClientAddressLayer,
    deadline: ReceiveDeadlineLayer<Answer<Problem>>,
    limits: QuotaAndRoomLayer<ByNetwork, ByPriority, Answer<Problem>>,
    pub(super) limiter: Option<ConcurrencyLimiter>,
    pub(super) rates: Option<KeyedRateLimiter<Network>>,
    pub(super) inside: Inside,
}

impl Admission {
    /// The settings were checked.
    pub(super) fn new(
        settings: &ServerSettings,
        tls: bool,
        rng: &Rng,
        (limiter, rates): (Option<ConcurrencyLimiter>, Option<KeyedRateLimiter<Network>>),
        priority: Option<PriorityOf>,
        inside: Inside,
    ) -> Self {
        let own = || settings.concurrency.and_then(|settings| ConcurrencyLimiter::new(settings).ok());
        let limiter = limiter.or_else(own);
        let own = || settings.rate_limit.and_then(|quota| KeyedRateLimiter::named("client", quota).ok());
        let rates = rates.or_else(own);
        // One that is switched off holds a limiter that nobody asks.
        let unlimited = || ConcurrencyLimiter::new(1).expect("more than zero");
        let concurrency = ConcurrencyLimitLayer::from(limiter.clone().unwrap_or_else(unlimited));
        Self {
            received: received(settings, tls, rng),
            address: ClientAddressLayer::new(settings.trusted_proxies.clone()),
            deadline: deadline(settings).answer(),
            limits: concurrency
                .admission(match settings.queue_timeout {
                    _ if settings.overload_queue => Wait::Queue,
                    Some(time) => Wait::WaitUpTo(time),
                    None => Wait::Reject,
                })
                .priority(priority.unwrap_or(|_| Priority::Interactive))
                .answer()
                .when(limiter.is_some())
                .with_quota(rates.clone().map(|rates| Keyed::new(rates, ByClient))),
            limiter,
            rates,
            inside,
        }
    }

    pub(super) fn around<S, B>(&self, service: S) -> Admitted<S>
    where
        S: super::bounds::Served<B>,
        B: super::bounds::Sent,
    {
        let service = self.inside.around(service);
        let service = self.address.layer(self.deadline.layer(self.limits.layer(service)));
        Received::with(Instead::of(service), self.received.clone())
    }
}

fn received(settings: &ServerSettings, tls: bool, rng: &Rng) -> Option<Arc<Parts>> {
    let naming = |accept_from| Naming { accept_from, header: X_REQUEST_ID, rng: rng.clone() };
    let tracing = |accept_from| Tracing { accept_from, sample: Ratio::ONE, rng: rng.clone() };
    let parts = Parts {
        request_id: settings.request_id_from.clone().map(naming),
        trace: settings.trace_from.clone().map(tracing),
        span: settings.request_span,
        log: settings.access_log.then_some(Log { paths: settings.access_log_paths }),
        #[cfg(feature = "metrics")]
        metrics: settings.metrics,
        #[cfg(not(feature = "metrics"))]
        metrics: false,
        scheme: Some(if tls { "https" } else { "http" }),
    };
    parts.does_anything().then(|| Arc::new(parts))
}

fn deadline(settings: &ServerSettings) -> ReceiveDeadlineLayer {
    let layer = ReceiveDeadlineLayer::by_kind(settings.deadline_header.clone());
    let layer = match &settings.deadline_from {
        Some(peers) => layer.believe(peers.clone()),
        None => layer.reads(false),
    };
    match settings.deadline {
        Some(limit) => layer.at_most(limit),
        None => layer,
    }
}
