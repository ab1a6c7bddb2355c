use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

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

/// A TCP port. Small answers are sent at once (`TCP_NODELAY`).
impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, from) = TcpListener::accept(self).await?;
        // Answers go out in whole pieces already; holding a small one back for an acknowledgement only adds latency.
        let _ = stream.set_nodelay(true);
        Ok((stream, Some(from)))
    }
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

/// The next connection. It never fails; dropping the future loses no connection.
pub(super) async fn accept<L: Listener>(listener: &mut L) -> (L::Io, Option<SocketAddr>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => tracing::trace!(%error, "a client left early"),
            Err(error) => {
                // Out of file descriptors, most likely: they come back when connections end.
                tracing::warn!(%error, ?pause, "cannot accept connections");
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
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
    use tokio::time::Instant;

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
        accept(&mut Failing(errors.into())).await;
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
}
