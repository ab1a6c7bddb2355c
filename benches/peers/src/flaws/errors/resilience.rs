//! tower-resilience: an enum for each layer, which names what is inside, and does not say that it is the cause.

use std::time::Duration;

use http::Request;
use tower::Layer;
use tower_resilience_adaptive::{AdaptiveLimiterLayer, Aimd};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use tower_resilience_coalesce::CoalesceLayer;
use tower_resilience_hedge::HedgeLayer;
use tower_resilience_ratelimiter::RateLimiterLayer;
use tower_resilience_timelimiter::TimeLimiterLayer;

use super::kit::{self, Down};
use crate::flaws::{Found, block_on};
use crate::rows::Content;

pub(super) fn chain() -> Found {
    block_on(async {
        let time = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(1)).build();
        let rate = RateLimiterLayer::builder().limit_for_period(10).build().expect("valid settings");
        let adaptive = AdaptiveLimiterLayer::new(Aimd::builder().build().expect("the defaults"));
        let circuit = CircuitBreakerLayer::builder().build().expect("the defaults");
        let coalesce = CoalesceLayer::new(|request: &Request<Content>| request.uri().to_string());
        let hedge = HedgeLayer::builder().delay(Duration::from_secs(1)).build();
        let bulkhead = BulkheadLayer::builder().max_concurrent_calls(10).build().expect("valid settings");
        let found = [
            kit::is_found(time.layer(Down)).await,
            kit::is_found(rate.layer(Down)).await,
            kit::is_found(adaptive.layer(Down)).await,
            kit::is_found(circuit.layer(Down)).await,
            kit::is_found(coalesce.layer(Down)).await,
            kit::is_found(hedge.layer(Down)).await,
            kit::is_found(bulkhead.layer(Down)).await,
        ];
        let (count, figures) = kit::counted(found);
        Found::new(count == 0, figures)
    })
}
