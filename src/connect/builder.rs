use std::fmt;
use std::sync::Arc;

use super::connector::Inner;
use super::resolve::AnyResolve;
use super::transport::AnyConnect;
use super::{Connect, Connector, Resolve, SystemResolver, Tcp};

/// Builds a [`Connector`]. The order of the setters does not matter. Example: [`connect_fn`](super::connect_fn).
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Default)]
pub struct ConnectorBuilder {
    resolver: Option<Arc<dyn AnyResolve>>,
    transport: Option<Arc<dyn AnyConnect>>,
    #[cfg(feature = "tls")]
    tls: super::ClientTls,
}

impl ConnectorBuilder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Ask this one for the addresses of hosts. Default: the [system](SystemResolver).
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Go over this instead of TCP. Default: [`Tcp`].
    pub fn transport(mut self, transport: impl Connect) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Whom to trust over TLS, and as whom to appear. Default: [`ClientTls::new`](super::ClientTls::new).
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(mut self, tls: super::ClientTls) -> Self {
        self.tls = tls;
        self
    }

    /// Build it.
    ///
    /// # Errors
    ///
    /// [`InvalidConnector`], if what it was told does not fit together.
    pub fn build(self) -> Result<Connector, InvalidConnector> {
        let resolver = self.resolver;
        let transport = match self.transport {
            Some(_) if resolver.is_some() => return Err(InvalidConnector::NoUse { setting: "resolver" }),
            Some(transport) => transport,
            None => Arc::new(Tcp::new(resolver.unwrap_or_else(|| Arc::new(SystemResolver::new())))),
        };
        let inner = Inner {
            transport,
            #[cfg(feature = "tls")]
            tls: super::tls::Handshakes::new(&self.tls),
        };
        Ok(Connector { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorBuilder").finish_non_exhaustive()
    }
}

/// What no [`Connector`] can be built from.
///
/// ```
/// use stonework::connect::{Connector, SystemResolver, Unix};
///
/// let builder = Connector::builder().transport(Unix::new("/run/a.sock")).resolver(SystemResolver::new());
/// let error = builder.build().unwrap_err();
/// assert_eq!(error.to_string(), "`resolver` has no effect beside `transport`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConnector {
    /// It is set, and would not be used: TCP is not, either.
    #[error("`{setting}` has no effect beside `transport`")]
    #[non_exhaustive]
    NoUse {
        /// The name of the setter.
        setting: &'static str,
    },
}
