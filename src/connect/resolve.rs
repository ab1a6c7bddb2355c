use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::base::Error;

/// Finds the addresses of a host: [`SystemResolver`](super::SystemResolver), unless a [`Connector`](super::Connector) is given another.
///
/// ```
/// use std::net::IpAddr;
/// use stonework::base::{Error, Kind};
/// use stonework::connect::{Resolve, Resolved};
///
/// /// Knows one name.
/// struct Fixed;
///
/// impl Resolve for Fixed {
///     async fn resolve(&self, host: &str) -> Result<Resolved, Error> {
///         match host {
///             "orders.test" => Ok(Resolved::new([IpAddr::from([10, 0, 0, 7])])),
///             _ => Err(Error::new(Kind::Connect, "not one of ours")),
///         }
///     }
/// }
/// ```
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of this host: a name in small letters, never an address. None at all is a failure.
    ///
    /// # Errors
    ///
    /// As it likes, of the kind [`Connect`](crate::base::Kind::Connect).
    fn resolve(&self, host: &str) -> impl Future<Output = Result<Resolved, Error>> + Send;
}

/// The addresses of a host, as a [`Resolve`] finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The best first, as by RFC 6724.
    pub addresses: Vec<IpAddr>,
    /// How long they are good for, if the resolver knows.
    pub ttl: Option<Duration>,
    /// One family of addresses, IPv4 or IPv6, has no answer, or failed: there may be others. Whoever follows a name keeps those that were
    /// known of a family that is not among these.
    pub partial: bool,
}

impl Resolved {
    /// These addresses, for nobody knows how long.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { addresses: addresses.into_iter().collect(), ttl: None, partial: false }
    }

    /// They are good for so long.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// There may be others of another family: see [`partial`](Self#structfield.partial).
    #[must_use]
    pub const fn in_part(mut self) -> Self {
        self.partial = true;
        self
    }
}

pub(super) type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Resolved, Error>> + Send + 'a>>;

/// The same, whichever it is.
pub(super) trait AnyResolve: Send + Sync {
    fn ask<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

impl<R: Resolve> AnyResolve for R {
    fn ask<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(self.resolve(host))
    }
}
