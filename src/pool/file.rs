//! The settings of a pool as they stand in a file.

use std::time::Duration;

use super::{InvalidPool, PoolSettings};
use crate::base::{Backoff, human::Human, or_off::OrOff};

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of pool settings")]
pub(super) struct Fields {
    backoff: Backoff,
    check_after: OrOff<Human>,
    #[serde(with = "crate::base::human::plain")]
    connect_timeout: Duration,
    idle_timeout: OrOff<Human>,
    lifetime: OrOff<Human>,
    max: usize,
    max_waiting: usize,
    min_idle: usize,
    wait_timeout: OrOff<Human>,
}

impl Default for Fields {
    fn default() -> Self {
        PoolSettings::new().into()
    }
}

impl From<PoolSettings> for Fields {
    fn from(settings: PoolSettings) -> Self {
        let limit = |limit: Option<Duration>| limit.map(Human).into();
        Self {
            backoff: settings.backoff,
            check_after: limit(settings.check_after),
            connect_timeout: settings.connect_timeout,
            idle_timeout: limit(settings.idle_timeout),
            lifetime: limit(settings.lifetime),
            max: settings.max,
            max_waiting: settings.max_waiting,
            min_idle: settings.min_idle,
            wait_timeout: limit(settings.wait_timeout),
        }
    }
}

impl TryFrom<Fields> for PoolSettings {
    type Error = InvalidPool;

    fn try_from(fields: Fields) -> Result<Self, InvalidPool> {
        let limit = |limit: OrOff<Human>| limit.into_option().map(|human| human.0);
        let settings = Self {
            backoff: fields.backoff,
            check_after: limit(fields.check_after),
            connect_timeout: fields.connect_timeout,
            idle_timeout: limit(fields.idle_timeout),
            lifetime: limit(fields.lifetime),
            max: fields.max,
            max_waiting: fields.max_waiting,
            min_idle: fields.min_idle,
            wait_timeout: limit(fields.wait_timeout),
        };
        settings.check().map(|()| settings)
    }
}
