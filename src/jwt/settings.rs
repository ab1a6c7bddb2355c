use std::collections::HashSet;
use std::time::Duration;

use super::InvalidJwt;

/// Clocks that differ by more are broken.
const MOST_LEEWAY: Duration = Duration::from_secs(600);
/// No header is longer in any server that is in use.
const LONGEST_TOKEN: usize = 64 * 1024;
/// More claims than anybody asks for, and as many as a word has bits.
const MOST_CLAIMS: usize = 64;
/// Fewer would be one in each half.
const LEAST_CACHE: usize = 2;

/// What a [`Verifier`](super::Verifier) asks of tokens beyond keys, algorithms, issuer and audience. With the feature `serde` it can be
/// read from a file and written to one: durations as `"30s"`, and `"off"` for the cache; an unknown field or an impossible value is an
/// error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::jwt::JwtSettings;
///
/// let settings = JwtSettings::new().leeway(Duration::from_secs(5)).types(["at+jwt"]).require(["sub"]).cache(10_000);
/// # #[cfg(feature = "serde")] {
/// let read: JwtSettings = serde_json::from_str(
///     r#"{ "leeway": "5s", "types": ["at+jwt"], "required_claims": ["sub"], "cache": 10000 }"#,
/// ).unwrap();
/// assert_eq!(read, settings);
/// # }
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Fields", into = "Fields"))]
#[must_use = "settings do nothing until a verifier is made with them"]
pub struct JwtSettings {
    pub(super) bound_tokens: bool,
    pub(super) cache: Option<usize>,
    pub(super) cache_ttl: Duration,
    pub(super) leeway: Duration,
    pub(super) max_token_size: usize,
    pub(super) required_claims: Vec<String>,
    pub(super) types: Vec<String>,
}

impl JwtSettings {
    /// The defaults: clocks may differ by 30 s, a token has at most 8 KiB, says `JWT`, `at+jwt` or nothing of its type, is bound to no
    /// key of its sender's, and must say when it ends; none is remembered.
    pub const fn new() -> Self {
        Self {
            bound_tokens: false,
            cache: None,
            cache_ttl: Duration::from_secs(60),
            leeway: Duration::from_secs(30),
            max_token_size: 8 * 1024,
            required_claims: Vec::new(),
            types: Vec::new(),
        }
    }

    /// What an access token must say by RFC 9068: its type, `at+jwt`, and `aud`, `client_id`, `exp`, `iat`, `iss`, `jti` and `sub`.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, JwtSettings, Keys, Verifier};
    ///
    /// let verifier = Verifier::builder()
    ///     .keys(Keys::pending())
    ///     .algorithms([Algorithm::Es256])
    ///     .issuer("https://id.example")
    ///     .audience("https://api.example")
    ///     .settings(JwtSettings::access_tokens())
    ///     .build()?;
    /// # let _ = verifier;
    /// # Ok::<(), stonework::jwt::InvalidJwt>(())
    /// ```
    pub fn access_tokens() -> Self {
        Self::new().types(["at+jwt"]).require(["aud", "client_id", "iat", "iss", "jti", "sub"])
    }

    /// Also take tokens that are bound to a key of their sender's (`cnf`: RFC 9449 with DPoP, RFC 8705 with certificates), which nothing here
    /// compares: only where something in front has done so, as a proxy that ends mutual TLS. Default: no, else whoever stole one could use it.
    pub const fn bound_tokens(mut self, taken: bool) -> Self {
        self.bound_tokens = taken;
        self
    }

    /// How far clocks may differ, ours ahead or behind: at most ten minutes. Default: 30 s.
    pub const fn leeway(mut self, length: Duration) -> Self {
        self.leeway = length;
        self
    }

    /// The longest token, in bytes: at most 64 KiB. Longer ones are refused before they are read. Default: 8 KiB.
    pub const fn max_token_size(mut self, bytes: usize) -> Self {
        self.max_token_size = bytes;
        self
    }

