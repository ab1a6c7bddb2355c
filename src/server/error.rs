use std::io;

use crate::limit::{InvalidConcurrency, InvalidQuota};

/// A value that [`ServerSettings`](super::ServerSettings) cannot have.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::error::Error;
/// use stonework::server::{Server, ServerSettings};
///
/// let settings = ServerSettings::new().max_headers(0);
/// let error = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap_err();
/// assert_eq!(error.source().unwrap().to_string(), "`max_headers` is zero");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServer {
    /// Two that say different things about one.
    #[error("`{field}` and `{other}` say different things: one is enough")]
    #[non_exhaustive]
    Both {
        /// The name of the setting.
        field: &'static str,
        /// The setting that it contradicts.
        other: &'static str,
    },
    /// No limit can have these settings.
    #[error("`concurrency`: {0}")]
    Concurrency(#[source] InvalidConcurrency),
    /// It is no name of a header.
    #[error("`deadline_header` is not a valid header name")]
    DeadlineHeader,
    /// No layer for keyed requests can have these settings.
    #[cfg(feature = "idempotency")]
    #[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
    #[error("`idempotency`: {0}")]
    Idempotency(#[source] crate::idempotency::InvalidIdempotency),
    /// Nothing that asks about tokens can be like this.
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    #[error("`introspect`: {0}")]
    Introspect(#[source] crate::jwt::InvalidJwt),
    /// Nothing that looks at tokens can be like this.
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    #[error("`jwt`: {0}")]
    Jwt(#[source] crate::jwt::InvalidJwt),
    /// The settings say how something is done that nobody does: the program did not bring the other half.
    #[error("`{field}` is set, and nothing goes by it: what it needs beside settings is given to `{setter}`")]
    #[non_exhaustive]
    NotBrought {
        /// The name of the setting.
        field: &'static str,
        /// The setter of the [builder](super::ServerBuilder) that was not called, or not last.
        setter: &'static str,
    },
    /// There is a limit for each sender, and nothing in the server finds out who sends: all of them would have one limit.
    #[error("`{field}` has nobody to tell senders apart by: set `jwt` or `introspect`, too")]
    #[non_exhaustive]
    NoSenders {
        /// The name of the setting.
        field: &'static str,
    },
    /// No limit can have this quota.
    #[error("`principal_rate_limit`: {0}")]
    PrincipalRateLimit(#[source] InvalidQuota),
    /// No limit can have this quota.
    #[error("`rate_limit`: {0}")]
    RateLimit(#[source] InvalidQuota),
    /// It is more than there may be.
    #[error("`{field}` is too large: at most {most}")]
    #[non_exhaustive]
    TooLarge {
        /// The name of the setting.
        field: &'static str,
        /// As much as it may be.
        most: usize,
    },
    /// It says nothing without another one, which is off.
    #[error("`{field}` says nothing where `{other}` is off")]
    #[non_exhaustive]
    Without {
        /// The name of the setting.
        field: &'static str,
        /// The setting that it needs.
        other: &'static str,
    },
    /// It is zero, with which nothing could ever be served.
    #[error("`{field}` is zero")]
    #[non_exhaustive]
    Zero {
        /// The name of the setting.
        field: &'static str,
    },
    /// It is zero, and there is a word for doing without.
    #[error("`{field}` is zero; to do without, say `{instead}` (in a file: {field} = \"off\")")]
    #[non_exhaustive]
    ZeroForOff {
        /// The name of the setting.
        field: &'static str,
        /// The setter that switches it off.
        instead: &'static str,
    },
}

/// The server cannot be: it could not listen there, or not as its settings say.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use stonework::server::Server;
///
/// let first = Server::bind("127.0.0.1:0").await.unwrap();
/// let error = Server::bind(first.local_addr()).await.unwrap_err();
/// assert_eq!(error.to_string(), format!("cannot listen on {}", first.local_addr()));
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::AddrInUse);
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{} {addr}", source.told())]
pub struct BindError {
    pub(super) addr: String,
    #[source]
    pub(super) source: Reason,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Settings(#[from] InvalidServer),
}

impl Reason {
    const fn told(&self) -> &'static str {
        match self {
            Self::Io(_) => "cannot listen on",
            Self::Settings(_) => "a server cannot be as its settings say, on",
        }
    }
}

impl BindError {
    /// The address, as it was given.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The setting that cannot be, if it was one.
    #[must_use]
    pub fn invalid(&self) -> Option<InvalidServer> {
        match &self.source {
            Reason::Io(_) => None,
            Reason::Settings(invalid) => Some(invalid.clone()),
        }
    }
}

/// For functions that return [`io::Result`]. The kind stays; that of an impossible setting is
/// [`InvalidInput`](io::ErrorKind::InvalidInput).
impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        let kind = match &error.source {
            Reason::Io(source) => source.kind(),
            Reason::Settings(_) => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
