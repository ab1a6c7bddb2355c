use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::{Connect, ConnectError, Progress, Target};
use crate::base::Error;

/// A Unix socket in the file system, whichever host is asked for.
///
/// ```
/// use stonework::connect::{Connector, Unix};
///
/// let connector = Connector::builder().transport(Unix::new("/run/orders.sock")).build()?;
/// # let _ = connector;
/// # Ok::<(), stonework::connect::InvalidConnector>(())
/// ```
#[derive(Clone, Debug)]
pub struct Unix(PathBuf);

impl Unix {
    /// The one at this path.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }
}

impl Connect for Unix {
    type Io = UnixStream;

    async fn connect(&self, to: &Target, _: &Progress) -> Result<UnixStream, Error> {
        let stream = UnixStream::connect(&self.0).await;
        stream.map_err(|why| ConnectError::failed(to, why).into())
    }
}
