//! stonework's, to which the same is done.

use std::time::Duration;

use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::coalesce::CoalesceLayer;
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::limit::{AdaptiveSettings, ConcurrencyLimitLayer, Quota, RateLimitLayer};
use stonework::timeout::TimeoutLayer;
use tower::Layer;

use super::kit::{self, Down};
use crate::flaws::{Found, block_on};

pub(super) fn chain() -> Found {
    block_on(async {
        let rate = RateLimitLayer::new(Quota::per_second(10)).expect("a valid quota");
        let adaptive = ConcurrencyLimitLayer::new(AdaptiveSettings::new()).expect("the defaults");
        let circuit = BreakerLayer::from(Breaker::new(BreakerSettings::new()).expect("the defaults"));
        let hedge = HedgeLayer::from(HedgeSettings::new().fixed_delay(Duration::from_secs(1)));
        let concurrency = ConcurrencyLimitLayer::new(10).expect("a valid limit");
        let found = [
            kit::is_found(TimeoutLayer::new(Duration::from_secs(1)).layer(Down)).await,
            kit::is_found(rate.layer(Down)).await,
            kit::is_found(adaptive.layer(Down)).await,
            kit::is_found(circuit.layer(Down)).await,
            kit::is_found(CoalesceLayer::new().layer(Down)).await,
            kit::is_found(hedge.layer(Down)).await,
            kit::is_found(concurrency.layer(Down)).await,
        ];
        let (count, figures) = kit::counted(found);
        Found::new(count == 7, figures)
    })
}
