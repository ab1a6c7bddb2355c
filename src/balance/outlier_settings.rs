use std::fmt;
use std::time::Duration;

use super::InvalidBalancer;
use crate::base::Ratio;

/// When an endpoint is left out because it does badly, and for how long: a part of [`BalancerSettings`](super::BalancerSettings).
///
/// ```
/// use std::time::Duration;
/// use stonework::balance::{BalancerSettings, OutlierSettings};
///
/// let outliers = OutlierSettings::new().consecutive_failures(3).base_ejection(Duration::from_secs(10));
/// let settings = BalancerSettings::new().outliers(outliers);
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Outliers", into = "super::file::Outliers"))]
#[must_use = "settings do nothing until a balancer is made from them"]
pub struct OutlierSettings {
    pub(super) base_ejection: Duration,
    pub(super) consecutive_failures: Option<u32>,
    pub(super) failure_share: Option<Ratio>,
    pub(super) failure_share_calls: u32,
    pub(super) interval: Duration,
    pub(super) max_ejected: Ratio,
    pub(super) max_ejection: Duration,
    pub(super) min_endpoints: usize,
    pub(super) success_rate: Option<f64>,
    pub(super) success_rate_calls: u32,
}

impl OutlierSettings {
    /// Five failures in a row, a success rate 1.9 standard deviations below the mean, or 85 % failures; for 30 s, and as much
    /// longer each time, up to 300 s; never more than half of the endpoints. The setters say more.
    pub const fn new() -> Self {
        Self {
            base_ejection: Duration::from_secs(30),
            consecutive_failures: Some(5),
            failure_share: Some(Ratio::percent(85)),
            failure_share_calls: 50,
            interval: Duration::from_secs(10),
            max_ejected: Ratio::percent(50),
            max_ejection: Duration::from_secs(300),
            min_endpoints: 5,
            success_rate: Some(1.9),
            success_rate_calls: 100,
        }
    }

    /// Leave out after so many failures with no success in between. Default: 5.
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = Some(failures);
        self
    }

    /// Do not look at failures in a row. In a file: `consecutive_failures = "off"`.
    pub const fn without_consecutive_failures(mut self) -> Self {
        self.consecutive_failures = None;
        self
    }

    /// Leave out whose share of successes in an interval is further below the mean of all than so many standard deviations.
    /// Default: 1.9.
    pub const fn success_rate(mut self, deviations: f64) -> Self {
        self.success_rate = Some(deviations);
        self
    }

    /// Do not compare success rates. In a file: `success_rate = "off"`.
    pub const fn without_success_rate(mut self) -> Self {
        self.success_rate = None;
        self
    }

    /// How many calls of an interval it takes to be compared by success rate. Default: 100.
    pub const fn success_rate_calls(mut self, calls: u32) -> Self {
        self.success_rate_calls = calls;
        self
    }

    /// Leave out of whose calls in an interval at least this share failed. Default: 85 %.
    pub const fn failure_share(mut self, share: Ratio) -> Self {
        self.failure_share = Some(share);
        self
    }

    /// Do not look at shares of failures. In a file: `failure_share = "off"`.
    pub const fn without_failure_share(mut self) -> Self {
        self.failure_share = None;
        self
    }

    /// How many calls of an interval it takes for their share of failures to count. Default: 50.
    pub const fn failure_share_calls(mut self, calls: u32) -> Self {
        self.failure_share_calls = calls;
        self
    }

    /// How many endpoints with enough calls it takes for any to be compared with the others. Default: 5.
    pub const fn min_endpoints(mut self, endpoints: usize) -> Self {
        self.min_endpoints = endpoints;
        self
    }

    /// How long calls are counted before shares are looked at. An endpoint that has not been left out again for so long is one
    /// step nearer to the [base](Self::base_ejection). Default: 10 s.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long one is left out that was not before; the second time twice as long, and so on. Up to a tenth is added by chance.
    /// Default: 30 s.
    pub const fn base_ejection(mut self, time: Duration) -> Self {
        self.base_ejection = time;
        self
    }

    /// How long one is left out at the most, but for that tenth. Default: 300 s.
    pub const fn max_ejection(mut self, time: Duration) -> Self {
        self.max_ejection = time;
        self
    }

    /// The share of the endpoints that may be left out at once, rounded down; but always one, and never the only one there
    /// is. Default: 50 %. What was [found unfit](super::Balancer::found) from outside is not bounded by it, and counts.
    pub const fn max_ejected(mut self, share: Ratio) -> Self {
        self.max_ejected = share;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidBalancer> {
        for (field, is_zero) in [
            ("base_ejection", self.base_ejection.is_zero()),
            ("consecutive_failures", self.consecutive_failures == Some(0)),
            ("failure_share", self.failure_share == Some(Ratio::ZERO)),
            ("failure_share_calls", self.failure_share_calls == 0),
            ("interval", self.interval.is_zero()),
            ("max_ejected", self.max_ejected == Ratio::ZERO),
            ("max_ejection", self.max_ejection.is_zero()),
            ("success_rate_calls", self.success_rate_calls == 0),
        ] {
            if is_zero {
                return Err(InvalidBalancer::Zero { field });
            }
        }
        if self.success_rate.is_some_and(|deviations| !(deviations > 0.0 && deviations.is_finite())) {
            return Err(InvalidBalancer::NoNumber { field: "success_rate" });
        }
        Ok(())
    }
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// `after 5 failures in a row, …`
impl fmt::Display for OutlierSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut or = "after ";
        if let Some(failures) = self.consecutive_failures {
            write!(f, "{or}{failures} failures in a row")?;
            or = " or ";
        }
        if let Some(deviations) = self.success_rate {
            write!(f, "{or}a success rate {deviations} deviations below the mean")?;
            or = " or ";
        }
        if let Some(share) = self.failure_share {
            write!(f, "{or}{share} failures")?;
        }
        write!(
            f,
            ", for {:?} up to {:?}, {} of them at the most",
            self.base_ejection, self.max_ejection, self.max_ejected
        )
    }
}
