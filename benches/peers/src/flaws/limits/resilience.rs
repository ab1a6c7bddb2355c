//! tower-resilience: the rate limiter, the bulkhead and the adaptive limit.

use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tower_resilience_adaptive::{
    AdaptiveLimiterLayer, AdaptiveService, Aimd, ConcurrencyAlgorithm, Gradient2, Vegas,
};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_ratelimiter::{RateLimiterConfigBuilder, RateLimiterLayer, WindowType};

use super::crowd::{self, AFTER, ALONE, BEFORE, SLOW, Turns};
use super::kit::{self, Backend, CALLS, Does, PERIOD};
use super::left::{self, MANY};
use crate::flaws::{Found, block_on, block_on_paused};

/// The defaults, but that nobody waits: a fixed window.
fn rate(calls: usize, period: Duration) -> RateLimiterConfigBuilder {
    RateLimiterLayer::builder()
        .limit_for_period(calls)
        .refresh_period(period)
        .timeout_duration(Duration::ZERO)
}

pub(super) fn two_rates() -> Found {
    block_on(async {
        let (backend, hourly) = (Backend::new(Does::Answers), || rate(10, Duration::from_secs(60 * 60)));
        let layer = hourly().build().expect("valid settings");
        let answered = kit::answered([(); 2].map(|()| layer.layer(backend.clone())));
        let (layer, _) = hourly().build_with_handle().expect("valid settings");
        let handled = kit::answered([(); 2].map(|()| layer.layer(backend.clone())));
        Found::new((answered, handled) == (20, 10), format!("{answered} (built with a handle: {handled})"))
    })
}

pub(super) fn two_concurrencies() -> Found {
    block_on(async {
        let two = || BulkheadLayer::builder().max_concurrent_calls(2).reject_when_full();
        let (layer, backend) = (two().build().expect("valid settings"), Backend::new(Does::Hangs));
        let reached = kit::in_flight([(); 2].map(|()| layer.layer(backend.clone())), &backend);
        let (layer, _) = two().build_with_handle().expect("valid settings");
        let backend = Backend::new(Does::Hangs);
        let handled = kit::in_flight([(); 2].map(|()| layer.layer(backend.clone())), &backend);
        Found::new((reached, handled) == (4, 2), format!("{reached} (built with a handle: {handled})"))
    })
}

pub(super) fn stream() -> Found {
    block_on(async {
        let layer = BulkheadLayer::builder().max_concurrent_calls(2).reject_when_full().build();
        let answered = kit::streams(layer.expect("valid settings").layer(Backend::new(Does::Answers)));
        Found::new(answered == 3, answered.to_string())
    })
}

pub(super) fn boundary() -> Found {
    block_on(async {
        let layer = rate(CALLS as usize, PERIOD).build().expect("valid settings");
        let (calls, took) = kit::around_the_boundary(layer.layer(Backend::new(Does::Answers))).await;
        Found::new(calls > 15, format!("{calls} in {} ms", took.as_millis()))
    })
}

pub(super) fn overtaken() -> Found {
    block_on(async {
        let layer = rate(1, Duration::from_millis(20)).timeout_duration(Duration::from_secs(1)).build();
        let service = layer.expect("valid settings").layer(Backend::new(Does::Answers));
        let (after, overtook) = kit::overtaken(service).await;
        let answered =
            after.map_or("refused after 1 s".to_owned(), |after| format!("after {} ms", after.as_millis()));
        Found::new(
            after.is_none_or(|after| after > Duration::from_millis(100)) && overtook >= 5,
            format!("{answered}, {overtook} others were before it"),
        )
    })
}

pub(super) fn stampede() -> Found {
    block_on(async {
        let layer = rate(1, Duration::from_millis(10)).timeout_duration(Duration::from_secs(5)).build();
        let service = layer.expect("valid settings").layer(Backend::new(Does::Answers));
        let (polls, late) = kit::queued(service).await;
        Found::new(polls > 300, format!("{polls}, {late} overtaken"))
    })
}

pub(super) fn queue() -> Found {
    block_on(async {
        let layer = BulkheadLayer::builder().max_concurrent_calls(2).build().expect("valid settings");
        let (service, mut calls) = (layer.layer(Backend::new(Does::Hangs)), JoinSet::new());
        for _ in 0..1_002 {
            calls.spawn(timeout(Duration::from_millis(200), service.clone().oneshot(Request::new(()))));
        }
        let told = calls.join_all().await.into_iter().filter(|ended| ended.is_ok()).count();
        Found::new(told == 0, told.to_string())
    })
}

pub(super) fn slow() -> Found {
    block_on(async {
        let limit = AdaptiveLimiterLayer::new(Aimd::builder().build().expect("the defaults"));
        let service = limit.layer(Backend::new(Does::Takes(SLOW)));
        let answered = crowd::callers(service.clone()).await;
        let limit = service.limit();
        Found::new(answered < 50 && limit == 1, format!("{answered}, {limit}"))
    })
}

fn aimd(turns: &Turns) -> AdaptiveService<Turns, Aimd> {
    AdaptiveLimiterLayer::new(Aimd::builder().build().expect("the defaults")).layer(turns.clone())
}

pub(super) fn inflated() -> Found {
    block_on_paused(async {
        let service = aimd(&Turns::new(BEFORE));
        crowd::one_by_one(&service, ALONE).await;
        let limit = service.limit();
        // Which knows how many are in flight.
        let gradient = AdaptiveLimiterLayer::new(Gradient2::builder().build().expect("the defaults"));
        let service = gradient.layer(Turns::new(BEFORE));
        crowd::one_by_one(&service, ALONE).await;
        let other = service.limit();
        Found::new(limit == 100, format!("{limit}, the most that it may be (its Gradient2: {other})"))
    })
}

pub(super) fn given_up() -> Found {
    block_on_paused(async {
        let turns = Turns::new(BEFORE);
        let service = aimd(&turns);
        crowd::given_up(service.clone(), &turns).await;
        let limit = service.limit();
        Found::new(limit == 100, limit.to_string())
    })
}

pub(super) fn shifted() -> Found {
    // It reads the system's clock.
    block_on(async {
        let turns = Turns::new(BEFORE);
        let vegas = AdaptiveLimiterLayer::new(Vegas::builder().build().expect("the defaults"));
        let service = vegas.layer(turns.clone());
        crowd::shifted(service.clone(), &turns, Duration::from_secs(3)).await;
        let soon = service.limit();
        // As if a long time had gone by, with as many calls as ten callers make in half an hour.
        for _ in 0..1_000_000 {
            service.algorithm().record_success(AFTER);
        }
        let late = service.limit();
        // One or two, by how short the shortest of the first calls was.
        Found::new(soon <= 2 && late <= 2, late.to_string())
    })
}

pub(super) fn lost() -> Found {
    block_on(async {
        let layer = rate(10, Duration::from_secs(60 * 60)).backpressure().build().expect("valid settings");
        let answered = left::dropped_when_ready(layer.layer(Backend::new(Does::Answers))).await;
        Found::new(answered == 0, answered.to_string())
    })
}

pub(super) fn log() -> Found {
    let exact = rate(MANY as usize, Duration::from_secs(60 * 60)).window_type(WindowType::SlidingLog);
    let layer = exact.build().expect("valid settings");
    let kilobytes = left::kilobytes(|| layer.layer(Backend::new(Does::Answers)));
    Found::new(kilobytes > 10_000, format!("{kilobytes} kB"))
}
