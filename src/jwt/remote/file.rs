//! The settings of remote keys as they stand in a file.

use std::time::Duration;

use super::RemoteKeysSettings;
use crate::base::Backoff;
use crate::jwt::InvalidJwt;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of settings for fetched keys")]
pub(super) struct Fields {
    backoff: Backoff,
    #[serde(with = "crate::base::human::plain")]
    cooldown: Duration,
    #[serde(with = "crate::base::human::plain")]
    lifetime: Duration,
    #[serde(with = "crate::base::human::plain")]
    max_lifetime: Duration,
    max_size: usize,
    #[serde(with = "crate::base::human::plain")]
    max_stale: Duration,
    #[serde(with = "crate::base::human::plain")]
    min_lifetime: Duration,
    #[serde(with = "crate::base::human::plain")]
    missing_ttl: Duration,
    #[serde(with = "crate::base::human::plain")]
    timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    unknown_wait: Duration,
}

impl Default for Fields {
    fn default() -> Self {
        RemoteKeysSettings::new().into()
    }
}

impl From<RemoteKeysSettings> for Fields {
    fn from(settings: RemoteKeysSettings) -> Self {
        let RemoteKeysSettings {
            backoff,
            cooldown,
            lifetime,
            max_lifetime,
            max_size,
            max_stale,
            min_lifetime,
            missing_ttl,
            timeout,
            unknown_wait,
        } = settings;
        Self {
            backoff,
            cooldown,
            lifetime,
            max_lifetime,
            max_size,
            max_stale,
            min_lifetime,
            missing_ttl,
            timeout,
            unknown_wait,
        }
    }
}

impl TryFrom<Fields> for RemoteKeysSettings {
    type Error = InvalidJwt;

    fn try_from(fields: Fields) -> Result<Self, InvalidJwt> {
        let Fields {
            backoff,
            cooldown,
            lifetime,
            max_lifetime,
            max_size,
            max_stale,
            min_lifetime,
            missing_ttl,
            timeout,
            unknown_wait,
        } = fields;
        let settings = Self {
            backoff,
            cooldown,
            lifetime,
            max_lifetime,
            max_size,
            max_stale,
            min_lifetime,
            missing_ttl,
            timeout,
            unknown_wait,
        };
        settings.check().map(|()| settings)
    }
}
