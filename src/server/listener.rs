use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

/// The pause after a first failure to accept, and the longest; between them it doubles. What Go's `net/http` does.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where connections come from: a TCP port, a [Unix socket](super::ServerBuilder::bind_unix), or whatever else makes streams
/// of bytes. It is given to [`ServerBuilder::listen`](super::ServerBuilder::listen).
///
/// ```
/// use stonework::server::Server;
/// use tokio::io::DuplexStream;
/// use tokio::sync::mpsc;
///
/// // Connections within the process, for tests: what is sent here, is served.
/// let (connect, connections) = mpsc::channel::<DuplexStream>(16);
/// let server = Server::builder().listen(connections).unwrap();
/// # let _ = (connect, server);
/// ```
///
/// An address is none yet: what is wrong with it, or who has it already, shows when it is bound.
///
/// ```compile_fail,E0277
/// # use stonework::server::Server;
/// let server = Server::builder().listen("127.0.0.1:0");
/// ```
///
/// ```
/// # use stonework::server::Server;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let server = Server::builder().listen(tokio::net::TcpListener::bind("127.0.0.1:0").await?);
/// # let _ = server;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no listener",
    note = "an address is bound first: `tokio::net::TcpListener::bind(address).await?`"
)]
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and the address that it comes from, if it has one. Dropping the future loses no connection.
    ///
    /// # Errors
    ///
    /// Whatever the system says. The server tries again: at once where only that one connection was lost, which kinds
    /// such as [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) tell, else after a pause.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;
}

/// A TCP port. Small answers are sent at once (`TCP_NODELAY`). A client of which nothing was heard for 15 seconds is asked whether it is still there
/// (`SO_KEEPALIVE`), and again each 15 seconds as often as the system has it, nine times in Linux: what waits long for what it has to say would
/// not hear otherwise that there is nobody to say it to.
impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, from) = TcpListener::accept(self).await?;
        // Answers go out in whole pieces already; holding a small one back for an acknowledgement only adds latency.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive());
        Ok((stream, Some(from)))
    }
}

/// After so much silence a client is asked whether it is there: as often as a connector of this crate asks a server.
const SILENCE: Duration = Duration::from_secs(15);

fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(SILENCE);
    #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple", windows))]
    let keepalive = keepalive.with_interval(SILENCE);
    keepalive
}

/// Connections that are made elsewhere: within the process, for one. They have no address.
impl<Io> Listener for mpsc::Receiver<Io>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = Io;

    async fn accept(&mut self) -> io::Result<(Io, Option<SocketAddr>)> {
        match self.recv().await {
            Some(connection) => Ok((connection, None)),
            // There will be no more; what there is, is served.
            None => std::future::pending().await,
        }
    }
}

/// Accepts connections, one after the other.
#[derive(Debug)]
pub(super) struct Acceptor<L> {
    listener: L,
    /// How long the pause is after the next failure.
    pause: Duration,
    /// Until when it pauses after the last one.
    until: Option<Instant>,
}

impl<L: Listener> Acceptor<L> {
    pub(super) const fn new(listener: L) -> Self {
        Self { listener, pause: FIRST_PAUSE, until: None }
    }

    /// The next connection. It never fails; dropping the future loses no connection, and shortens no pause.
    pub(super) async fn next(&mut self) -> (L::Io, Option<SocketAddr>) {
        loop {
            if let Some(until) = self.until {
                sleep_until(until).await;
                self.until = None;
            }
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = FIRST_PAUSE;
                    return accepted;
                }
                Err(error) if is_of_one_connection(&error) => tracing::trace!(%error, "a client left early"),
                Err(error) => {
                    // Out of file descriptors, most likely: they come back when connections end.
                    tracing::warn!(%error, pause = ?self.pause, "cannot accept connections");
                    self.until = Some(Instant::now() + self.pause);
                    self.pause = LONGEST_PAUSE.min(self.pause * 2);
                }
            }
        }
    }

    /// One that lies in the queue; nothing, if there is none.
    pub(super) async fn queued(&mut self) -> Poll<io::Result<(L::Io, Option<SocketAddr>)>> {
        // Else Tokio would have somebody else take a turn after some of them, and it would look like the end.
        let mut accept = pin!(unconstrained(self.listener.accept()));
        poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await
    }
}

/// The next connection in the queue may be fine.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::DuplexStream;
    use tokio::time::timeout;

    use super::*;

    struct Failing(VecDeque<io::Error>);

    impl Listener for Failing {
        type Io = DuplexStream;

        async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
            self.0.pop_front().map_or_else(|| Ok((tokio::io::duplex(1).0, None)), Err)
        }
    }

    /// Accepts after these errors, and says how long that took.
    async fn after(errors: Vec<io::Error>) -> Duration {
        let start = Instant::now();
        Acceptor::new(Failing(errors.into())).next().await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_after_any_error_and_pauses_when_descriptors_ran_out() {
        // EMFILE is 24 on every Unix; elsewhere it is just some error.
        let full = || io::Error::from_raw_os_error(24);
        assert_eq!(after(vec![]).await, Duration::ZERO);
        assert_eq!(after(vec![full(), full(), full()]).await, Duration::from_millis(5 + 10 + 20));
        let hundred = std::iter::repeat_with(full).take(100).collect();
        assert!(after(hundred).await < Duration::from_secs(100), "a pause is at most a second");
        let gone = || io::ErrorKind::ConnectionAborted.into();
        assert_eq!(after(vec![gone(), gone()]).await, Duration::ZERO);
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_asked_whether_it_is_there() {
        let mut port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
        let (stream, _) = Listener::accept(&mut port).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        {
            let asked = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
            assert_eq!(asked, (SILENCE, SILENCE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_goes_on_though_somebody_stops_to_wait_and_begins_again() {
        let full = || io::Error::from_raw_os_error(24);
        let mut acceptor = Acceptor::new(Failing(vec![full(), full(), full()].into()));
        let start = Instant::now();
        // As where a connection ends each millisecond.
        while timeout(Duration::from_millis(1), acceptor.next()).await.is_err() {}
        assert_eq!(start.elapsed(), Duration::from_millis(5 + 10 + 20));
        assert!(acceptor.listener.0.is_empty());
        acceptor.listener.0.push_back(full());
        let start = Instant::now();
        acceptor.next().await;
        assert_eq!(start.elapsed(), FIRST_PAUSE, "one that was accepted ends the row");
    }
}
