//! The settings of a balancer as they stand in a file.

use std::time::Duration;

use super::{BalancerSettings, InvalidBalancer, OutlierSettings, Pick, WhenUnhealthy};
use crate::base::{Backoff, Ratio, human::Human, or_off::OrOff};

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of balancer settings")]
pub(super) struct Fields {
    backoff: Backoff,
    #[serde(with = "crate::base::human::plain")]
    check_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    decay: Duration,
    failovers: u32,
    outliers: OrOff<OutlierSettings>,
    overprovision_percent: u32,
    panic_threshold: Ratio,
    #[serde(with = "crate::base::human::plain")]
    penalty: Duration,
    pick: Pick,
    slow_start: OrOff<Human>,
    slow_start_aggression: f64,
    slow_start_least: Ratio,
    wait_for_endpoint: OrOff<Human>,
    when_unhealthy: WhenUnhealthy,
}

impl Default for Fields {
    fn default() -> Self {
        BalancerSettings::new().into()
    }
}

impl From<BalancerSettings> for Fields {
    fn from(settings: BalancerSettings) -> Self {
        Self {
            backoff: settings.backoff,
            check_timeout: settings.check_timeout,
            decay: settings.decay,
            failovers: settings.failovers,
            outliers: settings.outliers.into(),
            overprovision_percent: settings.overprovision_percent,
            panic_threshold: settings.panic_threshold,
            penalty: settings.penalty,
            pick: settings.pick,
            slow_start: settings.slow_start.map(Human).into(),
            slow_start_aggression: settings.slow_start_aggression,
            slow_start_least: settings.slow_start_least,
            wait_for_endpoint: settings.wait_for_endpoint.map(Human).into(),
            when_unhealthy: settings.when_unhealthy,
        }
    }
}

impl TryFrom<Fields> for BalancerSettings {
    type Error = InvalidBalancer;

    fn try_from(fields: Fields) -> Result<Self, InvalidBalancer> {
        let limit = |limit: OrOff<Human>| limit.into_option().map(|human| human.0);
        let settings = Self {
            backoff: fields.backoff,
            check_timeout: fields.check_timeout,
            decay: fields.decay,
            failovers: fields.failovers,
            outliers: fields.outliers.into_option(),
            overprovision_percent: fields.overprovision_percent,
            panic_threshold: fields.panic_threshold,
            penalty: fields.penalty,
            pick: fields.pick,
            slow_start: limit(fields.slow_start),
            slow_start_aggression: fields.slow_start_aggression,
            slow_start_least: fields.slow_start_least,
            wait_for_endpoint: limit(fields.wait_for_endpoint),
            when_unhealthy: fields.when_unhealthy,
        };
        settings.check().map(|()| settings)
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings for outliers")]
pub(super) struct Outliers {
    #[serde(with = "crate::base::human::plain")]
    base_ejection: Duration,
    consecutive_failures: OrOff<u32>,
    failure_share: OrOff<Ratio>,
    failure_share_calls: u32,
    #[serde(with = "crate::base::human::plain")]
    interval: Duration,
    max_ejected: Ratio,
    #[serde(with = "crate::base::human::plain")]
    max_ejection: Duration,
    min_endpoints: usize,
    success_rate: OrOff<f64>,
    success_rate_calls: u32,
}

impl Default for Outliers {
    fn default() -> Self {
        OutlierSettings::new().into()
    }
}

impl From<OutlierSettings> for Outliers {
    fn from(settings: OutlierSettings) -> Self {
        Self {
            base_ejection: settings.base_ejection,
            consecutive_failures: settings.consecutive_failures.into(),
            failure_share: settings.failure_share.into(),
            failure_share_calls: settings.failure_share_calls,
            interval: settings.interval,
            max_ejected: settings.max_ejected,
            max_ejection: settings.max_ejection,
            min_endpoints: settings.min_endpoints,
            success_rate: settings.success_rate.into(),
            success_rate_calls: settings.success_rate_calls,
        }
    }
}

impl TryFrom<Outliers> for OutlierSettings {
    type Error = InvalidBalancer;

    fn try_from(fields: Outliers) -> Result<Self, InvalidBalancer> {
        let settings = Self {
            base_ejection: fields.base_ejection,
            consecutive_failures: fields.consecutive_failures.into_option(),
            failure_share: fields.failure_share.into_option(),
            failure_share_calls: fields.failure_share_calls,
            interval: fields.interval,
            max_ejected: fields.max_ejected,
            max_ejection: fields.max_ejection,
            min_endpoints: fields.min_endpoints,
            success_rate: fields.success_rate.into_option(),
            success_rate_calls: fields.success_rate_calls,
        };
        settings.check().map(|()| settings)
    }
}
