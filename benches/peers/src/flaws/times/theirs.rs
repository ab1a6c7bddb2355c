//! tower, tower-http, tower-resilience.

use http::StatusCode;
use tower::Layer;
use tower::timeout::Timeout;
use tower_http::timeout::{ResponseBodyTimeoutLayer, TimeoutLayer};
use tower_resilience_timelimiter::TimeLimiterLayer;

use super::kit::{self, LIMIT, NeverReady, READY, Streams, Told};
use crate::flaws::{Found, block_on};

pub(super) fn ready_tower() -> Found {
    block_on(async {
        let told = kit::told(Timeout::new(NeverReady, READY)).await;
        Found::new(told.is_none(), kit::when(told))
    })
}

pub(super) fn ready_tower_http() -> Found {
    block_on(async {
        let limit = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, READY);
        let told = kit::told(limit.layer(NeverReady)).await;
        Found::new(told.is_none(), kit::when(told))
    })
}

pub(super) fn ready_resilience() -> Found {
    block_on(async {
        let limit = TimeLimiterLayer::builder().timeout_duration(READY).build();
        let told = kit::told(limit.layer(NeverReady)).await;
        Found::new(told.is_none(), kit::when(told))
    })
}

pub(super) fn done() -> Found {
    block_on(async {
        let (tell, told) = Told::new();
        let limit = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, LIMIT);
        let seen = kit::looks_late(&mut limit.layer(told), tell).await;
        let (tell, told) = Told::new();
        let of_tower = kit::looks_late(&mut Timeout::new(told, LIMIT), tell).await;
        Found::new(seen == "504 Gateway Timeout", format!("{seen} (tower's own: {of_tower})"))
    })
}

pub(super) fn away() -> Found {
    block_on(async {
        let streams = Streams::default();
        let service = ResponseBodyTimeoutLayer::new(LIMIT).layer(streams.clone());
        let read = kit::reads_late(service, &streams).await;
        Found::new(read.contains("not received"), format!("\"{read}\""))
    })
}