    /// What a token must say that it is (`typ`), one of these. Capitals are as good as small letters, and `application/` in front
    /// may be left out. Default, and with none: `JWT`, `at+jwt`, or nothing.
    pub fn types(mut self, types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Claims that must be there, at most 64, each named once, and not `null`. `exp` must be there in any case, `iss` and `aud` where they are compared.
    /// Default: none.
    pub fn require(mut self, claims: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.required_claims = claims.into_iter().map(Into::into).collect();
        self
    }

    /// Remember so many tokens that were found to be good, at least two. Default: none.
    ///
    /// One that is remembered is not verified again, which takes most of the time; but its time, its key and whether it was
    /// [revoked](super::VerifierBuilder::revocation) are looked at whenever it comes.
    pub const fn cache(mut self, tokens: usize) -> Self {
        self.cache = Some(tokens);
        self
    }

    /// Remember none.
    pub const fn without_cache(mut self) -> Self {
        self.cache = None;
        self
    }

    /// For how long a token is remembered, and not longer than until it expires. Default: 60 s.
    pub const fn cache_ttl(mut self, length: Duration) -> Self {
        self.cache_ttl = length;
        self
    }

    pub(crate) fn check(&self) -> Result<(), InvalidJwt> {
        let seconds = |length: Duration| usize::try_from(length.as_secs()).unwrap_or(usize::MAX);
        for (field, too_large, most) in [
            ("leeway", self.leeway > MOST_LEEWAY, seconds(MOST_LEEWAY)),
            ("max_token_size", self.max_token_size > LONGEST_TOKEN, LONGEST_TOKEN),
            ("required_claims", self.required_claims.len() > MOST_CLAIMS, MOST_CLAIMS),
        ] {
            if too_large {
                return Err(InvalidJwt::TooLarge { field, most });
            }
        }
        for (field, value, least) in [
            ("cache", self.cache.unwrap_or(LEAST_CACHE), LEAST_CACHE),
            ("max_token_size", self.max_token_size, 1),
        ] {
            if value < least {
                return Err(InvalidJwt::TooSmall { field, least });
            }
        }
        if self.cache_ttl.is_zero() {
            return Err(InvalidJwt::Empty { field: "cache_ttl" });
        }
        for (field, texts) in [("required_claims", &self.required_claims), ("types", &self.types)] {
            if texts.iter().any(String::is_empty) {
                return Err(InvalidJwt::Empty { field });
            }
        }
        // Each has one bit.
        let mut names = HashSet::new();
        if !self.required_claims.iter().all(|claim| names.insert(claim)) {
            return Err(InvalidJwt::Repeated { field: "required_claims" });
        }
        Ok(())
    }
}

impl Default for JwtSettings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of JWT settings")]
struct Fields {
    bound_tokens: bool,
    cache: crate::base::or_off::OrOff<usize>,
    #[serde(with = "crate::base::human::plain")]
    cache_ttl: Duration,
    #[serde(with = "crate::base::human::plain")]
    leeway: Duration,
    max_token_size: usize,
    required_claims: Vec<String>,
    types: Vec<String>,
}

#[cfg(feature = "serde")]
impl Default for Fields {
    fn default() -> Self {
        JwtSettings::new().into()
    }
}

#[cfg(feature = "serde")]
impl From<JwtSettings> for Fields {
    fn from(settings: JwtSettings) -> Self {
        let JwtSettings { bound_tokens, cache, cache_ttl, leeway, max_token_size, required_claims, types } =
            settings;
        let cache = cache.into();
        Self { bound_tokens, cache, cache_ttl, leeway, max_token_size, required_claims, types }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Fields> for JwtSettings {
    type Error = InvalidJwt;

    fn try_from(fields: Fields) -> Result<Self, InvalidJwt> {
        let Fields { bound_tokens, cache, cache_ttl, leeway, max_token_size, required_claims, types } =
            fields;
        let cache = cache.into_option();
        let settings =
            Self { bound_tokens, cache, cache_ttl, leeway, max_token_size, required_claims, types };
        settings.check().map(|()| settings)
    }
}
