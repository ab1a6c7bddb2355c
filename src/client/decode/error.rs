use std::error::Error as StdError;
use std::{fmt, io};

/// A body is not encoded as its `content-encoding` says, or ended too early for that.
///
/// It never shows what stands there. It is the source of an [`Error`](crate::Error) of [`Kind::Body`](crate::base::Kind::Body).
///
/// ```
/// use stonework::client::{Client, ClientSettings, NotDecoded};
/// use stonework::testing::{ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ScriptedServer::start(|_| respond(200).header("content-encoding", "gzip").body("plain")).await;
/// let client = Client::builder().settings(ClientSettings::new().decompression()).build()?;
/// let error = client.get(server.uri("/")).send().await?.text().await.unwrap_err();
/// assert!(error.cause::<NotDecoded>().is_some());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct NotDecoded {
    source: io::Error,
}

impl NotDecoded {
    pub(super) const fn new(source: io::Error) -> Self {
        Self { source }
    }
}

impl fmt::Display for NotDecoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is not encoded as its `content-encoding` says")
    }
}

impl StdError for NotDecoded {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}
