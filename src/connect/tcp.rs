use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::eyeballs::{order, tells};
use super::lookups::Lookups;
use super::race::{Failures, race};
use super::resolve::AnyResolve;
use super::{Connect, ConnectError, InvalidConnector, Progress, Resolve, Target, TcpSettings};
use crate::base::{Error, Phase, Rng, scope};

/// TCP to the addresses of a host, as a [`Connector`](super::Connector) has it unless it is given something else. By itself it is for
/// whoever puts something around it: see [`Connect`].
#[derive(Clone)]
pub struct Tcp {
    lookups: Arc<Lookups>,
    settings: TcpSettings,
}

impl Tcp {
    /// With this resolver and these settings.
    ///
    /// # Errors
    ///
    /// [`InvalidConnector`], if a setting is out of its range.
    pub fn new(resolver: impl Resolve, settings: TcpSettings) -> Result<Self, InvalidConnector> {
        Self::over(Arc::new(resolver), settings, Rng::default())
    }

    pub(super) fn over(
        resolver: Arc<dyn AnyResolve>,
        settings: TcpSettings,
        rng: Rng,
    ) -> Result<Self, InvalidConnector> {
        settings.check()?;
        Ok(Self { lookups: Arc::new(Lookups::new(resolver, rng)), settings })
    }

    /// The addresses to try, in order.
    async fn addresses(&self, to: &Target, progress: &Progress) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = to.host();
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, to.port())]);
        }
        // Else a name that is not found would look as if there had been a connection to wait for.
        progress.is_rather(Phase::Resolve);
        let (found, turn) = self.lookups.find(host).await?;
        progress.begin(Phase::Connect);
        let ordered = order(&found, turn);
        Ok(ordered.into_iter().map(|address| SocketAddr::new(address, to.port())).collect())
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        self.set_options(&SockRef::from(&socket))?;
        let local = match to {
            SocketAddr::V4(_) => self.settings.local_v4.map(IpAddr::from),
            SocketAddr::V6(_) => self.settings.local_v6.map(IpAddr::from),
        };
        if let Some(local) = local {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        socket.connect(to).await
    }

    fn set_options(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.settings.nodelay)?;
        if let Some(silent) = self.settings.keepalive {
            let keepalive = TcpKeepalive::new().with_time(silent);
            #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple", windows))]
            let keepalive = keepalive.with_interval(self.settings.keepalive_interval);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        #[cfg(any(target_os = "android", target_os = "linux"))]
        socket.set_tcp_user_timeout(self.settings.user_timeout)?;
        Ok(())
    }
}

impl Connect for Tcp {
    type Io = TcpStream;

    async fn connect(&self, to: &Target, progress: &Progress) -> Result<TcpStream, Error> {
        let addresses = self.addresses(to, progress).await?;
        let hope = Hope {
            of: &self.lookups,
            host: to.host(),
            since: scope::now(),
            impatient: self.settings.attempt_delay,
        };
        match race(&addresses, self.settings.attempt_delay, |address| self.dial(address)).await {
            Ok((address, stream)) => {
                hope.came_true();
                progress.set_peer(address);
                Ok(stream)
            }
            Err(failures) => {
                hope.was_in_vain();
                Err(unreachable(to, failures).into())
            }
        }
    }
}

/// That the addresses of a name are still its own. Dropped by a caller whose time is over, they are doubted as much as if they had refused:
/// of one that says nothing, that is all that is ever heard.
struct Hope<'a> {
    of: &'a Lookups,
    host: &'a str,
    since: Instant,
    /// Whoever leaves before this says nothing of the addresses.
    impatient: Duration,
}

impl Hope<'_> {
    fn came_true(self) {
        std::mem::forget(self);
    }

    fn was_in_vain(self) {
        self.of.doubt(self.host);
        self.came_true();
    }
}

impl Drop for Hope<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= self.impatient {
            self.of.doubt(self.host);
        }
    }
}

fn unreachable(to: &Target, failures: Failures) -> ConnectError {
    let tried = failures.len();
    // Of those that tell as much as any, the first.
    match failures.into_iter().rev().max_by_key(|(_, error)| tells(error)) {
        Some((address, source)) => ConnectError::Unreachable { target: to.clone(), tried, address, source },
        None => ConnectError::NoAddress { host: to.host().into() },
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::connect::SystemResolver;

    async fn connected(settings: TcpSettings) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Target::new("127.0.0.1", listener.local_addr().unwrap().port(), false);
        let tcp = Tcp::new(SystemResolver::new(), settings).unwrap();
        tcp.connect(&to, &Progress::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_socket_has_what_the_settings_say() {
        let secs = Duration::from_secs;
        let usual = connected(TcpSettings::new()).await;
        let socket = SockRef::from(&usual);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(15));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(15));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(secs(30)));

        let own = TcpSettings::new().keepalive(secs(60)).keepalive_interval(secs(7)).user_timeout(secs(90));
        let own = connected(own.nodelay(false)).await;
        let socket = SockRef::from(&own);
        assert!(!socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), secs(7));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(secs(90)));

        let none = connected(TcpSettings::new().without_keepalive().without_user_timeout()).await;
        let socket = SockRef::from(&none);
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}
