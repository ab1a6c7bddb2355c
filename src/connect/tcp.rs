use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::error::ResolverSaid;
use super::resolve::AnyResolve;
use super::{Connect, ConnectError, Progress, Target};
use crate::base::{Error, Phase};

/// TCP to the addresses of a host.
#[derive(Clone)]
pub struct Tcp {
    resolver: Arc<dyn AnyResolve>,
}

impl Tcp {
    pub(super) fn new(resolver: Arc<dyn AnyResolve>) -> Self {
        Self { resolver }
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        match self.resolver.ask(host).await {
            Ok(found) if found.addresses.is_empty() => Err(ConnectError::NoAddress { host: host.into() }),
            Ok(found) => Ok(found.addresses),
            Err(error) => {
                Err(ConnectError::NotResolved { host: host.into(), source: ResolverSaid(Arc::new(error)) })
            }
        }
    }
}

impl Connect for Tcp {
    type Io = TcpStream;

    async fn connect(&self, to: &Target, progress: &Progress) -> Result<TcpStream, Error> {
        progress.begin(Phase::Resolve);
        let addresses = self.addresses(to.host()).await?;
        progress.begin(Phase::Connect);
        let mut failed: Option<(SocketAddr, io::Error)> = None;
        for address in &addresses {
            let address = SocketAddr::new(*address, to.port());
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    progress.set_peer(address);
                    return Ok(stream);
                }
                Err(error) => failed = failed.or(Some((address, error))),
            }
        }
        let Some((address, source)) = failed else {
            return Err(ConnectError::NoAddress { host: to.host().into() }.into());
        };
        Err(ConnectError::Unreachable { target: to.clone(), tried: addresses.len(), address, source }.into())
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").finish_non_exhaustive()
    }
}
