use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;

use super::Target;
use crate::base::{Error, Kind, Phase};

/// Why a host was not reached. It stands in the chain of an [`Error`] of kind [`Connect`](Kind::Connect), before the error that it was
/// made from, if there was one. It never shows what a proxy is told about who is asking.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use stonework::base::Phase;
/// use stonework::connect::{ConnectError, Connector, Offer, Progress, Target};
///
/// // A port that nobody listens at.
/// let target = Target::new("127.0.0.1", 1, false);
/// let error = Connector::new().dial(&target, Offer::Http1, &Progress::default()).await.unwrap_err();
/// let why: &ConnectError = error.cause().unwrap();
/// assert_eq!(why.step(), Phase::Connect);
/// assert!(matches!(why, ConnectError::Unreachable { tried: 1, .. }));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name was not resolved. Its source is that of the resolver's error, which all who waited for it share.
    #[error("the name {host:?} was not resolved")]
    #[non_exhaustive]
    NotResolved {
        /// The name.
        host: Box<str>,
        /// What the resolver said.
        #[source]
        source: ResolverSaid,
    },
    /// The name exists and has no address.
    #[error("the name {host:?} has no address")]
    #[non_exhaustive]
    NoAddress {
        /// The name.
        host: Box<str>,
    },
    /// No address of the host could be reached.
    #[error("no connection to {target} at {address}{}", others(*.tried))]
    #[non_exhaustive]
    Unreachable {
        /// The host, or the proxy.
        target: Target,
        /// How many addresses were tried.
        tried: usize,
        /// The address whose failure tells the most.
        address: SocketAddr,
        /// That failure.
        source: io::Error,
    },
    /// What takes the place of TCP did not connect.
    #[error("no connection to {target}")]
    #[non_exhaustive]
    Failed {
        /// The host, or the proxy.
        target: Target,
        /// Why.
        source: io::Error,
    },
    /// A proxy answered, and there is no tunnel.
    #[error("the proxy {proxy} refused a tunnel: {status}")]
    #[non_exhaustive]
    ProxyRefused {
        /// The proxy.
        proxy: Target,
        /// Its answer: 407 if it wants to know who is asking.
        status: StatusCode,
    },
    /// What a proxy answered is no answer, or it did not answer.
    #[error("no tunnel through the proxy {proxy}")]
    #[non_exhaustive]
    ProxyFailed {
        /// The proxy.
        proxy: Target,
        /// Why.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {target}")]
    #[non_exhaustive]
    Tls {
        /// The host, or the proxy.
        target: Target,
        /// What rustls says.
        source: io::Error,
    },
    /// The crate was built without TLS.
    #[error("{target} needs the feature `tls`, which is off")]
    #[non_exhaustive]
    NoTls {
        /// The host.
        target: Target,
    },
}

/// What a resolver said: one [`Error`], shared by all who waited for it, below a [`ConnectError`].
#[derive(Clone, Debug)]
pub struct ResolverSaid(pub(super) Arc<Error>);

impl std::fmt::Display for ResolverSaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the resolver failed")
    }
}

impl std::error::Error for ResolverSaid {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Of the shared one only what it was made from: it is no call of its own.
        self.0.source()
    }
}

/// The address that is named has failed in the way that tells the most.
fn others(tried: usize) -> String {
    match tried {
        0 | 1 => String::new(),
        2 => ", and at another address".to_owned(),
        _ => format!(", and at {} other addresses", tried - 1),
    }
}

impl ConnectError {
    pub(super) fn failed(to: &Target, source: io::Error) -> Self {
        Self::Failed { target: to.clone(), source }
    }

    /// What was being done.
    #[must_use]
    pub const fn step(&self) -> Phase {
        match self {
            Self::NotResolved { .. } | Self::NoAddress { .. } => Phase::Resolve,
            Self::Unreachable { .. } | Self::Failed { .. } => Phase::Connect,
            Self::ProxyRefused { .. } | Self::ProxyFailed { .. } => Phase::Proxy,
            Self::Tls { .. } | Self::NoTls { .. } => Phase::Tls,
        }
    }

    /// Whether it would be the same the next time.
    fn is_final(&self) -> bool {
        match self {
            Self::NotResolved { source, .. } => source.0.forbids_retry(),
            Self::ProxyRefused { status, .. } => {
                let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_client_error() && !passes.contains(status)
            }
            Self::NoTls { .. } => true,
            #[cfg(feature = "tls")]
            Self::Tls { source, .. } => super::tls::is_final(source),
            _ => false,
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        let is_final = error.is_final();
        let error = Self::new(Kind::Connect, error);
        if is_final { error.without_retry() } else { error }
    }
}
