//! The settings of a server as they stand in a file.

use std::time::Duration;

use super::{InvalidServer, ServerSettings};
use crate::base::{human::Human, or_off::OrOff};
use crate::limit::{ConcurrencySettings, Quota, TrustedProxies};
use crate::timeout::BodyLimits;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    age_grace: OrOff<Human>,
    concurrency: OrOff<ConcurrencySettings>,
    #[serde(with = "crate::base::human::plain")]
    drain_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    handshake_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    header_read_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    keep_alive_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    lame_duck: Duration,
    max_age: OrOff<Human>,
    max_concurrent_streams: u32,
    max_connections: OrOff<usize>,
    max_connections_per_address: OrOff<usize>,
    max_head_size: u32,
    max_headers: usize,
    #[serde(with = "crate::base::human::plain")]
    ping_interval: Duration,
    #[serde(with = "crate::base::human::plain")]
    ping_timeout: Duration,
    queue_timeout: OrOff<Human>,
    rate_limit: OrOff<Quota>,
    request_body: BodyLimits,
    stall_timeout: OrOff<Human>,
    trusted_proxies: TrustedProxies,
}

impl Default for Fields {
    fn default() -> Self {
        ServerSettings::new().into()
    }
}

impl From<ServerSettings> for Fields {
    fn from(settings: ServerSettings) -> Self {
        let limit = |limit: Option<Duration>| limit.map(Human).into();
        Self {
            age_grace: limit(settings.age_grace),
            concurrency: settings.concurrency.into(),
            drain_timeout: settings.drain_timeout,
            handshake_timeout: settings.handshake_timeout,
            header_read_timeout: settings.header_read_timeout,
            keep_alive_timeout: settings.keep_alive_timeout,
            lame_duck: settings.lame_duck,
            max_age: limit(settings.max_age),
            max_concurrent_streams: settings.max_concurrent_streams,
            max_connections: settings.max_connections.into(),
            max_connections_per_address: settings.max_connections_per_address.into(),
            max_head_size: settings.max_head_size,
            max_headers: settings.max_headers,
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            queue_timeout: limit(settings.queue_timeout),
            rate_limit: settings.rate_limit.into(),
            request_body: settings.request_body,
            stall_timeout: limit(settings.stall_timeout),
            trusted_proxies: settings.trusted_proxies,
        }
    }
}

impl TryFrom<Fields> for ServerSettings {
    type Error = InvalidServer;

    fn try_from(fields: Fields) -> Result<Self, InvalidServer> {
        let limit = |limit: OrOff<Human>| limit.into_option().map(|human| human.0);
        let settings = Self {
            age_grace: limit(fields.age_grace),
            concurrency: fields.concurrency.into_option(),
            drain_timeout: fields.drain_timeout,
            handshake_timeout: fields.handshake_timeout,
            header_read_timeout: fields.header_read_timeout,
            keep_alive_timeout: fields.keep_alive_timeout,
            lame_duck: fields.lame_duck,
            max_age: limit(fields.max_age),
            max_concurrent_streams: fields.max_concurrent_streams,
            max_connections: fields.max_connections.into_option(),
            max_connections_per_address: fields.max_connections_per_address.into_option(),
            max_head_size: fields.max_head_size,
            max_headers: fields.max_headers,
            ping_interval: fields.ping_interval,
            ping_timeout: fields.ping_timeout,
            queue_timeout: limit(fields.queue_timeout),
            rate_limit: fields.rate_limit.into_option(),
            request_body: fields.request_body,
            stall_timeout: limit(fields.stall_timeout),
            trusted_proxies: fields.trusted_proxies,
        };
        settings.check().map(|()| settings)
    }
}
