use std::time::Duration;

use super::rotation::Pace;
use crate::jwt::InvalidJwt;

/// Clocks may differ by that much where a [`Verifier`](crate::jwt::Verifier) is told so: for so long a token is good after its end.
const MOST_LEEWAY: Duration = Duration::from_secs(600);

/// How an [`Issuer`](super::Issuer) goes about its keys and tokens. With the feature `serde` it can be read from a file and written to one:
/// durations as `"5m"`, and `"off"` for the rotation; an unknown field or an impossible value is an error that names the field.
///
/// ```
/// use std::time::Duration;
/// use stonework::jwt::IssuerSettings;
///
/// let settings = IssuerSettings::new().token_lifetime(Duration::from_secs(60));
/// # #[cfg(feature = "serde")] {
/// let read: IssuerSettings = serde_json::from_str(r#"{ "token_lifetime": "1m" }"#).unwrap();
/// assert_eq!(read, settings);
/// # }
/// # let _ = settings;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(try_from = "super::file::Fields", into = "super::file::Fields"))]
#[must_use = "settings do nothing until an issuer is made with them"]
pub struct IssuerSettings {
    pub(super) max_age: Duration,
    pub(super) publish_ahead: Duration,
    pub(super) rotate_every: Option<Duration>,
    pub(super) token_lifetime: Duration,
}

impl IssuerSettings {
    /// A token is good for fifteen minutes, a key signs for a day, and is published an hour before that.
    pub const fn new() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            publish_ahead: Duration::from_secs(3_600),
            rotate_every: Some(Duration::from_secs(86_400)),
            token_lifetime: Duration::from_secs(900),
        }
    }

    /// For how long others may keep what is published (`Cache-Control: max-age`). Default: 5 min.
    pub const fn max_age(mut self, length: Duration) -> Self {
        self.max_age = length;
        self
    }

    /// For how long a key is published before it signs: at least [`max_age`](Self::max_age), and less than it signs for. Default: 1 h.
    pub const fn publish_ahead(mut self, length: Duration) -> Self {
        self.publish_ahead = length;
        self
    }

    /// For how long a key signs. Default: 24 h.
    pub const fn rotate_every(mut self, length: Duration) -> Self {
        self.rotate_every = Some(length);
        self
    }

    /// Make no keys: only those that are [handed in](super::Issuer::add_key) sign.
    pub const fn without_rotation(mut self) -> Self {
        self.rotate_every = None;
        self
    }

    /// For how long a token is good, if nothing else is said, and at the most: not longer than a key signs. Default: 15 min.
    pub const fn token_lifetime(mut self, length: Duration) -> Self {
        self.token_lifetime = length;
        self
    }

    pub(super) fn check(&self) -> Result<(), InvalidJwt> {
        let seconds = |length: Duration| usize::try_from(length.as_secs()).unwrap_or(usize::MAX);
        // A date has whole seconds.
        if self.token_lifetime < Duration::from_secs(1) {
            return Err(InvalidJwt::TooSmall { field: "token_lifetime", least: 1 });
        }
        if self.publish_ahead < self.max_age {
            return Err(InvalidJwt::TooSmall { field: "publish_ahead", least: seconds(self.max_age) });
        }
        if let Some(every) = self.rotate_every {
            let least = self.token_lifetime.max(self.publish_ahead);
            if every < least || every.is_zero() {
                return Err(InvalidJwt::TooSmall { field: "rotate_every", least: seconds(least).max(1) });
            }
        }
        Ok(())
    }

    pub(super) const fn pace(&self) -> Pace {
        Pace {
            rotate_every: self.rotate_every,
            publish_ahead: self.publish_ahead,
            keep: self.token_lifetime.saturating_add(MOST_LEEWAY),
        }
    }
}

impl Default for IssuerSettings {
    fn default() -> Self {
        Self::new()
    }
}
