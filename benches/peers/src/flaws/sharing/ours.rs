//! stonework's, to which the same is done.

use std::time::Duration;

use http::Method;
use stonework::base::{Backoff, CircuitState};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::coalesce::CoalesceLayer;
use stonework::limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer};
use stonework::pool::{Pool, PoolSettings};
use stonework::retry::{RetryLayer, RetrySettings};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::kit::{self, Backend, CONNECTS, Does, FailsOnce, RATE, TAKES};
use crate::flaws::{Found, block_on, block_on_paused};
use crate::pool::kit::{Broken, By, Things};

pub(super) fn buffer() -> Found {
    block_on(async {
        let rate = RateLimitLayer::new(Quota::per_second(RATE)).expect("a valid quota");
        let answered = kit::answered(rate.layer(FailsOnce::default())).await;
        Found::new(answered == 19, answered.to_string())
    })
}

pub(super) fn spin_coalesce() -> Found {
    block_on(async {
        let backend = Backend::new(Does::Takes(TAKES));
        let polls = kit::polls_beside(CoalesceLayer::new().layer(backend.clone()), &backend).await;
        Found::new(polls < 10, polls.to_string())
    })
}

pub(super) fn leader() -> Found {
    block_on(async {
        let backend = Backend::new(Does::Takes(TAKES));
        let answered = kit::without_the_first(CoalesceLayer::new().layer(backend.clone()), &backend).await;
        Found::new(answered == 4 && backend.done() == 1, answered.to_string())
    })
}

pub(super) fn spin_outlier() -> Found {
    block_on(async {
        let pause = Backoff::constant(TAKES).expect("a valid pause");
        let settings = BreakerSettings::new().window_of_calls(5).min_calls(5).open_time(pause);
        let breaker = Breaker::new(settings).expect("valid settings");
        let layer = BreakerLayer::from(breaker.clone());
        for _ in 0..5 {
            let broken = layer.clone().layer(Backend::new(Does::Fails));
            assert!(broken.oneshot(kit::request(Method::GET)).await.is_err(), "it fails");
        }
        assert_eq!(breaker.state(), CircuitState::Open, "five failures in a row");
        let waits = layer.not_ready_when_open().layer(Backend::new(Does::Takes(Duration::ZERO)));
        let polls = kit::polls(waits).await;
        Found::new(polls < 10, polls.to_string())
    })
}

/// Connected after a while.
#[derive(Clone)]
struct Slow;

impl Things for Slow {
    async fn make(&self) -> Result<u32, Broken> {
        sleep(CONNECTS).await;
        Ok(7)
    }

    async fn ask(&self, _: u32) -> Result<(), Broken> {
        Ok(())
    }
}

pub(super) fn forgotten() -> Found {
    block_on(async {
        let pool =
            Pool::builder(By(Slow)).settings(PoolSettings::new().max(2)).build().expect("valid settings");
        let get = || {
            let pool = pool.clone();
            async move { pool.get().await.is_ok() }
        };
        let served = kit::served(get).await;
        Found::new(served == 2, served.to_string())
    })
}

pub(super) fn again() -> Found {
    block_on(async {
        let pauses = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
        let backend = Backend::new(Does::Fails);
        let service = RetryLayer::from(RetrySettings::new().backoff(pauses)).layer(backend.clone());
        let done = kit::posts(service, &backend).await;
        Found::new(done == 1, done.to_string())
    })
}

pub(super) fn idle_buffer() -> Found {
    block_on_paused(async {
        let limit = ConcurrencyLimitLayer::new(2).expect("a valid limit");
        let answered = kit::beside_two_idle(limit.layer(Backend::new(Does::Takes(Duration::ZERO)))).await;
        Found::new(answered, kit::said(answered))
    })
}
