use std::fmt;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{ConnectError, Progress, Stream, Target};
use crate::base::Error;

/// Makes streams of bytes to a target: [`Tcp`](super::Tcp), unless a [`Connector`](super::Connector) is given something else, as a
/// [`Unix`](super::Unix) socket or what [`connect_fn`] makes of a closure. TLS and proxies come on top of it.
pub trait Connect: Send + Sync + 'static {
    /// The bytes.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Go there: to the proxy, where there is one. It need not limit its time: whoever waits for it does. Dropping it gives it up.
    ///
    /// [`Progress::begin`] says what is being done, if that is more than one step; [`Phase::Connect`](crate::base::Phase::Connect) was begun already.
    ///
    /// # Errors
    ///
    /// As it likes, of the kind [`Connect`](crate::base::Kind::Connect).
    fn connect(
        &self,
        to: &Target,
        progress: &Progress,
    ) -> impl Future<Output = Result<Self::Io, Error>> + Send;
}

pub(super) type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Stream, Error>> + Send + 'a>>;

/// The same, whichever it is.
pub(super) trait AnyConnect: Send + Sync {
    fn dial<'a>(&'a self, to: &'a Target, progress: &'a Progress) -> Dialing<'a>;
}

impl<C: Connect> AnyConnect for C {
    fn dial<'a>(&'a self, to: &'a Target, progress: &'a Progress) -> Dialing<'a> {
        Box::pin(async move { Ok(Stream::new(self.connect(to, progress).await?)) })
    }
}

/// A [`Connect`] of a closure: to a pipe in memory, for one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use stonework::connect::{Connector, Offer, Progress, Target, connect_fn};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let pipe = connect_fn(|_to: Target| async {
///     let (ours, mut theirs) = tokio::io::duplex(64);
///     theirs.write_all(b"hello").await?;
///     Ok(ours)
/// });
/// let connector = Connector::builder().transport(pipe).build()?;
/// let target = Target::new("any", 80, false);
/// let mut dialed = connector.dial(&target, Offer::Http1, &Progress::default()).await?;
/// let mut greeting = String::new();
/// dialed.io.read_to_string(&mut greeting).await?;
/// assert_eq!(greeting, "hello");
/// # Ok(()) }
/// ```
pub fn connect_fn<F, W, Io>(make: F) -> ConnectFn<F>
where
    F: Fn(Target) -> W + Send + Sync + 'static,
    W: Future<Output = io::Result<Io>> + Send,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    ConnectFn(make)
}

/// What [`connect_fn`] makes.
#[derive(Clone)]
pub struct ConnectFn<F>(F);

impl<F, W, Io> Connect for ConnectFn<F>
where
    F: Fn(Target) -> W + Send + Sync + 'static,
    W: Future<Output = io::Result<Io>> + Send,
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = Io;

    async fn connect(&self, to: &Target, _: &Progress) -> Result<Io, Error> {
        let made = (self.0)(to.clone()).await;
        made.map_err(|why| ConnectError::failed(to, why).into())
    }
}

impl<F> fmt::Debug for ConnectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFn").finish_non_exhaustive()
    }
}
