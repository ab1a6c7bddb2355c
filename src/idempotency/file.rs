//! The settings as they stand in a file.

use std::time::Duration;

use http::{HeaderName, Method};

use super::settings::{IdempotencySettings, WhenAway};
use super::{AfterCrash, InvalidIdempotency};

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of idempotency settings")]
pub(super) struct Fields {
    after_crash: AfterCrash,
    fingerprint_headers: Vec<String>,
    #[serde(with = "crate::base::human::plain")]
    lease: Duration,
    max_request_body: usize,
    max_response_body: usize,
    methods: Vec<String>,
    #[serde(with = "crate::base::human::plain")]
    record: Duration,
    required: bool,
    #[serde(with = "crate::base::human::plain")]
    retry_after: Duration,
    #[serde(with = "crate::base::human::plain")]
    store_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    wait_up_to: Duration,
    when_away: WhenAway,
}

/// What stands in a file, and cannot be.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidFile {
    #[error("`fingerprint_headers` has {0:?}, which is no name of a field")]
    Header(String),
    #[error("`methods` has {0:?}, which is no method")]
    Method(String),
    #[error(transparent)]
    Settings(#[from] InvalidIdempotency),
}

impl Default for Fields {
    fn default() -> Self {
        IdempotencySettings::new().into()
    }
}

impl From<IdempotencySettings> for Fields {
    fn from(settings: IdempotencySettings) -> Self {
        // Destructured, so that a new setting cannot be forgotten here.
        let IdempotencySettings {
            after_crash,
            fingerprint_headers,
            lease,
            max_request_body,
            max_response_body,
            methods,
            record,
            required,
            retry_after,
            store_timeout,
            wait_up_to,
            when_away,
        } = settings;
        Self {
            after_crash,
            fingerprint_headers: fingerprint_headers.iter().map(ToString::to_string).collect(),
            lease,
            max_request_body,
            max_response_body,
            methods: methods.iter().map(ToString::to_string).collect(),
            record,
            required,
            retry_after,
            store_timeout,
            wait_up_to,
            when_away,
        }
    }
}

impl TryFrom<Fields> for IdempotencySettings {
    type Error = InvalidFile;

    fn try_from(fields: Fields) -> Result<Self, InvalidFile> {
        let header = |name: String| HeaderName::try_from(&name).map_err(|_| InvalidFile::Header(name));
        let method = |name: String| Method::try_from(&*name).map_err(|_| InvalidFile::Method(name));
        let settings = Self {
            after_crash: fields.after_crash,
            fingerprint_headers: fields
                .fingerprint_headers
                .into_iter()
                .map(header)
                .collect::<Result<_, _>>()?,
            lease: fields.lease,
            max_request_body: fields.max_request_body,
            max_response_body: fields.max_response_body,
            methods: fields.methods.into_iter().map(method).collect::<Result<_, _>>()?,
            record: fields.record,
            required: fields.required,
            retry_after: fields.retry_after,
            store_timeout: fields.store_timeout,
            wait_up_to: fields.wait_up_to,
            when_away: fields.when_away,
        };
        settings.check()?;
        Ok(settings)
    }
}
