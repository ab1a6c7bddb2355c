use std::time::Duration;

use crate::health::InvalidHealth;

/// How often endpoints are probed, for how long, and what the results are worth. With the feature `serde` it can be read from a file and
/// written to one, durations as `"250ms"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::health::{Prober, ProberSettings, TcpProbe};
///
/// let settings = ProberSettings::new().interval(Duration::from_secs(5)).fall(2);
/// # #[cfg(feature = "serde")] {
/// let read: ProberSettings = serde_json::from_str(r#"{ "interval": "5s", "fall": 2 }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<ProberSettings>(r#"{ "timeout": "10s" }"#).unwrap_err();
/// assert!(refused.to_string().contains("`timeout`"));
/// # }
/// let impossible = Prober::builder(TcpProbe).settings(settings.timeout(Duration::from_secs(5))).build();
/// assert!(impossible.unwrap_err().to_string().contains("`timeout`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until endpoints are probed by them"]
pub struct ProberSettings {
    pub(super) fall: u32,
    pub(super) interval: Duration,
    pub(super) max_at_once: usize,
    pub(super) rise: u32,
    pub(super) timeout: Duration,
}

impl ProberSettings {
    /// Every endpoint each 10 s, for at most 2 s; three failures in a row count, and two successes; a hundred probes at once.
    pub const fn new() -> Self {
        Self {
            fall: 3,
            interval: Duration::from_secs(10),
            max_at_once: 100,
            rise: 2,
            timeout: Duration::from_secs(2),
        }
    }

    /// How many failures in a row it takes until an endpoint that is fit is unfit. The first result of an endpoint counts
    /// at once, whatever it is. Default: 3.
    pub const fn fall(mut self, in_a_row: u32) -> Self {
        self.fall = in_a_row;
        self
    }

    /// The time from one probe of an endpoint to its next, give or take a tenth. Where endpoints come and go, one of them may wait
    /// for up to twice as long, once. Default: 10 s.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How many probes may be under way at once, each of them of another endpoint. While there are as many, no other starts: where a
    /// thousand endpoints hang, each is probed less often, and nothing runs out of sockets. Default: 100.
    pub const fn max_at_once(mut self, probes: usize) -> Self {
        self.max_at_once = probes;
        self
    }

    /// How many successes in a row it takes until an endpoint that is unfit is fit. Default: 2.
    pub const fn rise(mut self, in_a_row: u32) -> Self {
        self.rise = in_a_row;
        self
    }

    /// How long a probe may take, connecting included; less than [`interval`](Self::interval). One that takes longer is dropped, and
    /// has failed. Default: 2 s.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidHealth> {
        for (field, is_zero) in [
            ("fall", self.fall == 0),
            ("interval", self.interval.is_zero()),
            ("max_at_once", self.max_at_once == 0),
            ("rise", self.rise == 0),
            ("timeout", self.timeout.is_zero()),
        ] {
            if is_zero {
                return Err(InvalidHealth::Zero { field });
            }
        }
        if self.timeout >= self.interval {
            return Err(InvalidHealth::TimeoutTooLong { timeout: self.timeout, interval: self.interval });
        }
        Ok(())
    }
}

impl Default for ProberSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings for probes")]
struct Fields {
    fall: u32,
    #[serde(with = "crate::base::human::plain")]
    interval: Duration,
    max_at_once: usize,
    rise: u32,
    #[serde(with = "crate::base::human::plain")]
    timeout: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        ProberSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<ProberSettings> for Fields {
    fn from(settings: ProberSettings) -> Self {
        let ProberSettings { fall, interval, max_at_once, rise, timeout } = settings;
        Self { fall, interval, max_at_once, rise, timeout }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for ProberSettings {
    type Error = InvalidHealth;

    fn try_from(fields: Fields) -> Result<Self, InvalidHealth> {
        let Fields { fall, interval, max_at_once, rise, timeout } = fields;
        let settings = Self { fall, interval, max_at_once, rise, timeout };
        settings.check().map(|()| settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let (new, second) = (ProberSettings::new, Duration::from_secs(1));
        for (settings, named) in [
            (new().fall(0), "`fall`"),
            (new().rise(0), "`rise`"),
            (new().interval(Duration::ZERO), "`interval`"),
            (new().max_at_once(0), "`max_at_once`"),
            (new().timeout(Duration::ZERO), "`timeout`"),
            (new().timeout(10 * second), "`timeout`"),
        ] {
            let refused = settings.check().unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        assert_eq!(new().check(), Ok(()));
        assert_eq!(new().timeout(Duration::from_millis(9_999)).check(), Ok(()));
        assert_eq!(new().interval(Duration::MAX).check(), Ok(()));
    }
}
