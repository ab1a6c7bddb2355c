use std::time::Duration;

use crate::base::{Backoff, Jitter};
use crate::jwt::InvalidJwt;

/// As large as a [`KeySet`](crate::jwt::KeySet) may be.
const LARGEST: usize = 1024 * 1024;

/// When [`RemoteKeys`](super::RemoteKeys) are fetched, and for how long they are used. With the feature `serde` it can be read from a file
/// and written to one: durations as `"5m"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::jwt::RemoteKeysSettings;
///
/// let settings = RemoteKeysSettings::new().max_stale(Duration::from_secs(3600)).cooldown(Duration::from_secs(10));
/// # #[cfg(feature = "serde")] {
/// let read: RemoteKeysSettings = serde_json::from_str(r#"{ "max_stale": "1h", "cooldown": "10s" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until keys are fetched by them"]
pub struct RemoteKeysSettings {
    pub(super) backoff: Backoff,
    pub(super) cooldown: Duration,
    pub(super) lifetime: Duration,
    pub(super) max_lifetime: Duration,
    pub(super) max_size: usize,
    pub(super) max_stale: Duration,
    pub(super) min_lifetime: Duration,
    pub(super) missing_ttl: Duration,
    pub(super) timeout: Duration,
    pub(super) unknown_wait: Duration,
}

impl RemoteKeysSettings {
    /// Fresh for as long as the answer says, between one minute and one hour, and for five minutes if it does not say; used for a day more
    /// while nobody can fetch new ones. The setters say more.
    pub fn new() -> Self {
        let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60));
        Self {
            backoff: backoff.expect("a base below its cap").jitter(Jitter::Equal),
            cooldown: Duration::from_secs(30),
            lifetime: Duration::from_secs(300),
            max_lifetime: Duration::from_secs(3_600),
            max_size: 256 * 1024,
            max_stale: Duration::from_secs(86_400),
            min_lifetime: Duration::from_secs(60),
            missing_ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(10),
            unknown_wait: Duration::from_secs(2),
        }
    }

    /// How long to wait after a fetch that failed, unless the provider asks for more. Default: from 1 s to 60 s, with equal jitter.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long nobody looks for a key again that a token names and that is not there, for this token or another. So this is how often
    /// strangers can make somebody ask the provider, whatever it answers. Default: 30 s.
    pub const fn cooldown(mut self, length: Duration) -> Self {
        self.cooldown = length;
        self
    }

    /// How long keys are fresh if the answer does not say (`Cache-Control: max-age`). Default: 5 min.
    pub const fn lifetime(mut self, length: Duration) -> Self {
        self.lifetime = length;
        self
    }

    /// How long they are fresh at the most, whatever the answer says: for so long a key may be trusted that was withdrawn. Default: 1 h.
    pub const fn max_lifetime(mut self, length: Duration) -> Self {
        self.max_lifetime = length;
        self
    }

    /// The largest answer that is read, in bytes: at most 1 MiB. Default: 256 KiB.
    pub const fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    /// For how long they are used when they are not fresh any more and nobody can fetch new ones. After that, requests are answered with
    /// 503. Default: 24 h.
    pub const fn max_stale(mut self, length: Duration) -> Self {
        self.max_stale = length;
        self
    }

    /// How long they are fresh at the least, whatever the answer says: no provider can make itself be asked more often. Default: 1 min.
    pub const fn min_lifetime(mut self, length: Duration) -> Self {
        self.min_lifetime = length;
        self
    }

    /// For how long at the most a name that was looked for and not found is not looked for again. Of such names up to 1024 are remembered.
    /// If a later set has such a key, it is good at once. Default: 5 min.
    pub const fn missing_ttl(mut self, length: Duration) -> Self {
        self.missing_ttl = length;
        self
    }

    /// How long one fetch may take, the discovery document included; that has half of it, where the address of the keys is known from
    /// before. Default: 10 s.
    pub const fn timeout(mut self, length: Duration) -> Self {
        self.timeout = length;
        self
    }

    /// How long a request waits while a key is looked for that its token names. Default: 2 s.
    pub const fn unknown_wait(mut self, length: Duration) -> Self {
        self.unknown_wait = length;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidJwt> {
        for (field, length) in [
            ("cooldown", self.cooldown),
            ("lifetime", self.lifetime),
            ("min_lifetime", self.min_lifetime),
            ("timeout", self.timeout),
        ] {
            if length.is_zero() {
                return Err(InvalidJwt::Empty { field });
            }
        }
        if self.max_lifetime < self.min_lifetime {
            let least = usize::try_from(self.min_lifetime.as_secs()).unwrap_or(usize::MAX);
            return Err(InvalidJwt::TooSmall { field: "max_lifetime", least });
        }
        if self.max_size > LARGEST {
            return Err(InvalidJwt::TooLarge { field: "max_size", most: LARGEST });
        }
        if self.max_size == 0 {
            return Err(InvalidJwt::TooSmall { field: "max_size", least: 1 });
        }
        Ok(())
    }

    /// How long an answer is fresh that says this of itself.
    pub(super) fn fresh_for(&self, max_age: Option<Duration>) -> Duration {
        max_age.unwrap_or(self.lifetime).clamp(self.min_lifetime, self.max_lifetime)
    }
}

impl Default for RemoteKeysSettings {
    fn default() -> Self {
        Self::new()
    }
}
