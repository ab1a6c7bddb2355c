use std::fmt;
use std::net::ToSocketAddrs;

use super::listener;
use super::{BindError, Server, ServerSettings};

/// Assembles a [`Server`]. See [`Server::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it binds"]
pub struct ServerBuilder {
    settings: ServerSettings,
}

impl ServerBuilder {
    /// Behave like this. Default: [`ServerSettings::new`].
    pub const fn settings(mut self, settings: ServerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Open the port. From here on clients can connect; they are answered once the server
    /// [serves](Server::serve). Port 0 takes a free one, which [`Server::local_addr`] names.
    ///
    /// Of several addresses the first that works is taken. A host name is looked up there and then, which blocks the
    /// thread; an address is not looked up.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the address: it is no address, it is taken, or it may not be used.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with the network enabled.
    pub async fn bind(self, addr: impl ToSocketAddrs + fmt::Debug) -> Result<Server, BindError> {
        let (listener, local_addr) = listener::bind(addr).await?;
        Ok(Server { listener, local_addr, settings: self.settings })
    }
}
