use std::time::Duration;

use super::InvalidJwt;

/// Clocks that differ by more are broken.
const MOST_LEEWAY: Duration = Duration::from_secs(600);
/// No header is longer in any server that is in use.
const LONGEST_TOKEN: usize = 64 * 1024;
/// No answer about a token is larger.
const MOST_RESPONSE: usize = 1024 * 1024;

/// How an [`Introspector`](super::Introspector) behaves. With the feature `serde` it can be read from a file and written to one: durations as
/// `"30s"`, and `"off"` for the cache; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::jwt::IntrospectSettings;
///
/// let settings = IntrospectSettings::new().timeout(Duration::from_secs(1)).without_cache();
/// # #[cfg(feature = "serde")] {
/// let read: IntrospectSettings = serde_json::from_str(r#"{ "timeout": "1s", "cache": "off" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until an introspector is made with them"]
pub struct IntrospectSettings {
    pub(super) bound_tokens: bool,
    pub(super) cache: Option<usize>,
    pub(super) cache_ttl: Duration,
    pub(super) leeway: Duration,
    pub(super) max_at_once: usize,
    pub(super) max_response: usize,
    pub(super) max_token_size: usize,
    pub(super) timeout: Duration,
}

impl IntrospectSettings {
    /// The defaults: a thousand tokens are remembered for ten seconds; a hundred are asked about at once, for at most five seconds.
    pub const fn new() -> Self {
        Self {
            bound_tokens: false,
            cache: Some(1_000),
            cache_ttl: Duration::from_secs(10),
            leeway: Duration::from_secs(30),
            max_at_once: 100,
            max_response: 64 * 1024,
            max_token_size: 8 * 1024,
            timeout: Duration::from_secs(5),
        }
    }

    /// Also take tokens that are bound to a key of their sender's (`cnf`, or of the type `DPoP`: RFC 9449 and RFC 8705), which nothing here
    /// compares: only where something in front has done so, as a proxy that ends mutual TLS. Default: no, else whoever stole one could use it.
    pub const fn bound_tokens(mut self, taken: bool) -> Self {
        self.bound_tokens = taken;
        self
    }

    /// Remember so many tokens that are active, at least two. Those that are not are never remembered. Default: 1000.
    pub const fn cache(mut self, tokens: usize) -> Self {
        self.cache = Some(tokens);
        self
    }

    /// Remember none: the server is asked each time. In a file: `cache = "off"`.
    pub const fn without_cache(mut self) -> Self {
        self.cache = None;
        self
    }

    /// For how long one is remembered, counted from when the server was asked, and no longer than until it expires: so long a token that was called back is still good. Default: 10 s.
    pub const fn cache_ttl(mut self, length: Duration) -> Self {
        self.cache_ttl = length;
        self
    }

    /// How far clocks may differ, ours ahead or behind: at most ten minutes. Default: 30 s.
    pub const fn leeway(mut self, length: Duration) -> Self {
        self.leeway = length;
        self
    }

    /// How many tokens to ask about at once. Of more it is not known whether they are good. Default: 100.
    pub const fn max_at_once(mut self, tokens: usize) -> Self {
        self.max_at_once = tokens;
        self
    }

    /// The largest answer that is read, in bytes: at most 1 MiB. Default: 64 KiB.
    pub const fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// The longest token, in bytes: at most 64 KiB. Nobody is asked about longer ones. Default: 8 KiB.
    pub const fn max_token_size(mut self, bytes: usize) -> Self {
        self.max_token_size = bytes;
        self
    }

    /// How long the server may take to answer, with whatever the client below does in it, such as to retry. Default: 5 s.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidJwt> {
        let seconds = |length: Duration| usize::try_from(length.as_secs()).unwrap_or(usize::MAX);
        for (field, is_too_large, most) in [
            ("leeway", self.leeway > MOST_LEEWAY, seconds(MOST_LEEWAY)),
            ("max_response", self.max_response > MOST_RESPONSE, MOST_RESPONSE),
            ("max_token_size", self.max_token_size > LONGEST_TOKEN, LONGEST_TOKEN),
        ] {
            if is_too_large {
                return Err(InvalidJwt::TooLarge { field, most });
            }
        }
        for (field, value, least) in [
            ("cache", self.cache.unwrap_or(2), 2),
            ("max_at_once", self.max_at_once, 1),
            ("max_response", self.max_response, 1),
            ("max_token_size", self.max_token_size, 1),
        ] {
            if value < least {
                return Err(InvalidJwt::TooSmall { field, least });
            }
        }
        for (field, length) in [("cache_ttl", self.cache_ttl), ("timeout", self.timeout)] {
            if length.is_zero() {
                return Err(InvalidJwt::Empty { field });
            }
        }
        Ok(())
    }
}

impl Default for IntrospectSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of introspection settings")]
struct Fields {
    bound_tokens: bool,
    cache: crate::base::or_off::OrOff<usize>,
    #[serde(with = "crate::base::human::plain")]
    cache_ttl: Duration,
    #[serde(with = "crate::base::human::plain")]
    leeway: Duration,
    max_at_once: usize,
    max_response: usize,
    max_token_size: usize,
    #[serde(with = "crate::base::human::plain")]
    timeout: Duration,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        IntrospectSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<IntrospectSettings> for Fields {
    fn from(settings: IntrospectSettings) -> Self {
        let IntrospectSettings {
            bound_tokens,
            cache,
            cache_ttl,
            leeway,
            max_at_once,
            max_response,
            max_token_size,
            timeout,
        } = settings;
        let cache = cache.into();
        Self { bound_tokens, cache, cache_ttl, leeway, max_at_once, max_response, max_token_size, timeout }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for IntrospectSettings {
    type Error = InvalidJwt;

    fn try_from(fields: Fields) -> Result<Self, InvalidJwt> {
        let Fields {
            bound_tokens,
            cache,
            cache_ttl,
            leeway,
            max_at_once,
            max_response,
            max_token_size,
            timeout,
        } = fields;
        let cache = cache.into_option();
        let settings = Self {
            bound_tokens,
            cache,
            cache_ttl,
            leeway,
            max_at_once,
            max_response,
            max_token_size,
            timeout,
        };
        settings.check().map(|()| settings)
    }
}
