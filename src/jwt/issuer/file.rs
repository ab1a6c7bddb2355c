//! The settings of an issuer as they stand in a file.

use std::time::Duration;

use super::IssuerSettings;
use crate::base::{human::Human, or_off::OrOff};
use crate::jwt::InvalidJwt;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of issuer settings")]
pub(super) struct Fields {
    #[serde(with = "crate::base::human::plain")]
    max_age: Duration,
    #[serde(with = "crate::base::human::plain")]
    publish_ahead: Duration,
    rotate_every: OrOff<Human>,
    #[serde(with = "crate::base::human::plain")]
    token_lifetime: Duration,
}

impl Default for Fields {
    fn default() -> Self {
        IssuerSettings::new().into()
    }
}

impl From<IssuerSettings> for Fields {
    fn from(settings: IssuerSettings) -> Self {
        let IssuerSettings { max_age, publish_ahead, rotate_every, token_lifetime } = settings;
        Self { max_age, publish_ahead, rotate_every: rotate_every.map(Human).into(), token_lifetime }
    }
}

impl TryFrom<Fields> for IssuerSettings {
    type Error = InvalidJwt;

    fn try_from(fields: Fields) -> Result<Self, InvalidJwt> {
        let Fields { max_age, publish_ahead, rotate_every, token_lifetime } = fields;
        let rotate_every = rotate_every.into_option().map(|human| human.0);
        let settings = Self { max_age, publish_ahead, rotate_every, token_lifetime };
        settings.check().map(|()| settings)
    }
}
