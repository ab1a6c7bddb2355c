use std::time::Duration;

use crate::connect::InvalidConnector;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a name is looked up again by [`DnsDiscovery`](super::DnsDiscovery). With the feature `serde` it can be read from a file and written
/// to one: durations as `"5s"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::connect::{DiscoverySettings, DnsDiscovery, SystemResolver};
///
/// let settings = DiscoverySettings::new().interval(Duration::from_secs(5));
/// # #[cfg(feature = "serde")] {
/// let read: DiscoverySettings = serde_json::from_str(r#"{ "interval": "5s" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// let discovery = DnsDiscovery::new(SystemResolver::new(), "orders.internal", 8080).settings(settings)?;
/// # let _ = discovery;
/// # Ok::<(), stonework::connect::InvalidConnector>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a name is followed by them"]
pub struct DiscoverySettings {
    pub(super) interval: Duration,
    pub(super) max_interval: Duration,
    pub(super) min_interval: Duration,
    pub(super) timeout: Duration,
}

impl DiscoverySettings {
    /// When the time to live is over, within a second and five minutes; every 30 s, if nobody knows that.
    pub const fn new() -> Self {
        Self {
            interval: Duration::from_secs(30),
            max_interval: Duration::from_secs(300),
            min_interval: SECOND,
            timeout: Duration::from_secs(10),
        }
    }

    /// How long addresses are good for if the resolver does not say; and the longest pause after a lookup that failed, which begins
    /// with [`min_interval`](Self::min_interval) and doubles. From 1 s to a day. Default: 30 s.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long addresses are good for at most, whatever their time to live. From 1 s to a day. Default: 5 minutes.
    pub const fn max_interval(mut self, longest: Duration) -> Self {
        self.max_interval = longest;
        self
    }

    /// How long it is at least until the next lookup, whatever the time to live and whoever asks for one. From 1 s to a day.
    /// Default: 1 s.
    pub const fn min_interval(mut self, shortest: Duration) -> Self {
        self.min_interval = shortest;
        self
    }

    /// When a lookup is given up, and has failed. Up to a day. Default: 10 s.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidConnector> {
        for (setting, value, least) in [
            ("interval", self.interval, self.min_interval),
            ("max_interval", self.max_interval, self.min_interval),
            ("min_interval", self.min_interval, SECOND),
            ("timeout", self.timeout, Duration::from_millis(1)),
        ] {
            if value < least || value > DAY {
                return Err(InvalidConnector::OutOfRange { setting, least, most: DAY });
            }
        }
        Ok(())
    }
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let new = DiscoverySettings::new;
        for (settings, named) in [
            (new().min_interval(Duration::from_millis(999)), "`min_interval`"),
            (new().min_interval(31 * SECOND), "`interval`"),
            (new().min_interval(2 * DAY), "`interval`"),
            (new().max_interval(Duration::ZERO), "`max_interval`"),
            (new().max_interval(Duration::MAX), "`max_interval`"),
            (new().timeout(Duration::ZERO), "`timeout`"),
        ] {
            let refused = settings.check().unwrap_err().to_string();
            assert!(refused.contains(named), "{refused}");
        }
        assert_eq!(new().check(), Ok(()));
    }
}
