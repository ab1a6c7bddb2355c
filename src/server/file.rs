//! The settings of a server as they stand in a file.

use std::time::Duration;

use super::{InvalidServer, ServerSettings};
use crate::base::{TrustedPeers, human::Human, or_off::OrOff};
use crate::limit::{ConcurrencySettings, Quota, TrustedProxies};
use crate::timeout::BodyLimits;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of server settings")]
pub(super) struct Fields {
    access_log: bool,
    access_log_paths: bool,
    age_grace: OrOff<Human>,
    concurrency: OrOff<ConcurrencySettings>,
    deadline: OrOff<Human>,
    deadline_from: OrOff<TrustedPeers>,
    deadline_header: String,
    #[serde(with = "crate::base::human::plain")]
    drain_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    handshake_timeout: Duration,
    #[serde(with = "crate::base::human::plain")]
    header_read_timeout: Duration,
    #[cfg(feature = "idempotency")]
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency: Option<crate::idempotency::IdempotencySettings>,
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    introspect: Option<crate::jwt::IntrospectSettings>,
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<crate::jwt::JwtSettings>,
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
    max_request_body: OrOff<u64>,
    #[cfg(feature = "metrics")]
    metrics: bool,
    overload_queue: bool,
    #[serde(with = "crate::base::human::plain")]
    ping_interval: Duration,
    #[serde(with = "crate::base::human::plain")]
    ping_timeout: Duration,
    principal_rate_limit: OrOff<Quota>,
    queue_timeout: OrOff<Human>,
    rate_limit: OrOff<Quota>,
    request_body: BodyLimits,
    request_id_from: OrOff<TrustedPeers>,
    request_span: bool,
    stall_timeout: OrOff<Human>,
    trace_from: OrOff<TrustedPeers>,
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
            access_log: settings.access_log,
            access_log_paths: settings.access_log_paths,
            age_grace: limit(settings.age_grace),
            concurrency: settings.concurrency.into(),
            deadline: limit(settings.deadline),
            deadline_from: settings.deadline_from.into(),
            deadline_header: settings.deadline_header.to_string(),
            drain_timeout: settings.drain_timeout,
            handshake_timeout: settings.handshake_timeout,
            header_read_timeout: settings.header_read_timeout,
            #[cfg(feature = "idempotency")]
            idempotency: settings.idempotency,
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            introspect: settings.introspect,
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            jwt: settings.jwt,
            keep_alive_timeout: settings.keep_alive_timeout,
            lame_duck: settings.lame_duck,
            max_age: limit(settings.max_age),
            max_concurrent_streams: settings.max_concurrent_streams,
            max_connections: settings.max_connections.into(),
            max_connections_per_address: settings.max_connections_per_address.into(),
            max_head_size: settings.max_head_size,
            max_headers: settings.max_headers,
            max_request_body: settings.max_request_body.into(),
            #[cfg(feature = "metrics")]
            metrics: settings.metrics,
            overload_queue: settings.overload_queue,
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            principal_rate_limit: settings.principal_rate_limit.into(),
            queue_timeout: limit(settings.queue_timeout),
            rate_limit: settings.rate_limit.into(),
            request_body: settings.request_body,
            request_id_from: settings.request_id_from.into(),
            request_span: settings.request_span,
            stall_timeout: limit(settings.stall_timeout),
            trace_from: settings.trace_from.into(),
            trusted_proxies: settings.trusted_proxies,
        }
    }
}

impl TryFrom<Fields> for ServerSettings {
    type Error = InvalidServer;

    fn try_from(fields: Fields) -> Result<Self, InvalidServer> {
        let limit = |limit: OrOff<Human>| limit.into_option().map(|human| human.0);
        let settings = Self {
            access_log: fields.access_log,
            access_log_paths: fields.access_log_paths,
            age_grace: limit(fields.age_grace),
            concurrency: fields.concurrency.into_option(),
            deadline: limit(fields.deadline),
            deadline_from: fields.deadline_from.into_option(),
            deadline_header: fields.deadline_header.parse().map_err(|_| InvalidServer::DeadlineHeader)?,
            drain_timeout: fields.drain_timeout,
            handshake_timeout: fields.handshake_timeout,
            header_read_timeout: fields.header_read_timeout,
            #[cfg(feature = "idempotency")]
            idempotency: fields.idempotency,
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            introspect: fields.introspect,
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            jwt: fields.jwt,
            keep_alive_timeout: fields.keep_alive_timeout,
            lame_duck: fields.lame_duck,
            max_age: limit(fields.max_age),
            max_concurrent_streams: fields.max_concurrent_streams,
            max_connections: fields.max_connections.into_option(),
            max_connections_per_address: fields.max_connections_per_address.into_option(),
            max_head_size: fields.max_head_size,
            max_headers: fields.max_headers,
            max_request_body: fields.max_request_body.into_option(),
            #[cfg(feature = "metrics")]
            metrics: fields.metrics,
            overload_queue: fields.overload_queue,
            ping_interval: fields.ping_interval,
            ping_timeout: fields.ping_timeout,
            principal_rate_limit: fields.principal_rate_limit.into_option(),
            queue_timeout: limit(fields.queue_timeout),
            rate_limit: fields.rate_limit.into_option(),
            request_body: fields.request_body,
            request_id_from: fields.request_id_from.into_option(),
            request_span: fields.request_span,
            stall_timeout: limit(fields.stall_timeout),
            trace_from: fields.trace_from.into_option(),
            trusted_proxies: fields.trusted_proxies,
        };
        settings.check().map(|()| settings)
    }
}
