use std::time::Duration;

use super::ClientSettings;
use crate::breaker::InvalidBreaker;
use crate::limit::{InvalidConcurrency, InvalidQuota, InvalidThrottle};

/// Settings that no client can have, told by [`ClientBuilder::build`](super::ClientBuilder::build) or by reading them from a
/// file.
///
/// ```
/// use std::time::Duration;
/// use stonework::client::{Client, ClientSettings};
///
/// let settings = ClientSettings::new().deadline(Duration::ZERO);
/// let error = Client::builder().settings(settings).build().unwrap_err();
/// assert!(error.to_string().starts_with("`deadline` is zero; to do without, say `without_deadline`"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClient {
    /// Nothing that gets tokens can be like this.
    #[cfg(feature = "oauth")]
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    #[error("`bearer`: {0}")]
    Bearer(#[source] crate::oauth::InvalidOauth),
    /// No circuit can have these settings.
    #[error("`breaker`: {0}")]
    Breaker(#[source] InvalidBreaker),
    /// No limit can have these settings.
    #[error("`concurrency`: {0}")]
    Concurrency(#[source] InvalidConcurrency),
    /// It is no name of a header.
    #[error("`deadline_header` is not a valid header name; to do without, say \"off\"")]
    DeadlineHeader,
    /// The settings say how something is done that nobody does: the program did not bring the other half.
    #[error("`{field}` is set, and nothing goes by it: what it needs beside settings is given to `{setter}`")]
    #[non_exhaustive]
    NotBrought {
        /// The name of the setting.
        field: &'static str,
        /// The setter of the [builder](super::ClientBuilder) that was not called, or not last.
        setter: &'static str,
    },
    /// No limit can have this quota.
    #[error("`rate_limit`: {0}")]
    RateLimit(#[source] InvalidQuota),
    /// No throttle can have these settings.
    #[error("`throttle`: {0}")]
    Throttle(#[source] InvalidThrottle),
    /// A service cannot be called by way of a balancer like this.
    #[cfg(feature = "balance")]
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    #[error("`upstreams`, {origin}: {why}")]
    #[non_exhaustive]
    Upstream {
        /// Which.
        origin: String,
        /// What its balancer says.
        #[source]
        why: crate::balance::InvalidBalancer,
    },
    /// A service has no endpoints, and nothing is there to discover any.
    #[cfg(feature = "balance")]
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    #[error("`upstreams`, {origin}: `members` is empty, and nothing discovers any")]
    #[non_exhaustive]
    UpstreamEmpty {
        /// Which.
        origin: String,
    },
    /// An endpoint of a service does not say where it is.
    #[cfg(feature = "balance")]
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    #[error(
        "`upstreams`, {origin}: `members` has `{member}`, which is no host and port, as \"10.0.0.7:8080\""
    )]
    #[non_exhaustive]
    UpstreamMember {
        /// Which service.
        origin: String,
        /// The name of the endpoint.
        member: String,
    },
    /// It says no more and no less than which service that is.
    #[cfg(feature = "balance")]
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    #[error(
        "`upstreams` has `{origin}`, which is no origin: a scheme, a host and maybe a port, as \"http://orders.internal\""
    )]
    #[non_exhaustive]
    UpstreamOrigin {
        /// What was given, without a name and a password.
        origin: String,
    },
    /// A service stands there twice, in other words.
    #[cfg(feature = "balance")]
    #[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
    #[error("`upstreams` has {origin} twice")]
    #[non_exhaustive]
    UpstreamTwice {
        /// Which.
        origin: String,
    },
    /// It is zero, with which nothing would ever succeed.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
    /// It is zero, and there is a word for doing without.
    #[error("`{field}` is zero; to do without, say `{instead}` (in a file: {in_a_file} = \"off\")")]
    #[non_exhaustive]
    ZeroForOff {
        /// The name of the setting.
        field: &'static str,
        /// The setter that switches it off.
        instead: &'static str,
        /// The field of a file that can say `"off"`.
        in_a_file: &'static str,
    },
}

impl ClientSettings {
    pub(super) fn check(&self) -> Result<(), InvalidClient> {
        if let Some(breaker) = &self.breaker {
            breaker.check().map_err(InvalidClient::Breaker)?;
        }
        if let Some(concurrency) = &self.concurrency {
            concurrency.check().map_err(InvalidClient::Concurrency)?;
        }
        if let Some(quota) = &self.rate_limit {
            quota.check().map_err(InvalidClient::RateLimit)?;
        }
        if let Some(throttle) = self.throttle {
            throttle.check().map_err(InvalidClient::Throttle)?;
        }
        #[cfg(feature = "oauth")]
        if let Some(bearer) = &self.bearer {
            bearer.check().map_err(InvalidClient::Bearer)?;
        }
        #[cfg(feature = "balance")]
        super::upstreams::check(&self.upstreams)?;
        let zero = |limit: Option<Duration>| limit == Some(Duration::ZERO);
        for (field, instead, refused) in [
            ("attempt_timeout", Some("without_attempt_timeout"), zero(self.attempt_timeout)),
            ("collect_within", None, self.collect_within == Some(0)),
            ("connect_timeout", None, zero(Some(self.connect_timeout))),
            ("connection_lifetime", Some("without_connection_lifetime"), zero(self.connection_lifetime)),
            ("deadline", Some("without_deadline"), zero(self.deadline)),
            ("http2_keep_alive", Some("without_http2_keep_alive"), zero(self.http2_keep_alive)),
            ("idle_timeout", Some("without_idle_connections"), zero(self.idle_timeout)),
            ("max_connections", None, self.max_connections == 0),
            ("max_connections_per_host", None, self.max_connections_per_host == 0),
            ("max_idle_per_host", Some("without_idle_connections"), self.max_idle_per_host == 0),
            ("max_response_body", None, self.max_response_body == 0),
            ("pool_timeout", Some("without_pool_timeout"), zero(self.pool_timeout)),
            ("queue_timeout", Some("without_queue"), zero(self.queue_timeout)),
            ("redirects", Some("without_redirects"), self.redirects == Some(0)),
        ] {
            if refused {
                // Unused connections are switched off by the limit on their time.
                let in_a_file = if field == "max_idle_per_host" { "idle_timeout" } else { field };
                return Err(match instead {
                    Some(instead) => InvalidClient::ZeroForOff { field, instead, in_a_file },
                    None => InvalidClient::Zero { field },
                });
            }
        }
        Ok(())
    }
}
