//! governor and tower_governor.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::{Quota, RateLimiter};
use tower::Layer;
use tower::limit::ConcurrencyLimit;
use tower_governor::GovernorLayer;
use tower_governor::governor::{Governor, GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::{KeyExtractor, PeerIpKeyExtractor, SmartIpKeyExtractor};

use super::served::{self, PEERS, Well};
use crate::flaws::{Found, block_on};

type Config<K> = Arc<GovernorConfig<K, NoOpMiddleware<governor::clock::QuantaInstant>>>;
type Service<K> = Governor<K, NoOpMiddleware<governor::clock::QuantaInstant>, Well, axum::body::Body>;

fn over<K: KeyExtractor>(
    config: Option<GovernorConfig<K, NoOpMiddleware<governor::clock::QuantaInstant>>>,
) -> (Service<K>, Config<K>) {
    let config = Arc::new(config.expect("valid settings"));
    (GovernorLayer::new(Arc::clone(&config)).layer(Well), config)
}

pub(super) fn retry_after() -> Found {
    block_on(async {
        let config = GovernorConfigBuilder::default().per_millisecond(900).burst_size(1).finish();
        let (refused, told) = served::obedient(over(config).0).await;
        Found::new(refused > 10 && told == "0", format!("{refused} times, Retry-After: {told}"))
    })
}

pub(super) fn forged() -> Found {
    block_on(async {
        let mut five = GovernorConfigBuilder::default();
        five.per_second(60).burst_size(5);
        let smart = served::forged(over(five.key_extractor(SmartIpKeyExtractor).finish()).0).await;
        let peer = served::forged(over(five.key_extractor(PeerIpKeyExtractor).finish()).0).await;
        Found::new(smart == 200, format!("{smart} by SmartIpKeyExtractor ({peer} by PeerIpKeyExtractor)"))
    })
}

pub(super) fn network() -> Found {
    block_on(async {
        let mut five = GovernorConfigBuilder::default();
        let five = five.per_second(60).burst_size(5).key_extractor(PeerIpKeyExtractor).finish();
        let let_in = served::neighbours(over(five).0).await;
        Found::new(let_in == 200, let_in.to_string())
    })
}

pub(super) fn place() -> Found {
    block_on(async {
        let config = GovernorConfigBuilder::default().per_second(60).burst_size(1).finish();
        let layer = GovernorLayer::new(Arc::new(config.expect("valid settings")));
        let answered = served::beside_a_refused_one(layer.layer(ConcurrencyLimit::new(Well, 1))).await;
        Found::new(!answered, served::said(answered))
    })
}

pub(super) fn per_second() -> Found {
    block_on(async {
        let config = GovernorConfigBuilder::default().per_second(4).burst_size(1).finish();
        let let_in = served::eager(over(config).0).await;
        Found::new(let_in == 1, let_in.to_string())
    })
}

pub(super) fn layer_growth() -> Found {
    block_on(async {
        let (service, config) =
            over(GovernorConfigBuilder::default().per_millisecond(1).burst_size(1).finish());
        served::peers(service).await;
        let keys = config.limiter().len();
        Found::new(keys == PEERS as usize, keys.to_string())
    })
}

pub(super) fn growth() -> Found {
    let (clock, quota) = (FakeRelativeClock::default(), Quota::per_second(NonZeroU32::MIN));
    let limiter = RateLimiter::dashmap_with_clock(quota, clock.clone());
    for key in 0..PEERS {
        assert!(limiter.check_key(&key).is_ok());
        clock.advance(Duration::from_millis(1));
    }
    let most = limiter.len();
    limiter.retain_recent();
    Found::new(most == PEERS as usize, format!("{most} (after retain_recent: {})", limiter.len()))
}
