use std::net::SocketAddr;

use http::Extensions;

/// When the connection of a request has served as long as it may: an extension of those that their server answers itself.
#[cfg(feature = "health")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct OldAt(pub(crate) tokio::time::Instant);

/// Who is at the other end of a connection, as the socket has it: an extension of each request that a
/// [`Server`](crate::server::Server) takes.
///
/// Behind a proxy this is the proxy. Handlers of axum take it as `Extension<Peer>`.
///
/// ```
/// use http::Request;
/// use stonework::base::Peer;
///
/// let mut request = Request::new(());
/// assert_eq!(Peer::of(request.extensions()), Peer::default());
/// // In a test of a handler.
/// let peer = Peer::from("192.0.2.7:4711".parse::<std::net::SocketAddr>().unwrap());
/// request.extensions_mut().insert(peer);
/// assert_eq!(Peer::of(request.extensions()).addr().unwrap().port(), 4711);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    addr: Option<SocketAddr>,
}

impl Peer {
    /// That of a request; one about which nothing is known, if there is none.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// Its address. Nothing, if it has none, as over a Unix socket.
    #[must_use]
    pub const fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self { addr: Some(addr) }
    }
}
