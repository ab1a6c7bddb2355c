//! Peers in memory, one for each connection that is made, so that time can stand still.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stonework::Error;
use stonework::base::{Delivery, Kind};
use stonework::client::{Client, ClientBuilder, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Long enough for any number of turns, and nothing on a clock that stands still.
pub(super) const TURN: Duration = Duration::from_millis(1);

/// What stands in the place of a network.
#[derive(Clone)]
pub(super) struct Net {
    connector: Connector,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    dialed: AtomicUsize,
    open: AtomicUsize,
    peak: AtomicUsize,
}

/// A socket that is open until both of its ends are dropped.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
        counts.peak.fetch_max(open, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Net {
    /// Each connection takes so long to make, and is then served by this, which is told how many there were before.
    pub(super) fn new<F>(
        delay: Duration,
        serve: impl Fn(usize, DuplexStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve = Arc::new(serve);
        Self::with(move |nth, theirs| {
            let served = serve(nth, theirs);
            async move {
                sleep(delay).await;
                tokio::spawn(served);
                Ok(())
            }
        })
    }

    /// Each connection is made as this says, which is given its other end.
    pub(super) fn with<F>(make: impl Fn(usize, DuplexStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let counts = Arc::new(Counts::default());
        let kept = Arc::clone(&counts);
        let transport = connect_fn(move |_: Target| {
            let nth = kept.dialed.fetch_add(1, Ordering::SeqCst);
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let made = make(nth, theirs);
            let counts = Arc::clone(&kept);
            async move {
                let open = Open::new(&counts);
                made.await?;
                Ok(Counted { io: ours, _open: open })
            }
        });
        let connector = Connector::builder().transport(transport).build().expect("a valid connector");
        Self { connector, counts }
    }

    pub(super) fn builder(&self, settings: ClientSettings) -> ClientBuilder {
        Client::builder().settings(settings).connector(self.connector.clone())
    }

    pub(super) fn client(&self, settings: ClientSettings) -> Client {
        self.builder(settings).build().expect("valid settings")
    }

    /// How many connections were begun.
    pub(super) fn dialed(&self) -> usize {
        self.counts.dialed.load(Ordering::SeqCst)
    }

    /// How many are open or being made.
    pub(super) fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// How many have been so at once.
    pub(super) fn peak(&self) -> usize {
        self.counts.peak.load(Ordering::SeqCst)
    }
}

/// Our end of a pipe.
struct Counted {
    io: DuplexStream,
    _open: Open,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Counted {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// One attempt, all the time there is, and nothing that a test did not ask for.
pub(super) fn plain() -> ClientSettings {
    ClientSettings::new().without_retry().without_breaker().without_attempt_timeout().without_deadline()
}

/// Read one head, with its last line; nothing at the end.
pub(super) async fn head(peer: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(peer.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).expect("a head is text"))
}

/// Answer every request after this time, with its path.
pub(super) async fn answer_each(mut peer: DuplexStream, after: Duration) {
    while let Some(head) = head(&mut peer).await {
        sleep(after).await;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
        if peer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

pub(super) fn told(error: &Error) -> (Kind, Delivery) {
    (error.kind(), error.delivery())
}
