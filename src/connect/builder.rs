use std::fmt;
use std::sync::Arc;

use super::connector::Inner;
use super::resolve::AnyResolve;
use super::transport::AnyConnect;
use super::{Connect, Connector, InvalidConnector, Proxy, Resolve, SystemResolver, Tcp, TcpSettings};
use crate::base::Rng;

/// Builds a [`Connector`]. The order of the setters does not matter. Example: [`connect_fn`](super::connect_fn).
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Default)]
pub struct ConnectorBuilder {
    proxy: Option<Proxy>,
    resolver: Option<Arc<dyn AnyResolve>>,
    rng: Option<Rng>,
    tcp: Option<TcpSettings>,
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

    /// How connections of TCP are made and kept. Default: [`TcpSettings::new`].
    pub fn tcp(mut self, settings: TcpSettings) -> Self {
        self.tcp = Some(settings);
        self
    }

    /// Draw from this one which address of a host is tried first. Default: one that differs in every process.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = Some(rng);
        self
    }

    /// Go through this proxy. Default: none, whatever the environment says.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
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
        let unused =
            [("resolver", self.resolver.is_some()), ("rng", self.rng.is_some()), ("tcp", self.tcp.is_some())];
        let transport = match self.transport {
            Some(transport) => match unused.into_iter().find(|(_, is_set)| *is_set) {
                Some((setting, _)) => return Err(InvalidConnector::NoUse { setting }),
                None => transport,
            },
            None => {
                let resolver = self.resolver.unwrap_or_else(|| Arc::new(SystemResolver::new()));
                let settings = self.tcp.unwrap_or_default();
                Arc::new(Tcp::over(resolver, settings, self.rng.unwrap_or_default())?)
            }
        };
        let inner = Inner {
            transport,
            proxy: self.proxy,
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
