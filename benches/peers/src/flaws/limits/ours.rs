//! stonework's limits, to which the same is done.

use std::time::Duration;

use http::Request;
use stonework::base::{ByClient, Peer};
use stonework::limit::{
    AdaptiveSettings, Algorithm, ConcurrencyLimitLayer, ConcurrencyLimiter, KeyedRateLimiter, Quota,
    RateLimitLayer,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt};

use super::crowd::{self, ALONE, BEFORE, SLOW, Turns};
use super::kit::{self, Backend, CALLS, Does, PERIOD};
use super::left::{self, MANY};
use super::served::{self, PEERS, Well};
use crate::flaws::{Found, block_on, block_on_paused};

fn rate(quota: Quota) -> RateLimitLayer {
    RateLimitLayer::new(quota).expect("a valid quota")
}

fn concurrency(calls: usize) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(calls).expect("a valid limit")
}

pub(super) fn two_rates() -> Found {
    block_on(async {
        let (layer, backend) = (rate(Quota::per_hour(10)), Backend::new(Does::Answers));
        let answered = kit::answered([(); 2].map(|()| layer.layer(backend.clone())));
        Found::new(answered == 10, answered.to_string())
    })
}

pub(super) fn two_concurrencies() -> Found {
    block_on(async {
        let (layer, backend) = (concurrency(2), Backend::new(Does::Hangs));
        let reached = kit::in_flight([(); 2].map(|()| layer.layer(backend.clone())), &backend);
        Found::new(reached == 2, reached.to_string())
    })
}

pub(super) fn stream() -> Found {
    block_on(async {
        let answered = kit::streams(concurrency(2).layer(Backend::new(Does::Answers)));
        let until_head = kit::streams(concurrency(2).until_head().layer(Backend::new(Does::Answers)));
        Found::new((answered, until_head) == (2, 3), format!("{answered} (until head: {until_head})"))
    })
}

pub(super) fn budget() -> Found {
    block_on(async {
        let shed = kit::shed(concurrency(1).layer(Backend::new(Does::Answers))).await;
        Found::new(shed == 0, shed.to_string())
    })
}

pub(super) fn idle() -> Found {
    block_on(async {
        let service = concurrency(1).layer(Backend::new(Does::Answers));
        let [beside, without] = kit::beside_an_idle_one(service).await;
        Found::new([beside, without] == [100, 100], beside.to_string())
    })
}

pub(super) fn boundary() -> Found {
    block_on(async {
        let quota = Quota::new(CALLS, PERIOD);
        let (paced, _) = kit::around_the_boundary(rate(quota).layer(Backend::new(Does::Answers))).await;
        let layer = rate(quota.strict());
        let (strict, _) = kit::around_the_boundary(layer.layer(Backend::new(Does::Answers))).await;
        // In two fifths of a period.
        Found::new(paced <= 10 + 5 && strict <= 10, format!("{paced}, strict {strict}"))
    })
}

pub(super) fn overtaken() -> Found {
    block_on(async {
        let quota = Quota::new(1, Duration::from_millis(20));
        let layer = rate(quota).wait_up_to(Duration::from_secs(1));
        let (after, overtook) = kit::overtaken(layer.layer(Backend::new(Does::Answers))).await;
        let answered = after.map_or("refused".to_owned(), |after| format!("after {} ms", after.as_millis()));
        Found::new(
            after.is_some_and(|after| after < Duration::from_millis(100)) && overtook == 0,
            format!("{answered}, {overtook} others were before it"),
        )
    })
}

pub(super) fn stampede() -> Found {
    block_on(async {
        let quota = Quota::new(1, Duration::from_millis(10));
        let layer = rate(quota).wait_up_to(Duration::from_secs(5));
        let (polls, late) = kit::queued(layer.layer(Backend::new(Does::Answers))).await;
        Found::new(polls <= 2 * 30 && late == 0, format!("{polls}, {late} overtaken"))
    })
}

pub(super) fn queue() -> Found {
    block_on(async {
        let (service, mut calls) = (concurrency(2).layer(Backend::new(Does::Hangs)), JoinSet::new());
        for _ in 0..1_002 {
            calls.spawn(timeout(Duration::from_millis(200), service.clone().oneshot(Request::new(()))));
        }
        let told = calls.join_all().await.into_iter().filter(|ended| ended.is_ok()).count();
        Found::new(told == 1_000, told.to_string())
    })
}

// ───────────────────────────────────────────────────────────────────────────── on a server

fn of_peer(request: &Request<()>) -> Option<std::net::IpAddr> {
    Peer::of(request.extensions()).addr().map(|peer| peer.ip())
}

pub(super) fn retry_after() -> Found {
    block_on(async {
        let layer = rate(Quota::new(1, Duration::from_millis(900))).answer();
        let (refused, told) = served::obedient(layer.layer(Well)).await;
        Found::new(refused == 1 && told == "1", format!("{refused} time, Retry-After: {told}"))
    })
}

