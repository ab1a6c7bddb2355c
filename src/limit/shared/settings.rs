use std::time::Duration;

use super::InvalidSharedLimit;

/// The longest key that a caller may give, in bytes.
pub(super) const LONGEST_KEY: usize = 512;

/// What a shared limit does about its store. With the feature `serde` it can be read from a file and written to one: durations as
/// `"250ms"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{MemoryStore, Quota, SharedLimitSettings, SharedRateLimiter, WhenAway};
///
/// let settings = SharedLimitSettings::new().timeout(Duration::from_millis(20)).when_away(WhenAway::Refuse);
/// # #[cfg(feature = "serde")] {
/// let read: SharedLimitSettings =
///     serde_json::from_str(r#"{ "timeout": "20ms", "when_away": "refuse" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// let limiter = SharedRateLimiter::new(MemoryStore::new(), [Quota::per_second(100)])?.settings(settings)?;
/// # let _ = limiter;
/// # Ok::<(), stonework::limit::InvalidSharedLimit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a limiter is made with them"]
pub struct SharedLimitSettings {
    pub(super) pause: Duration,
    pub(super) timeout: Duration,
    pub(super) when_away: WhenAway,
}

/// What happens while the store does not answer.
///
/// ```
/// use stonework::base::BoxError;
/// use stonework::limit::{
///     Quota, QuotaStore, Refill, SharedLimitSettings, SharedRateLimiter, StoreAway, Taken, WhenAway,
/// };
///
/// struct Gone;
/// impl QuotaStore for Gone {
///     async fn take(&self, _: &str, _: &[Refill], _: u32) -> Result<Taken, BoxError> {
///         Err("no route to host".into())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let refuse = SharedLimitSettings::new().when_away(WhenAway::Refuse);
/// let limiter = SharedRateLimiter::new(Gone, [Quota::per_second(1)])?.settings(refuse)?;
/// let error = limiter.take("203.0.113.9", 1).await.unwrap_err();
/// assert!(error.is_overload() && error.retry_after().is_some() && error.cause::<StoreAway>().is_some());
///
/// // By default this process holds the quota for itself.
/// let limiter = SharedRateLimiter::new(Gone, [Quota::per_second(1)])?;
/// assert!(limiter.take("203.0.113.9", 1).await.is_ok());
/// assert!(limiter.take("203.0.113.9", 1).await.is_err());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WhenAway {
    /// Everything is admitted: where a limit is a courtesy, and an outage is worse than too much.
    Admit,
    /// Each process holds the quotas for itself, so that `n` of them admit at most `n` times as much in all. The default.
    ///
    /// What was taken of the store is not counted again; what was taken while it was away is, the next time it is.
    #[default]
    Local,
    /// Nothing is admitted: where what is limited costs money, or guards a password.
    Refuse,
}

impl SharedLimitSettings {
    /// The defaults: an answer within 100 ms; one second of peace for a store that gave none, while each process holds the quotas for
    /// itself.
    pub const fn new() -> Self {
        Self {
            pause: Duration::from_secs(1),
            timeout: Duration::from_millis(100),
            when_away: WhenAway::Local,
        }
    }

    /// How long a store that failed is left alone, before one call asks it again. Others do not wait for that one. Default: 1 s.
    pub const fn pause(mut self, length: Duration) -> Self {
        self.pause = length;
        self
    }

    /// How long the store may take to answer, connecting included. A call with a [`Deadline`](crate::base::Deadline) waits no longer than that
    /// leaves, so this should be less than what callers give themselves. Default: 100 ms.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// What happens while the store does not answer. Default: [`WhenAway::Local`].
    pub const fn when_away(mut self, what: WhenAway) -> Self {
        self.when_away = what;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidSharedLimit> {
        for (field, length) in [("pause", self.pause), ("timeout", self.timeout)] {
            if length.is_zero() {
                return Err(InvalidSharedLimit::Zero { field });
            }
        }
        Ok(())
    }
}

impl Default for SharedLimitSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings for shared limits")]
struct Fields {
    #[serde(with = "crate::base::human::plain")]
    pause: Duration,
    #[serde(with = "crate::base::human::plain")]
    timeout: Duration,
    when_away: WhenAway,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        SharedLimitSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<SharedLimitSettings> for Fields {
    fn from(SharedLimitSettings { pause, timeout, when_away }: SharedLimitSettings) -> Self {
        Self { pause, timeout, when_away }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for SharedLimitSettings {
    type Error = InvalidSharedLimit;

    fn try_from(Fields { pause, timeout, when_away }: Fields) -> Result<Self, InvalidSharedLimit> {
        let settings = Self { pause, timeout, when_away };
        settings.check().map(|()| settings)
    }
}
