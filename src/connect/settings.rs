use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How connections of TCP are made and kept. With the feature `serde` it can be read from a file and written to one: durations as
/// `"250ms"`, what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::connect::{Connector, TcpSettings};
///
/// let settings = TcpSettings::new().keepalive(Duration::from_secs(60)).without_user_timeout();
/// # #[cfg(feature = "serde")] {
/// # let read: TcpSettings = serde_json::from_str(r#"{ "keepalive": "60s", "user_timeout": "off" }"#).unwrap();
/// # assert_eq!(read, settings);
/// # }
/// let connector = Connector::builder().tcp(settings).build()?;
/// # let _ = connector;
/// # Ok::<(), stonework::connect::InvalidConnector>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a connector is built with them"]
pub struct TcpSettings {
    pub(super) attempt_delay: Duration,
    pub(super) keepalive: Option<Duration>,
    pub(super) keepalive_interval: Duration,
    pub(super) local_v4: Option<Ipv4Addr>,
    pub(super) local_v6: Option<Ipv6Addr>,
    pub(super) nodelay: bool,
    pub(super) user_timeout: Option<Duration>,
}

impl TcpSettings {
    /// A second address after 250 ms; packets without delay; a peer that is gone is noticed within half a minute. The setters say more.
    pub const fn new() -> Self {
        Self {
            attempt_delay: Duration::from_millis(250),
            keepalive: Some(Duration::from_secs(15)),
            keepalive_interval: Duration::from_secs(15),
            local_v4: None,
            local_v6: None,
            nodelay: true,
            user_timeout: Some(Duration::from_secs(30)),
        }
    }

    /// How long to wait for one address before the next one is tried as well (RFC 8305, section 5): from 10 ms to 2 s. One that fails is
    /// followed by the next at once. Default: 250 ms.
    pub const fn attempt_delay(mut self, delay: Duration) -> Self {
        self.attempt_delay = delay;
        self
    }

    /// Ask a peer that has been silent for so long whether it is there, in whole seconds: up to a day. Default: 15 s.
    pub const fn keepalive(mut self, silent: Duration) -> Self {
        self.keepalive = Some(silent);
        self
    }

    /// Ask nobody. In a file: `keepalive = "off"`.
    pub const fn without_keepalive(mut self) -> Self {
        self.keepalive = None;
        self
    }

    /// How long after such a question the next one is asked, in whole seconds: up to a day. How many go unanswered before the connection is
    /// given up is for the system to say, where there is no [`user_timeout`](Self::user_timeout). Default: 15 s.
    pub const fn keepalive_interval(mut self, interval: Duration) -> Self {
        self.keepalive_interval = interval;
        self
    }

    /// Connect to IPv4 addresses from this one. Default: the system chooses.
    pub const fn local_v4(mut self, address: Ipv4Addr) -> Self {
        self.local_v4 = Some(address);
        self
    }

    /// Connect to IPv6 addresses from this one. Default: the system chooses.
    pub const fn local_v6(mut self, address: Ipv6Addr) -> Self {
        self.local_v6 = Some(address);
        self
    }

    /// Whether to send what is written at once, instead of waiting for more of it (Nagle's algorithm). Default: yes.
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// How long what was sent may go without an acknowledgement of the peer's system before the connection is given up (`TCP_USER_TIMEOUT`, RFC
    /// 5482): up to a day. It is for Linux, and does nothing elsewhere. Default: 30 s.
    pub const fn user_timeout(mut self, limit: Duration) -> Self {
        self.user_timeout = Some(limit);
        self
    }

    /// Leave it to the system, which for Linux is some 15 minutes. In a file: `user_timeout = "off"`.
    pub const fn without_user_timeout(mut self) -> Self {
        self.user_timeout = None;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidConnector> {
        const MILLI: Duration = Duration::from_millis(1);
        const SECOND: Duration = Duration::from_secs(1);
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for (setting, value, least, most) in [
            ("attempt_delay", Some(self.attempt_delay), 10 * MILLI, 2 * SECOND),
            ("keepalive", self.keepalive, SECOND, DAY),
            ("keepalive_interval", Some(self.keepalive_interval), SECOND, DAY),
            ("user_timeout", self.user_timeout, MILLI, DAY),
        ] {
            if value.is_some_and(|value| value < least || value > most) {
                return Err(InvalidConnector::OutOfRange { setting, least, most });
            }
        }
        Ok(())
    }
}

impl Default for TcpSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// What no [`Connector`](super::Connector) can be built from: told where one is built, or where settings are read from a file.
///
/// ```
/// use stonework::connect::{Connector, SystemResolver, Unix};
///
/// let builder = Connector::builder().transport(Unix::new("/run/a.sock")).resolver(SystemResolver::new());
/// let error = builder.build().unwrap_err();
/// assert_eq!(error.to_string(), "`resolver` has no effect beside `transport`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConnector {
    /// It is set, and would not be used: TCP is not, either.
    #[error("`{setting}` has no effect beside `transport`")]
    #[non_exhaustive]
    NoUse {
        /// The name of the setter.
        setting: &'static str,
    },
    /// It is too short, or too long.
    #[error("`{setting}` is not between {least:?} and {most:?}")]
    #[non_exhaustive]
    OutOfRange {
        /// The name of the setting.
        setting: &'static str,
        /// The least that it may be.
        least: Duration,
        /// The most.
        most: Duration,
    },
}

/// `no delay, asked after 15s of silence, given up after 30s`
impl fmt::Display for TcpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.nodelay { "no delay" } else { "Nagle's delay" })?;
        if let Some(silent) = self.keepalive {
            write!(f, ", asked after {silent:?} of silence")?;
        }
        if let Some(limit) = self.user_timeout {
            write!(f, ", given up after {limit:?}")?;
        }
        Ok(())
    }
}
