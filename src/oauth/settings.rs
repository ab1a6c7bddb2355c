use std::time::Duration;

use super::InvalidOauth;
use super::cached::LEAST_LIFETIME;
use crate::base::{Backoff, Jitter};

/// Longer than any token lives.
const MOST_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// No answer with a token is larger.
const MOST_RESPONSE: usize = 1024 * 1024;

/// How a [`TokenSource`](super::TokenSource) behaves. With the feature `serde` it can be read from a file and written to one: durations as
/// `"30s"`; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::oauth::TokenSettings;
///
/// let settings = TokenSettings::new().fetch_timeout(Duration::from_secs(3)).default_lifetime(Duration::from_secs(600));
/// # #[cfg(feature = "serde")] {
/// let read: TokenSettings = serde_json::from_str(r#"{ "fetch_timeout": "3s", "default_lifetime": "10m" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a source is made with them"]
pub struct TokenSettings {
    pub(super) backoff: Backoff,
    pub(super) default_lifetime: Duration,
    pub(super) fetch_timeout: Duration,
    pub(super) max_lifetime: Duration,
    pub(super) max_response: usize,
    pub(super) renewal_pause: Duration,
}

impl TokenSettings {
    /// The defaults: ten seconds for a fetch and 64 KiB for its answer; after one that failed, a second and up to a minute before the next.
    /// The setters say more.
    pub fn new() -> Self {
        let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60));
        Self {
            backoff: backoff.expect("a base below its cap").jitter(Jitter::Equal),
            default_lifetime: Duration::from_secs(5 * 60),
            fetch_timeout: Duration::from_secs(10),
            max_lifetime: Duration::from_secs(24 * 60 * 60),
            max_response: 64 * 1024,
            renewal_pause: Duration::from_secs(10),
        }
    }

    /// How long to leave the server alone after a fetch that failed, and longer the more fail in a row; longer too if it says so in
    /// `Retry-After`, but never more than ten minutes for that. Default: from 1 s to 1 min, half of it by chance.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// For how long a token is good of which the server does not say it: at least a second. Default: 5 min.
    pub const fn default_lifetime(mut self, length: Duration) -> Self {
        self.default_lifetime = length;
        self
    }

    /// How long a fetch may take, with whatever the client below does in it, such as to retry. Default: 10 s.
    pub const fn fetch_timeout(mut self, limit: Duration) -> Self {
        self.fetch_timeout = limit;
        self
    }

    /// For how long a token is used, whatever the server says: at least a second, and at most ten years. Default: 24 h.
    pub const fn max_lifetime(mut self, length: Duration) -> Self {
        self.max_lifetime = length;
        self
    }

    /// The largest answer that is read, in bytes: at most 1 MiB. Default: 64 KiB.
    pub const fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// How long after a token was asked for because one was refused, before that is done again. Default: 10 s.
    pub const fn renewal_pause(mut self, length: Duration) -> Self {
        self.renewal_pause = length;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidOauth> {
        for (field, is_empty) in [
            ("default_lifetime", self.default_lifetime < LEAST_LIFETIME),
            ("fetch_timeout", self.fetch_timeout.is_zero()),
            ("max_lifetime", self.max_lifetime < LEAST_LIFETIME),
            ("max_response", self.max_response == 0),
        ] {
            if is_empty {
                return Err(InvalidOauth::Empty { field });
            }
        }
        for (field, is_too_large) in [
            ("max_lifetime", self.max_lifetime > MOST_LIFETIME),
            ("max_response", self.max_response > MOST_RESPONSE),
        ] {
            if is_too_large {
                return Err(InvalidOauth::TooLarge { field });
            }
        }
        Ok(())
    }
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of OAuth settings")]
struct Fields {
    backoff: Backoff,
    #[serde(with = "crate::base::human::plain")]
    default_lifetime: Duration,
    #[serde(with = "crate::base::human::plain")]
    fetch_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    max_lifetime: Duration,
    max_response: usize,
    #[serde(with = "crate::base::human::plain")]
    renewal_pause: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        TokenSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<TokenSettings> for Fields {
    fn from(settings: TokenSettings) -> Self {
        let TokenSettings {
            backoff,
            default_lifetime,
            fetch_timeout,
            max_lifetime,
            max_response,
            renewal_pause,
        } = settings;
        Self { backoff, default_lifetime, fetch_timeout, max_lifetime, max_response, renewal_pause }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for TokenSettings {
    type Error = InvalidOauth;

    fn try_from(fields: Fields) -> Result<Self, InvalidOauth> {
        let Fields { backoff, default_lifetime, fetch_timeout, max_lifetime, max_response, renewal_pause } =
            fields;
        let settings =
            Self { backoff, default_lifetime, fetch_timeout, max_lifetime, max_response, renewal_pause };
        settings.check().map(|()| settings)
    }
}
