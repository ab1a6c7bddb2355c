//! Settings as they stand in a file.

use std::time::Duration;

use super::{ClientSettings, HttpVersions, InvalidClient};
use crate::base::human::Human;
use crate::base::or_off::OrOff;
use crate::breaker::BreakerSettings;
use crate::fallback::FallbackSettings;
use crate::hedge::HedgeSettings;
use crate::limit::{ConcurrencySettings, Quota, ThrottleSettings};
use crate::observe::Propagation;
use crate::retry::{ResumeSettings, RetrySettings};
use crate::timeout::BodyLimits;

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of client settings")]
pub(super) struct Fields {
    attempt_timeout: OrOff<Human>,
    #[cfg(feature = "oauth")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer: Option<crate::oauth::TokenSettings>,
    body: BodyLimits,
    breaker: OrOff<BreakerSettings>,
    collect_within: OrOff<usize>,
    concurrency: OrOff<ConcurrencySettings>,
    #[serde(with = "crate::base::human::plain")]
    connect_timeout: Duration,
    connection_lifetime: OrOff<Human>,
    deadline: OrOff<Human>,
    deadline_header: OrOff<String>,
    expect_continue: OrOff<u64>,
    #[cfg(feature = "decompression")]
    decompression: bool,
    fallback: FallbackSettings,
    hedge: OrOff<HedgeSettings>,
    http: HttpVersions,
    http2_keep_alive: OrOff<Human>,
    idle_timeout: OrOff<Human>,
    max_connections: usize,
    max_connections_per_host: usize,
    max_idle_per_host: usize,
    max_response_body: usize,
    max_waiting: usize,
    pool_timeout: OrOff<Human>,
    propagation: Propagation,
    queue_timeout: OrOff<Human>,
    rate_limit: OrOff<Quota>,
    redirects: OrOff<u32>,
    resume: OrOff<ResumeSettings>,
    retry: OrOff<RetrySettings>,
    server_quotas: bool,
    throttle: OrOff<ThrottleSettings>,
    #[cfg(feature = "balance")]
    upstreams: std::collections::BTreeMap<String, super::UpstreamSettings>,
}

impl Default for Fields {
    fn default() -> Self {
        ClientSettings::new().into()
    }
}

impl From<ClientSettings> for Fields {
    fn from(settings: ClientSettings) -> Self {
        Self {
            attempt_timeout: settings.attempt_timeout.map(Human).into(),
            #[cfg(feature = "oauth")]
            bearer: settings.bearer,
            body: settings.body,
            breaker: settings.breaker.into(),
            collect_within: settings.collect_within.into(),
            concurrency: settings.concurrency.into(),
            connect_timeout: settings.connect_timeout,
            connection_lifetime: settings.connection_lifetime.map(Human).into(),
            deadline: settings.deadline.map(Human).into(),
            deadline_header: settings.deadline_header.map(|name| name.to_string()).into(),
            expect_continue: settings.expect_continue.into(),
            #[cfg(feature = "decompression")]
            decompression: settings.decompression,
            fallback: settings.fallback,
            hedge: settings.hedge.into(),
            http: settings.http,
            http2_keep_alive: settings.http2_keep_alive.map(Human).into(),
            idle_timeout: settings.idle_timeout.map(Human).into(),
            max_connections: settings.max_connections,
            max_connections_per_host: settings.max_connections_per_host,
            max_idle_per_host: settings.max_idle_per_host,
            max_response_body: settings.max_response_body,
            max_waiting: settings.max_waiting,
            pool_timeout: settings.pool_timeout.map(Human).into(),
            propagation: settings.propagation,
            queue_timeout: settings.queue_timeout.map(Human).into(),
            rate_limit: settings.rate_limit.into(),
            redirects: settings.redirects.into(),
            resume: settings.resume.into(),
            retry: settings.retry.into(),
            server_quotas: settings.server_quotas,
            throttle: settings.throttle.into(),
            #[cfg(feature = "balance")]
            upstreams: settings.upstreams,
        }
    }
}

impl TryFrom<Fields> for ClientSettings {
    type Error = InvalidClient;

    fn try_from(fields: Fields) -> Result<Self, InvalidClient> {
        let limit = |limit: OrOff<Human>| limit.into_option().map(|human| human.0);
        let header = fields.deadline_header.into_option().map(|name| name.parse());
        let header = header.transpose().map_err(|_| InvalidClient::DeadlineHeader)?;
        let settings = Self {
            attempt_timeout: limit(fields.attempt_timeout),
            #[cfg(feature = "oauth")]
            bearer: fields.bearer,
            body: fields.body,
            breaker: fields.breaker.into_option(),
            collect_within: fields.collect_within.into_option(),
            concurrency: fields.concurrency.into_option(),
            connect_timeout: fields.connect_timeout,
            connection_lifetime: limit(fields.connection_lifetime),
            deadline: limit(fields.deadline),
            deadline_header: header,
            expect_continue: fields.expect_continue.into_option(),
            #[cfg(feature = "decompression")]
            decompression: fields.decompression,
            fallback: fields.fallback,
            hedge: fields.hedge.into_option(),
            http: fields.http,
            http2_keep_alive: limit(fields.http2_keep_alive),
            idle_timeout: limit(fields.idle_timeout),
            max_connections: fields.max_connections,
            max_connections_per_host: fields.max_connections_per_host,
            max_idle_per_host: fields.max_idle_per_host,
            max_response_body: fields.max_response_body,
            max_waiting: fields.max_waiting,
            pool_timeout: limit(fields.pool_timeout),
            propagation: fields.propagation,
            queue_timeout: limit(fields.queue_timeout),
            rate_limit: fields.rate_limit.into_option(),
            redirects: fields.redirects.into_option(),
            resume: fields.resume.into_option(),
            retry: fields.retry.into_option(),
            server_quotas: fields.server_quotas,
            throttle: fields.throttle.into_option(),
            #[cfg(feature = "balance")]
            upstreams: fields.upstreams,
        };
        settings.check().map(|()| settings)
    }
}
