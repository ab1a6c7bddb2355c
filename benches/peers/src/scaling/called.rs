//! Layers whose services share something, over a service that does nothing.

use stonework::balance::{Balancer, BalancerSettings, Member};
use stonework::breaker::{BreakerLayer, BreakersLayer};
use stonework::coalesce::CoalesceLayer;
use stonework::hedge::HedgeLayer;
use stonework::limit::{AdaptiveThrottleLayer, ConcurrencyLimitLayer, RateLimitLayer, ServerQuotaLayer};
use stonework::retry::RetryLayer;
use tower::Layer;
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

use super::kit::{Handle, calls};
use super::{PERMITS, adaptive};
use crate::limit::layers::announced;
use crate::limit::ours;
use crate::wrapped::{Failsafe, Recloser};

const ENDPOINTS: usize = 10;

pub(super) fn handles() -> Vec<Handle> {
    let circuit = CircuitBreakerLayer::builder().build().expect("valid settings");
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(PERMITS).build().expect("valid settings");
    let fixed = || ConcurrencyLimitLayer::new(PERMITS).expect("a valid limit");
    vec![
        calls("bare", |no_op| no_op),
        calls("tower-resilience circuit breaker", |no_op| circuit.layer(no_op)),
        calls("failsafe", |no_op| Failsafe::new(no_op, failsafe::Config::new().build())),
        calls("recloser", |no_op| Recloser::new(no_op, recloser::Recloser::default())),
        calls("stonework Breaker", |no_op| BreakerLayer::new().layer(no_op)),
        calls("stonework Breakers, one host", |no_op| BreakersLayer::new().layer(no_op)),
        calls("tower ConcurrencyLimit", |no_op| {
            tower::limit::ConcurrencyLimitLayer::new(PERMITS).layer(no_op)
        }),
        calls("tower-resilience bulkhead", |no_op| bulkhead.layer(no_op)),
        calls("stonework ConcurrencyLimiter", |no_op| fixed().layer(no_op)),
        calls("stonework ConcurrencyLimiter, adaptive", |no_op| {
            ConcurrencyLimitLayer::new(adaptive()).expect("valid settings").layer(no_op)
        }),
        calls("stonework RateLimiter", |no_op| {
            RateLimitLayer::new(ours(true)).expect("a valid quota").layer(no_op)
        }),
        calls("stonework Budget, in RetryLayer", |no_op| RetryLayer::new().layer(no_op)),
        calls("stonework Hedge", |no_op| HedgeLayer::new().layer(no_op)),
        calls("stonework Balancer, ten endpoints", |no_op| {
            let members = (0..ENDPOINTS).map(|at| Member::new(format!("10.0.0.{at}:80")));
            let settings = BalancerSettings::new().without_slow_start();
            let balancer = Balancer::builder(move |_| no_op).members(members).settings(settings);
            balancer.build().expect("valid settings").service()
        }),
        calls("stonework CoalesceLayer, all ask the same", |no_op| CoalesceLayer::new().layer(no_op)),
        calls("stonework AdaptiveThrottle, one host", |no_op| AdaptiveThrottleLayer::default().layer(no_op)),
        calls("stonework ServerQuotas, nothing announced", |no_op| ServerQuotaLayer::new().layer(no_op)),
        calls("stonework ServerQuotas, a quota announced", |no_op| {
            ServerQuotaLayer::from(announced()).layer(no_op)
        }),
    ]
}