pub(super) fn forged() -> Found {
    block_on(async {
        let limiter = KeyedRateLimiter::new(Quota::per_minute(1).burst(5)).expect("a valid quota");
        let let_in = served::forged(RateLimitLayer::keyed(limiter, of_peer).answer().layer(Well)).await;
        Found::new(let_in == 5, format!("{let_in}, by Peer"))
    })
}

pub(super) fn per_second() -> Found {
    block_on(async {
        let let_in = served::eager(rate(Quota::per_second(4).burst(1)).answer().layer(Well)).await;
        Found::new((4..=5).contains(&let_in), let_in.to_string())
    })
}

pub(super) fn layer_growth() -> Found {
    block_on(async {
        let limiter = KeyedRateLimiter::new(Quota::per_second(1_000).burst(1)).expect("a valid quota");
        served::peers(RateLimitLayer::keyed(limiter.clone(), of_peer).answer().layer(Well)).await;
        let keys = limiter.len();
        Found::new(keys < PEERS as usize / 2, keys.to_string())
    })
}

pub(super) fn growth() -> Found {
    let limiter = KeyedRateLimiter::new(Quota::per_second(1)).expect("a valid quota");
    let (start, mut most) = (Instant::now(), 0);
    for key in 0..PEERS {
        assert!(limiter.try_take_at(start + Duration::from_millis(1) * key, &key, 1).is_ok());
        most = most.max(limiter.len());
    }
    Found::new(most < 5_000, most.to_string())
}

pub(super) fn slow() -> Found {
    block_on(async {
        let limiter = ConcurrencyLimiter::new(AdaptiveSettings::new()).expect("the defaults");
        let service = ConcurrencyLimitLayer::from(limiter.clone()).layer(Backend::new(Does::Takes(SLOW)));
        let answered = crowd::callers(service).await;
        let limit = limiter.limit();
        Found::new(answered > 150 && limit >= 10, format!("{answered}, {limit}"))
    })
}

fn finds_out(settings: AdaptiveSettings) -> (ConcurrencyLimitLayer, ConcurrencyLimiter) {
    let limiter = ConcurrencyLimiter::new(settings).expect("valid settings");
    (ConcurrencyLimitLayer::from(limiter.clone()), limiter)
}

pub(super) fn inflated() -> Found {
    block_on_paused(async {
        let (layer, limiter) = finds_out(AdaptiveSettings::new());
        crowd::one_by_one(&layer.layer(Turns::new(BEFORE)), ALONE).await;
        let limit = limiter.limit();
        Found::new(limit <= 20, format!("{limit}, as at first"))
    })
}

pub(super) fn given_up() -> Found {
    block_on_paused(async {
        let (turns, (layer, limiter)) = (Turns::new(BEFORE), finds_out(AdaptiveSettings::new()));
        crowd::given_up(layer.layer(turns.clone()), &turns).await;
        let limit = limiter.limit();
        Found::new(limit < 5, limit.to_string())
    })
}

pub(super) fn shifted() -> Found {
    block_on_paused(async {
        let settings = AdaptiveSettings::new().algorithm(Algorithm::Vegas);
        let (turns, (layer, limiter)) = (Turns::new(BEFORE), finds_out(settings));
        crowd::shifted(layer.layer(turns.clone()), &turns, Duration::from_secs(120)).await;
        let limit = limiter.limit();
        Found::new(limit >= 10, limit.to_string())
    })
}

pub(super) fn lost() -> Found {
    block_on(async {
        let service = rate(Quota::per_hour(10)).layer(Backend::new(Does::Answers));
        let answered = left::dropped_when_ready(service).await;
        Found::new(answered == 10, answered.to_string())
    })
}

pub(super) fn log() -> Found {
    let layer = || rate(Quota::per_hour(MANY).strict());
    let kilobytes = left::kilobytes(|| layer().layer(Backend::new(Does::Answers)));
    Found::new(kilobytes < 100, format!("{kilobytes} kB"))
}

pub(super) fn network() -> Found {
    block_on(async {
        let limiter = KeyedRateLimiter::new(Quota::per_minute(1).burst(5)).expect("a valid quota");
        let let_in = served::neighbours(RateLimitLayer::keyed(limiter, ByClient).answer().layer(Well)).await;
        Found::new(let_in == 5, let_in.to_string())
    })
}

pub(super) fn place() -> Found {
    block_on(async {
        let limiter = KeyedRateLimiter::new(Quota::per_minute(1)).expect("a valid quota");
        let layer = RateLimitLayer::keyed(limiter, of_peer).answer();
        let answered = served::beside_a_refused_one(layer.layer(ConcurrencyLimit::new(Well, 1))).await;
        Found::new(answered, served::said(answered))
    })
}
