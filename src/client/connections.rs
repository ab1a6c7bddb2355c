//! What is told of connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Delivery, Elapsed, Error, Kind, Phase};

/// There was no connection for a request, and no room for another one. It stands in the chain of an [`Error`] of kind
/// [`Overload`](Kind::Overload), if too many waited already, and of kind [`Timeout`](Kind::Timeout), with [`Elapsed`] at its end, if the
/// wait was too long. The request was not sent.
///
/// ```
/// use stonework::Error;
/// use stonework::client::ConnectionsExhausted;
///
/// fn told(error: &Error) -> Option<String> {
///     let exhausted = error.cause::<ConnectionsExhausted>()?;
///     Some(format!("{} of {} connections to {}", exhausted.open(), exhausted.max(), exhausted.host()))
/// }
/// # let _ = told;
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionsExhausted {
    pub(super) host: Arc<str>,
    /// Those to all hosts were all there may be.
    pub(super) everywhere: bool,
    pub(super) max: usize,
    pub(super) open: usize,
    pub(super) waiting: usize,
    pub(super) elapsed: Option<Elapsed>,
}

impl ConnectionsExhausted {
    /// The host and its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what was reached is [the limit on all connections](super::ClientSettings::max_connections), and not
    /// [that of the host](super::ClientSettings::max_connections_per_host).
    #[must_use]
    pub const fn is_everywhere(&self) -> bool {
        self.everywhere
    }

    /// How many connections there may be, to the host, or to all hosts if it [is everywhere](Self::is_everywhere).
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// How many there were, of those that [`max`](Self::max) counts. To all hosts, those that were being made are among them.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.open
    }

    /// How many requests waited for one, to this host.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn into_error(mut self, waited: Option<Duration>) -> Error {
        self.elapsed = waited.map(|waited| Elapsed::new(Phase::Pool, waited));
        let kind = if self.elapsed.is_some() { Kind::Timeout } else { Kind::Overload };
        Error::new(kind, self).with_delivery(Delivery::NotSent)
    }
}

impl fmt::Display for ConnectionsExhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, everywhere, max, open, waiting, elapsed: _ } = self;
        let to = if *everywhere { " to all hosts" } else { "" };
        write!(f, "no connection to {host} was free: {open} of {max}{to} open, requests waiting: {waiting}")
    }
}

impl std::error::Error for ConnectionsExhausted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.elapsed.as_ref().map(|elapsed| elapsed as _)
    }
}

/// Connecting failed: one [`Error`], which all who waited for that connection share. It stands in the chain of the error of each of them,
/// before what the connection failed with.
///
/// ```
/// use stonework::base::Delivery;
/// use stonework::client::{Client, ClientSettings, NotConnected};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder().settings(ClientSettings::new().without_retry()).build()?;
/// // A port that nobody listens at.
/// let error = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
/// assert!(error.cause::<NotConnected>().is_some());
/// assert_eq!(error.delivery(), Delivery::NotSent);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct NotConnected(Arc<Error>);

impl NotConnected {
    pub(super) fn told(shared: &Arc<Error>) -> Error {
        let mut error = Error::new(shared.kind(), Self(Arc::clone(shared))).with_delivery(Delivery::NotSent);
        if let Some(delay) = shared.retry_after() {
            error = error.with_retry_after(delay);
        }
        if shared.forbids_retry() { error.without_retry() } else { error }
    }
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host was not reached")
    }
}

impl std::error::Error for NotConnected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Of the shared one only what it was made from: it is no call of its own.
        self.0.source()
    }
}

/// How many connections a client has. See [`Client::connections`](super::Client::connections).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Hosts that there are connections to, or were until recently.
    pub hosts: usize,
    /// Connections that are open.
    pub open: usize,
    /// Connections that are being made.
    pub dialing: usize,
    /// Of those that are open, how many nobody uses.
    pub idle: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Requests, of all until now, that a connection gave back unsent since it was closed, and that went out over another one.
    pub replayed: u64,
}

/// Which versions of HTTP a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub(super) enum HttpVersions {
    /// HTTP/2 where a host over TLS chooses it, else HTTP/1.1.
    #[default]
    #[cfg_attr(feature = "serde", serde(rename = "auto"))]
    Auto,
    #[cfg_attr(feature = "serde", serde(rename = "1"))]
    Http1,
    /// From the first byte.
    #[cfg_attr(feature = "serde", serde(rename = "2"))]
    Http2,
}
