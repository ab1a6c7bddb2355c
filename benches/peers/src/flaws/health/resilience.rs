//! tower-resilience-healthcheck.

use std::time::Duration;

use tower_resilience_healthcheck::{HealthCheckConfig, HealthCheckWrapper, HealthChecker, HealthStatus};

use super::kit::{self, Begun, Does, EACH, FEW, HANGING, LIMIT, MANY};
use crate::flaws::{Found, block_on_paused};

/// An endpoint, by its number.
struct By(Begun, fn(usize) -> Does);

impl HealthChecker<usize> for By {
    async fn check(&self, endpoint: &usize) -> HealthStatus {
        self.0.clone().check(*endpoint, (self.1)(*endpoint)).await;
        HealthStatus::Healthy
    }
}

async fn started(
    endpoints: usize,
    begun: &Begun,
    does: fn(usize) -> Does,
    config: HealthCheckConfig,
) -> HealthCheckWrapper<usize, By> {
    let builder = HealthCheckWrapper::builder().with_checker(By(begun.clone(), does)).with_config(config);
    let add = |builder: tower_resilience_healthcheck::HealthCheckWrapperBuilder<_, _>, endpoint: usize| {
        builder.with_context(endpoint, endpoint.to_string())
    };
    let checks = (0..endpoints).fold(builder, add).build();
    checks.start().await;
    checks
}

pub(super) fn together() -> Found {
    block_on_paused(async {
        let begun = Begun::default();
        // The defaults: each five seconds.
        let _checks = started(MANY, &begun, |_| Does::Passes, HealthCheckConfig::default()).await;
        let (busiest, all) = kit::busiest(&begun).await;
        Found::new(busiest == MANY, format!("{busiest} of {all}"))
    })
}

pub(super) fn panics() -> Found {
    block_on_paused(async {
        let begun = Begun::default();
        let checks = started(1, &begun, |_| Does::PassesOnce, HealthCheckConfig::default()).await;
        let known = kit::after_panics(&begun, async || checks.get_status("0").await).await;
        Found::new(known == Some(HealthStatus::Healthy), format!("{known:?}"))
    })
}

pub(super) fn held_up() -> Found {
    block_on_paused(async {
        let begun = Begun::default();
        let does = |endpoint| if endpoint == HANGING { Does::Hangs } else { Does::Passes };
        let config = HealthCheckConfig::builder().interval(EACH).timeout(LIMIT);
        let config = config.initial_delay(Duration::ZERO).build();
        let _checks = started(FEW, &begun, does, config).await;
        let times = kit::held_up(&begun).await;
        Found::new(times <= 11, times.to_string())
    })
}
