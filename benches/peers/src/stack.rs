//! The rows of the comparison `stack`: all that a client wants, in one stack, over a service that does nothing.

use http::Request;
use stonework::base::{Event, Observer};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::limit::{AdaptiveSettings, ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings};
use stonework::retry::RetryLayer;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{Layer, Service};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

use crate::measure::{Calls, Subject};
use crate::rows::{
    Content, Copying, Kind, LIMIT, NO_HEADERS, Never, NoOp, Row, limiter, plain, resilience_retry,
};

/// So many calls that none is refused.
const PERMITS: usize = 1_000;

/// It has no breaker.
pub(crate) const TOWER: &str = "tower Timeout, Retry, ConcurrencyLimit, Timeout";
pub(crate) const RESILIENCE: &str = "tower-resilience time limiter, retry, circuit breaker, bulkhead";
/// Each is told of what happens.
pub(crate) const OURS: &str = "stonework deadline, retry, breaker, adaptive limit, attempt timeout";

pub(crate) fn rows(waits: bool) -> Vec<Row> {
    let no_op = NoOp { waits };
    let timeout = tower::timeout::TimeoutLayer::new(LIMIT);
    let permits = tower::limit::ConcurrencyLimitLayer::new(PERMITS);
    let circuit = CircuitBreakerLayer::builder().build().expect("valid settings");
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(PERMITS).build().expect("valid settings");
    let resilience = tower::ServiceBuilder::new()
        .layer(limiter())
        .layer(resilience_retry())
        .layer(circuit)
        .layer(bulkhead);
    let towers =
        timeout.layer(tower::retry::RetryLayer::new(Never).layer(permits.layer(timeout.layer(no_op))));
    vec![
        row("bare", Kind::Bare, None, no_op),
        row("a copy of the request", Kind::Copy, None, Copying(no_op)),
        row(TOWER, Kind::Peer, None, towers),
        row(RESILIENCE, Kind::Peer, Some(TOWER), resilience.service(no_op)),
        row(OURS, Kind::Keeper, Some(TOWER), ours(no_op)),
    ]
}

/// With the defaults of each, and an observer where there can be one.
fn ours(no_op: NoOp) -> impl Service<Request<Content>> + 'static {
    let breaker = Breaker::new(BreakerSettings::new()).expect("valid settings").observer(Listens);
    let limiter = ConcurrencyLimiter::new(ConcurrencySettings::adaptive(AdaptiveSettings::new()));
    let attempt = AttemptTimeoutLayer::new(LIMIT).layer(no_op);
    let limited = ConcurrencyLimitLayer::from(limiter.expect("valid settings")).layer(attempt);
    let guarded = BreakerLayer::from(breaker).layer(limited);
    TimeoutLayer::new(LIMIT).layer(RetryLayer::new().observer(Listens).layer(guarded))
}

struct Listens;

impl Observer for Listens {
    fn observe(&self, event: &Event) {
        std::hint::black_box(event);
    }
}

fn row<S>(name: &'static str, kind: Kind, peer: Option<&'static str>, service: S) -> Row
where
    S: Service<Request<Content>> + 'static,
{
    let subject: Box<dyn Subject> = Box::new(Calls::new(service, plain(), Request::clone));
    Row { name, head: NO_HEADERS, kind, peer, subject, shared: None }
}
