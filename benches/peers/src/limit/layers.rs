//! The rows of the comparison `limit`: layers over a service that does nothing, whose limit is never met.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use stonework::limit::{
    AdaptiveSettings, AdaptiveThrottleLayer, ConcurrencyLimitLayer, ConcurrencySettings, KeyedRateLimiter,
    RateLimitLayer, ServerQuotaLayer, ServerQuotas,
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_ratelimiter::RateLimiterLayer;

use super::{ours, queue};
use crate::measure::{Calls, Subject, at_once};
use crate::rows::{Answer, Broken, Content, Kind, NoOp, Row, plain};

/// What a rate limit may cost.
const MOST: Kind = Kind::Limit { nanos: Some(50) };
const FREE: Kind = Kind::Limit { nanos: None };
/// So many that none is ever refused.
const MANY: u64 = 1 << 40;
const PERMITS: usize = 1_000;

const MEMORY: &str = "body in memory";
/// tower_governor answers with nothing else.
const AXUM: &str = "body of axum's";

pub(crate) fn rows(waits: bool) -> Vec<Row> {
    let no_op = NoOp { waits };
    let rate = || RateLimitLayer::new(ours(true)).expect("a valid quota");
    let concurrency = || ConcurrencyLimitLayer::new(PERMITS).expect("a valid limit");
    let adaptive = || {
        let settings = ConcurrencySettings::adaptive(AdaptiveSettings::new());
        ConcurrencyLimitLayer::new(settings).expect("valid settings")
    };
    let keyed = || KeyedRateLimiter::new(ours(true)).expect("a valid quota");
    let client = |_: &Request<Content>| black_box(CLIENT);
    let second = Duration::from_secs(1);
    let resilience =
        RateLimiterLayer::builder().limit_for_period(MANY as usize).build().expect("valid settings");
    let bulkhead = || BulkheadLayer::builder().max_concurrent_calls(PERMITS);
    let queue = bulkhead().build().expect("valid settings");
    let rejecting = bulkhead().reject_when_full().build().expect("valid settings");
    let mut rows = vec![
        row("bare", Kind::Bare, no_op),
        // It cannot be cloned, and so not be shared.
        alone("tower RateLimit", Kind::Peer, tower::limit::RateLimitLayer::new(MANY, second).layer(no_op)),
        row("tower-resilience rate limiter", Kind::Peer, resilience.layer(no_op)),
        row("stonework RateLimitLayer", MOST, rate().layer(no_op)),
        row("stonework RateLimitLayer, plain", FREE, rate().plain().layer(no_op)),
        row("stonework RateLimitLayer, answer", Kind::Fields, rate().answer().layer(no_op)),
        row("the same without fields", FREE, rate().answer().without_fields().layer(no_op)),
        row("stonework RateLimitLayer, keyed", FREE, RateLimitLayer::keyed(keyed(), client).layer(no_op)),
        row(
            "tower ConcurrencyLimit",
            Kind::Peer,
            tower::limit::ConcurrencyLimitLayer::new(PERMITS).layer(no_op),
        ),
        row("tower-resilience bulkhead", Kind::Peer, queue.layer(no_op)),
        row("tower-resilience bulkhead, rejecting", Kind::Peer, rejecting.layer(no_op)),
        row("stonework ConcurrencyLimitLayer", FREE, concurrency().layer(no_op)),
        row("stonework ConcurrencyLimitLayer, until head", FREE, concurrency().until_head().layer(no_op)),
        row("stonework ConcurrencyLimitLayer, plain", FREE, concurrency().plain().layer(no_op)),
        row("stonework ConcurrencyLimitLayer, answer", FREE, concurrency().answer().layer(no_op)),
        row("stonework ConcurrencyLimitLayer, adaptive", FREE, adaptive().layer(no_op)),
        row("stonework AdaptiveThrottleLayer", FREE, AdaptiveThrottleLayer::default().layer(no_op)),
        row("stonework ServerQuotaLayer", FREE, ServerQuotaLayer::new().layer(no_op)),
        row(
            "stonework ServerQuotaLayer, a quota announced",
            FREE,
            ServerQuotaLayer::from(announced()).layer(no_op),
        ),
    ];
    let (no_op, key) = (Axum(no_op), || RateLimitLayer::keyed(keyed(), client).answer());
    let mut governor =
        GovernorConfigBuilder::default().per_nanosecond(1).burst_size(u32::MAX).key_extractor(Client);
    let silent = GovernorLayer::new(governor.finish().expect("valid settings"));
    let telling = GovernorLayer::new(governor.use_headers().finish().expect("valid settings"));
    let axum = [
        row("bare", Kind::Bare, no_op),
        row("tower_governor", Kind::Peer, silent.layer(no_op)),
        row(
            "stonework RateLimitLayer, keyed, answer without fields",
            FREE,
            key().without_fields().layer(no_op),
        ),
        row("tower_governor, with fields", Kind::Peer, telling.layer(no_op)),
        row("stonework RateLimitLayer, keyed, answer", Kind::Fields, key().layer(no_op)),
    ];
    rows.extend(axum.map(|row| Row { head: AXUM, ..row }));
    rows.extend(queue::rows());
    rows
}

/// Clones of the service share one limit.
fn row<S, B>(name: &'static str, kind: Kind, service: S) -> Row
where
    S: Service<Request<Content>, Response = Response<B>> + Clone + Send + Sync + 'static,
{
    // The request is made by the thread that uses it, and shares no memory with another's.
    let subject =
        move || -> Box<dyn Subject> { Box::new(Calls::new(service.clone(), plain(), Request::clone)) };
    Row { name, head: MEMORY, kind, peer: None, subject: subject(), shared: Some(Box::new(subject)) }
}

/// A server has said that it takes so many that none is refused.
pub(crate) fn announced() -> ServerQuotas {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let quotas = ServerQuotas::new().longest(HOUR);
    let says = service_fn(|_: Request<Content>| async {
        let response = Response::builder().header("ratelimit", r#""all";r=900000000000000;t=3600"#);
        Ok::<_, Broken>(response.body(Content::default()).expect("a field"))
    });
    let mut service = ServerQuotaLayer::from(quotas.clone()).layer(says);
    let called = at_once(async { service.ready().await.ok()?.call(plain()).await.ok() });
    assert!(called.is_some() && quotas.len() == 1, "it is known");
    quotas
}

fn alone(name: &'static str, kind: Kind, service: impl Service<Request<Content>> + 'static) -> Row {
    let subject = Box::new(Calls::new(service, plain(), Request::clone));
    Row { name, head: MEMORY, kind, peer: None, subject, shared: None }
}

/// All calls are of one client: what it takes to find out whose they are is not the limit's.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

#[derive(Clone)]
struct Client;

impl KeyExtractor for Client {
    type Key = IpAddr;

    fn extract<T>(&self, _: &Request<T>) -> Result<IpAddr, GovernorError> {
        Ok(black_box(CLIENT))
    }
}

/// The same with a body of axum's.
#[derive(Clone, Copy)]
struct Axum(NoOp);

impl Service<Request<Content>> for Axum {
    type Response = Response<Body>;
    type Error = Broken;
    type Future = AxumAnswer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Service::<Request<Content>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, request: Request<Content>) -> AxumAnswer {
        AxumAnswer(self.0.call(request))
    }
}

struct AxumAnswer(Answer);

impl Future for AxumAnswer {
    type Output = Result<Response<Body>, Broken>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(|_| Response::new(Body::empty()))
    }
}
