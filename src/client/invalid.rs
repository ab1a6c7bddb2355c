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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClient {
    /// No circuit can have these settings.
    #[error("`breaker`: {0}")]
    Breaker(#[source] InvalidBreaker),
    /// No limit can have these settings.
    #[error("`concurrency`: {0}")]
    Concurrency(#[source] InvalidConcurrency),
    /// It is no name of a header.
    #[error("`deadline_header` is not a valid header name; to do without, say \"off\"")]
    DeadlineHeader,
    /// No limit can have this quota.
    #[error("`rate_limit`: {0}")]
    RateLimit(#[source] InvalidQuota),
    /// No throttle can have these settings.
    #[error("`throttle`: {0}")]
    Throttle(#[source] InvalidThrottle),
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
