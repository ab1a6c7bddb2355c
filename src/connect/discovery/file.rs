//! The settings of a discovery as they stand in a file.

use std::time::Duration;

use super::DiscoverySettings;
use crate::connect::InvalidConnector;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of discovery settings")]
pub(super) struct Fields {
    #[serde(with = "crate::base::human::plain")]
    interval: Duration,
    #[serde(with = "crate::base::human::plain")]
    max_interval: Duration,
    #[serde(with = "crate::base::human::plain")]
    min_interval: Duration,
    #[serde(with = "crate::base::human::plain")]
    timeout: Duration,
}

impl Default for Fields {
    fn default() -> Self {
        DiscoverySettings::new().into()
    }
}

impl From<DiscoverySettings> for Fields {
    fn from(settings: DiscoverySettings) -> Self {
        let DiscoverySettings { interval, max_interval, min_interval, timeout } = settings;
        Self { interval, max_interval, min_interval, timeout }
    }
}

impl TryFrom<Fields> for DiscoverySettings {
    type Error = InvalidConnector;

    fn try_from(fields: Fields) -> Result<Self, InvalidConnector> {
        let Fields { interval, max_interval, min_interval, timeout } = fields;
        let settings = Self { interval, max_interval, min_interval, timeout };
        settings.check().map(|()| settings)
    }
}
