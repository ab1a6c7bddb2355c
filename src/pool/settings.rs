use std::fmt;
use std::time::Duration;

use crate::base::{Backoff, Jitter};

/// How a [`Pool`](super::Pool) behaves. With the feature `serde` it can be read from a file and written to one: durations as `"250ms"`,
/// what is switched off as `"off"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::pool::PoolSettings;
///
/// let settings = PoolSettings::new().max(20).wait_timeout(Duration::from_secs(1)).without_lifetime();
/// # #[cfg(feature = "serde")] {
/// let text = r#"{ "max": 20, "wait_timeout": "1s", "lifetime": "off" }"#;
/// let read: PoolSettings = serde_json::from_str(text).unwrap();
/// assert_eq!(read, settings);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until a pool is made from them"]
pub struct PoolSettings {
    pub(super) backoff: Backoff,
    pub(super) check_after: Option<Duration>,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) lifetime: Option<Duration>,
    pub(super) max: usize,
    pub(super) max_waiting: usize,
    pub(super) min_idle: usize,
    pub(super) wait_timeout: Option<Duration>,
}

impl PoolSettings {
    /// Ten objects, none kept in reserve; five seconds to connect and to wait for one; idle ones for ten minutes, and none for longer
    /// than half an hour. The setters say more.
    pub fn new() -> Self {
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));
        Self {
            backoff: backoff.expect("a base below its cap").jitter(Jitter::Equal),
            check_after: Some(Duration::from_secs(1)),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(10 * 60)),
            lifetime: Some(Duration::from_secs(30 * 60)),
            max: 10,
            max_waiting: 1_000,
            min_idle: 0,
            wait_timeout: Some(Duration::from_secs(5)),
        }
    }

    /// How many there may be, those that are being connected included. Default: 10.
    pub const fn max(mut self, objects: usize) -> Self {
        self.max = objects;
        self
    }

    /// How many to keep ready that nobody uses, within the most. They are connected ahead of time, and again when they are closed.
    /// Default: 0.
    pub const fn min_idle(mut self, objects: usize) -> Self {
        self.min_idle = objects;
        self
    }

    /// How many callers may wait for one that others use; more are refused at once. For whoever comes while there is a place, a connection is
    /// begun: it does not count. Default: 1000.
    pub const fn max_waiting(mut self, callers: usize) -> Self {
        self.max_waiting = callers;
        self
    }

    /// How long a caller waits for an object, connecting and checks included; never longer than the [deadline](crate::base::Deadline) in scope.
    /// Default: 5 s.
    pub const fn wait_timeout(mut self, limit: Duration) -> Self {
        self.wait_timeout = Some(limit);
        self
    }

    /// Let callers wait for as long as they like. A deadline in scope still holds. In a file: `wait_timeout = "off"`.
    pub const fn without_wait_timeout(mut self) -> Self {
        self.wait_timeout = None;
        self
    }

    /// How long connecting may take, and a [check](super::Manage::check). Default: 5 s.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long to wait after a failure before connecting again. As long as it fails, one tries at a time. Default: from 100 ms to 5 s,
    /// half of it by chance.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// [Check](super::Manage::check) idle objects that were last handed out so long ago. Default: 1 s. Zero checks each. One that goes from
    /// hand to hand is not checked.
    pub const fn check_after(mut self, unused: Duration) -> Self {
        self.check_after = Some(unused);
        self
    }

    /// Check nothing but what [a look](super::Manage::is_usable) tells. In a file: `check_after = "off"`.
    pub const fn without_checks(mut self) -> Self {
        self.check_after = None;
        self
    }

    /// How long one is kept that nobody uses, counted from when it was last handed out. Default: 10 min.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Keep idle ones for as long as they last. In a file: `idle_timeout = "off"`.
    pub const fn without_idle_timeout(mut self) -> Self {
        self.idle_timeout = None;
        self
    }

    /// How old one may become. Each has a lifetime of its own, up to a tenth shorter, so that those that were made together do not end
    /// together. One that is in use is closed when it comes back, also if somebody waits for it. Default: 30 min.
    pub const fn lifetime(mut self, limit: Duration) -> Self {
        self.lifetime = Some(limit);
        self
    }

    /// Let them become as old as they like. In a file: `lifetime = "off"`.
    pub const fn without_lifetime(mut self) -> Self {
        self.lifetime = None;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidPool> {
        let zero = |limit: Option<Duration>| limit.is_some_and(|limit| limit.is_zero());
        for (field, instead, refused) in [
            ("connect_timeout", None, self.connect_timeout.is_zero()),
            ("idle_timeout", Some("without_idle_timeout"), zero(self.idle_timeout)),
            ("lifetime", Some("without_lifetime"), zero(self.lifetime)),
            ("max", None, self.max == 0),
        ] {
            if refused {
                return Err(match instead {
                    Some(instead) => InvalidPool::ZeroForOff { field, instead },
                    None => InvalidPool::Zero { field },
                });
            }
        }
        if self.min_idle > self.max {
            return Err(InvalidPool::MinAboveMax { min_idle: self.min_idle, max: self.max });
        }
        Ok(())
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// `up to 10, …`
impl fmt::Display for PoolSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "up to {}, {:?} to connect", self.max, self.connect_timeout)?;
        match self.wait_timeout {
            Some(limit) => write!(f, ", up to {} wait up to {limit:?}", self.max_waiting),
            None => write!(f, ", up to {} wait", self.max_waiting),
        }
    }
}

/// Settings that no pool can have: told where one is built, or where they are read from a file.
///
/// ```
/// use stonework::pool::{InvalidPool, PoolSettings};
/// # use stonework::pool::{Manage, Pool};
/// # struct Any;
/// # impl Manage for Any {
/// #     type Object = ();
/// #     type Error = std::convert::Infallible;
/// #     async fn connect(&self) -> Result<(), Self::Error> { Ok(()) }
/// # }
/// let settings = PoolSettings::new().max(5).min_idle(6);
/// let error = Pool::builder(Any).settings(settings).build().unwrap_err();
/// assert_eq!(error.to_string(), "`min_idle` is 6, more than `max`, which is 5");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPool {
    /// More are to be kept than there may be.
    #[error("`min_idle` is {min_idle}, more than `max`, which is {max}")]
    #[non_exhaustive]
    MinAboveMax {
        /// How many are to be kept.
        min_idle: usize,
        /// How many there may be.
        max: usize,
    },
    /// It is zero, with which nothing would ever succeed.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
    /// It is zero, and there is a word for doing without.
    #[error("`{field}` is zero; to do without, say `{instead}` (in a file: {field} = \"off\")")]
    #[non_exhaustive]
    ZeroForOff {
        /// The name of the setting.
        field: &'static str,
        /// The setter that switches it off.
        instead: &'static str,
    },
}
