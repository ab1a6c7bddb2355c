use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::net::{UnixListener, UnixStream};

use super::Listener;
use crate::base::NOBODY;

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
    file: Option<File>,
}

/// Which file it is, whatever stands at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
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
        Ok(Self { listener, path: path.to_owned(), file: socket(path) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The socket that stands there. What a link leads to does not stand there.
fn socket(path: &Path) -> Option<File> {
    let file = std::fs::symlink_metadata(path).ok().filter(|file| file.file_type().is_socket())?;
    Some(File { device: file.dev(), inode: file.ino() })
}

/// Nobody listens, and it is still the same file after that was seen.
fn is_abandoned(path: &Path) -> bool {
    let file = socket(path);
    file.is_some() && refuses(path) && socket(path) == file
}

/// Whether the system says at once that nobody listens there. It says nothing at once of a server whose queue is full, and waiting would take
/// the thread from all who share it.
fn refuses(path: &Path) -> bool {
    let connecting = pin!(UnixStream::connect(path));
    let said = connecting.poll(&mut Context::from_waker(NOBODY));
    matches!(said, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Listener for UnixSocket {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        self.listener.accept().await.map(|(stream, _)| (stream, None))
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Another server may have taken the path meanwhile. No file of that one's is the same while this one is open.
        if self.file.is_some() && socket(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
