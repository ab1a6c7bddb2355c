use std::time::Duration;

/// How often checks run, for how long, and what their results are worth. With the feature `serde` it can be read from a file and
/// written to one, durations as `"250ms"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::health::{Health, HealthSettings};
///
/// let settings = HealthSettings::new().interval(Duration::from_secs(5)).failures(3);
/// # #[cfg(feature = "serde")] {
/// let read: HealthSettings = serde_json::from_str(r#"{ "interval": "5s", "failures": 3 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<HealthSettings>(r#"{ "ttl": "9s" }"#).unwrap_err();
/// assert!(refused.to_string().contains("`ttl`"));
/// # }
/// let impossible = Health::builder().settings(settings.timeout(Duration::from_secs(6))).build();
/// assert!(impossible.unwrap_err().to_string().contains("`timeout`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until checks run by them"]
pub struct HealthSettings {
    pub(super) failures: u32,
    pub(super) interval: Duration,
    pub(super) show_output: bool,
    pub(super) startup_interval: Duration,
    pub(super) successes: u32,
    pub(super) timeout: Duration,
    pub(super) ttl: Duration,
}

impl HealthSettings {
    /// Every check each 10 s, for at most 2 s; two failures in a row count, and one success; a result counts for 30 s.
    pub const fn new() -> Self {
        Self {
            failures: 2,
            interval: Duration::from_secs(10),
            show_output: false,
            startup_interval: Duration::from_secs(1),
            successes: 1,
            timeout: Duration::from_secs(2),
            ttl: Duration::from_secs(30),
        }
    }

    /// The pause between the end of a check and its next start, give or take a tenth, so that replicas do not stay in step.
    /// Default: 10 s.
    pub const fn interval(mut self, pause: Duration) -> Self {
        self.interval = pause;
        self
    }

    /// The same for a startup check that has not passed yet. Default: 1 s.
    pub const fn startup_interval(mut self, pause: Duration) -> Self {
        self.startup_interval = pause;
        self
    }

    /// How long a check may take. One that takes longer is dropped, and has failed. Default: 2 s.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How long a result counts. An older one counts as failed, since whatever runs the checks does not run. Default: 30 s.
    pub const fn ttl(mut self, age: Duration) -> Self {
        self.ttl = age;
        self
    }

    /// How many failures in a row make a readiness check fail that has passed. Default: 2.
    pub const fn failures(mut self, in_a_row: u32) -> Self {
        self.failures = in_a_row;
        self
    }

    /// How many successes in a row make a readiness check pass that has failed. Default: 1.
    pub const fn successes(mut self, in_a_row: u32) -> Self {
        self.successes = in_a_row;
        self
    }

    /// Whether probes that ask for details are told what checks said, which may name hosts and users. Default: no, only the
    /// names of the checks and how they are.
    pub const fn show_output(mut self, show: bool) -> Self {
        self.show_output = show;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidHealth> {
        for (field, is_zero) in [
            ("failures", self.failures == 0),
            ("interval", self.interval.is_zero()),
            ("startup_interval", self.startup_interval.is_zero()),
            ("successes", self.successes == 0),
            ("timeout", self.timeout.is_zero()),
        ] {
            if is_zero {
                return Err(InvalidHealth::Zero { field });
            }
        }
        if self.timeout >= self.interval {
            return Err(InvalidHealth::TimeoutTooLong { timeout: self.timeout, interval: self.interval });
        }
        let least = self.longest_gap();
        if self.ttl < least {
            return Err(InvalidHealth::TtlTooShort { ttl: self.ttl, least });
        }
        Ok(())
    }

    /// The longest time between two results, if all goes well.
    fn longest_gap(&self) -> Duration {
        self.interval.saturating_add(self.interval / 10).saturating_add(self.timeout)
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// What health checks cannot be made from.
///
/// ```
/// use std::time::Duration;
/// use stonework::health::{Health, HealthSettings, InvalidHealth};
///
/// let settings = HealthSettings::new().interval(Duration::ZERO);
/// let refused = Health::builder().settings(settings).build().unwrap_err();
/// assert_eq!(refused, InvalidHealth::Zero { field: "interval" });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHealth {
    /// A name is used twice.
    #[error("two checks or two services are named `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name is none.
    #[error("`{name}` is no name: it has 1 to 128 visible ASCII characters and no space")]
    Name {
        /// What was given.
        name: String,
    },
    /// A check may take as long as the pause between two.
    #[error(
        "`timeout`, {timeout:?}, has to be shorter than `interval`, {interval:?}, or a check that hangs runs always"
    )]
    TimeoutTooLong {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// A result is too old before there is another.
    #[error("`ttl`, {ttl:?}, is at least {least:?}: `timeout`, and `interval` with its tenth")]
    TtlTooShort {
        /// The time to live.
        ttl: Duration,
        /// The least that it may be.
        least: Duration,
    },
    /// A setting is zero.
    #[error("`{field}` is more than zero")]
    Zero {
        /// Its name.
        field: &'static str,
    },
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of health settings")]
struct Fields {
    failures: u32,
    #[serde(with = "crate::base::human::plain")]
    interval: Duration,
    show_output: bool,
    #[serde(with = "crate::base::human::plain")]
    startup_interval: Duration,
    successes: u32,
    #[serde(with = "crate::base::human::plain")]
    timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    ttl: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        HealthSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<HealthSettings> for Fields {
    fn from(settings: HealthSettings) -> Self {
        let HealthSettings { failures, interval, show_output, startup_interval, successes, timeout, ttl } =
            settings;
        Self { failures, interval, show_output, startup_interval, successes, timeout, ttl }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for HealthSettings {
    type Error = InvalidHealth;

    fn try_from(fields: Fields) -> Result<Self, InvalidHealth> {
        let Fields { failures, interval, show_output, startup_interval, successes, timeout, ttl } = fields;
        let settings = Self { failures, interval, show_output, startup_interval, successes, timeout, ttl };
        settings.check().map(|()| settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let (new, second) = (HealthSettings::new, Duration::from_secs(1));
        for (settings, named) in [
            (new().failures(0), "`failures`"),
            (new().successes(0), "`successes`"),
            (new().interval(Duration::ZERO), "`interval`"),
            (new().startup_interval(Duration::ZERO), "`startup_interval`"),
            (new().timeout(Duration::ZERO), "`timeout`"),
            (new().timeout(10 * second), "`timeout`"),
            (new().ttl(Duration::from_millis(12_999)), "`ttl`"),
            (new().interval(Duration::MAX), "`ttl`"),
        ] {
            let refused = settings.check().unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        assert_eq!(new().check(), Ok(()));
        assert_eq!(new().timeout(Duration::from_millis(9_999)).check(), Ok(()));
        assert_eq!(new().ttl(13 * second).check(), Ok(()));
    }
}
