use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::Listener;

/// A Unix socket in the file system, which goes when this is dropped.
///
/// ```no_run
/// use stonework::server::{BindError, Server, UnixSocket};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BindError> {
/// let server: Server<UnixSocket> = Server::builder().bind_unix("/run/orders.sock")?;
/// server.serve(axum::Router::new()).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    /// A file that nobody listens at is what a server left that was killed, and is replaced.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn is_abandoned(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && Probe::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Listener for UnixSocket {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.listener.accept().await.map(|(stream, _)| (stream, None))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
