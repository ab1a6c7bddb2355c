use std::time::Duration;

/// How a [`Server`](super::Server) behaves. With the feature `serde` it can be read from a file and written to one, durations as
/// `"250ms"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::server::ServerSettings;
///
/// let settings = ServerSettings::new().header_read_timeout(Duration::from_secs(5));
/// assert_ne!(settings, ServerSettings::new());
/// # #[cfg(feature = "serde")] {
/// let read: ServerSettings = serde_json::from_str(r#"{ "header_read_timeout": "5s" }"#).unwrap();
/// assert_eq!(read, settings);
///
/// let refused = serde_json::from_str::<ServerSettings>(r#"{ "ping_timeout": "0s" }"#).unwrap_err();
/// assert!(refused.to_string().contains("ping_timeout"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a server is made from them"]
pub struct ServerSettings {
    pub(super) grace: Duration,
    pub(super) header_read_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}

impl ServerSettings {
    /// Ten seconds for a head, ten to finish at shutdown, an HTTP/2 ping every 30 with 20 for its answer.
    pub const fn new() -> Self {
        Self {
            grace: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }

    /// How long a shutdown waits for what is in flight, before it drops the rest. Zero drops it at once. Default:
    /// 10 s.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a client may take for the first bytes of a connection, and then, over HTTP/1, for each head: from when
    /// the connection is free for it until the empty line has come. So an idle connection is closed after this, too.
    /// Default: 10 s.
    ///
    /// # Panics
    ///
    /// If `limit` is zero: no head could be read.
    pub const fn header_read_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "a head takes time to read");
        self.header_read_timeout = limit;
        self
    }

    /// How often an HTTP/2 client is asked whether it is still there. Default: 30 s.
    ///
    /// # Panics
    ///
    /// If `interval` is zero: that would be a flood.
    pub const fn ping_interval(mut self, interval: Duration) -> Self {
        assert!(!interval.is_zero(), "pings without a pause are a flood");
        self.ping_interval = interval;
        self
    }

    /// How long an HTTP/2 client may take to answer a ping before its connection is closed. Default: 20 s.
    ///
    /// # Panics
    ///
    /// If `limit` is zero: no client could answer.
    pub const fn ping_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "an answer to a ping takes time");
        self.ping_timeout = limit;
        self
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that [`ServerSettings`] cannot have; told when they are read from a file. The setters panic instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServer {
    /// `header_read_timeout` is zero.
    #[error("`header_read_timeout` is longer than zero, or no head could be read")]
    HeaderReadTimeout,
    /// `ping_interval` is zero.
    #[error("`ping_interval` is longer than zero, or there would be nothing but pings")]
    PingInterval,
    /// `ping_timeout` is zero.
    #[error("`ping_timeout` is longer than zero, or no client could answer")]
    PingTimeout,
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    #[serde(with = "crate::base::human::plain")]
    grace: Duration,
    #[serde(with = "crate::base::human::plain")]
    header_read_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    ping_interval: Duration,
    #[serde(with = "crate::base::human::plain")]
    ping_timeout: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        ServerSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<ServerSettings> for Fields {
    fn from(settings: ServerSettings) -> Self {
        let ServerSettings { grace, header_read_timeout, ping_interval, ping_timeout } = settings;
        Self { grace, header_read_timeout, ping_interval, ping_timeout }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for ServerSettings {
    type Error = InvalidServer;

    fn try_from(fields: Fields) -> Result<Self, InvalidServer> {
        let Fields { grace, header_read_timeout, ping_interval, ping_timeout } = fields;
        if header_read_timeout.is_zero() {
            return Err(InvalidServer::HeaderReadTimeout);
        }
        if ping_interval.is_zero() {
            return Err(InvalidServer::PingInterval);
        }
        if ping_timeout.is_zero() {
            return Err(InvalidServer::PingTimeout);
        }
        Ok(Self { grace, header_read_timeout, ping_interval, ping_timeout })
    }
}
