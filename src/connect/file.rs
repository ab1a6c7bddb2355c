//! The settings of TCP as they stand in a file.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{InvalidConnector, TcpSettings};
use crate::base::{human::Human, or_off::OrOff};

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of connector settings")]
pub(super) struct Fields {
    #[serde(with = "crate::base::human::plain")]
    attempt_delay: Duration,
    keepalive: OrOff<Human>,
    #[serde(with = "crate::base::human::plain")]
    keepalive_interval: Duration,
    local_v4: OrOff<Ipv4Addr>,
    local_v6: OrOff<Ipv6Addr>,
    nodelay: bool,
    user_timeout: OrOff<Human>,
}

impl Default for Fields {
    fn default() -> Self {
        TcpSettings::new().into()
    }
}

impl From<TcpSettings> for Fields {
    fn from(settings: TcpSettings) -> Self {
        Self {
            attempt_delay: settings.attempt_delay,
            keepalive: settings.keepalive.map(Human).into(),
            keepalive_interval: settings.keepalive_interval,
            local_v4: settings.local_v4.into(),
            local_v6: settings.local_v6.into(),
            nodelay: settings.nodelay,
            user_timeout: settings.user_timeout.map(Human).into(),
        }
    }
}

impl TryFrom<Fields> for TcpSettings {
    type Error = InvalidConnector;

    fn try_from(fields: Fields) -> Result<Self, InvalidConnector> {
        let settings = Self {
            attempt_delay: fields.attempt_delay,
            keepalive: fields.keepalive.into_option().map(|human| human.0),
            keepalive_interval: fields.keepalive_interval,
            local_v4: fields.local_v4.into_option(),
            local_v6: fields.local_v6.into_option(),
            nodelay: fields.nodelay,
            user_timeout: fields.user_timeout.into_option().map(|human| human.0),
        };
        settings.check().map(|()| settings)
    }
}
