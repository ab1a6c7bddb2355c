use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// The pause after a first failure to accept, and the longest; between them it doubles. What Go's `net/http` does.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The port could not be opened.
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
#[error("cannot listen on {addr}")]
pub struct BindError {
    addr: String,
    #[source]
    source: io::Error,
}

impl BindError {
    /// The address, as it was given.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }
}

/// For functions that return [`io::Result`]. The kind stays.
impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

pub(super) async fn bind(
    addr: impl ToSocketAddrs + fmt::Debug,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let shown = format!("{addr:?}").trim_matches('"').to_owned();
    let open = async {
        let candidates: Vec<_> = addr.to_socket_addrs()?.collect();
        let listener = TcpListener::bind(&*candidates).await?;
        let local_addr = listener.local_addr()?;
        Ok((listener, local_addr))
    };
    open.await.map_err(|source| BindError { addr: shown, source })
}

/// The next connection. It never fails; dropping the future loses no connection.
pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = persist(|| listener.accept()).await;
    // Answers go out in whole pieces already; holding a small one back for an acknowledgement only adds latency.
    let _ = stream.set_nodelay(true);
    stream
}

/// Tries until it works, and pauses where trying at once would only burn the processor.
async fn persist<T, F>(mut accept: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match accept().await {
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
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::time::Instant;

    use super::*;

    /// Accepts after these errors, and says how long that took.
    async fn after(errors: Vec<io::Error>) -> Duration {
        let start = Instant::now();
        let mut errors = errors.into_iter();
        persist(|| ready(errors.next().map_or(Ok(()), Err))).await;
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
