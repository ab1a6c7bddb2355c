//! A host to call, and what is done to whoever calls it, or is called.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use crate::rows::Content;

/// As many requests are taken on a connection of HTTP/2 at once.
const STREAMS: u32 = 5;

/// Answers over both versions, and counts.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicU32>,
    came: Arc<Mutex<Vec<Instant>>>,
    takes: Duration,
    busy: usize,
}

impl Host {
    /// One that takes so long for an answer, and has too much to do for so many of them.
    pub(super) async fn start(takes: Duration, busy: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let host = Self { address, connections: Arc::default(), came: Arc::default(), takes, busy };
        let serving = host.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let host = serving.clone();
                tokio::spawn(async move {
                    let answers = service_fn(move |_: Request<Incoming>| host.clone().answer());
                    let mut wire = auto::Builder::new(TokioExecutor::new());
                    wire.http2().max_concurrent_streams(STREAMS);
                    // Whoever calls may go away.
                    let _ = wire.serve_connection(TokioIo::new(stream), answers).await;
                });
            }
        });
        host
    }

    async fn answer(self) -> Result<Response<Content>, Infallible> {
        let number = {
            let mut came = self.came.lock().expect("nobody panics with it");
            came.push(Instant::now());
            came.len()
        };
        sleep(self.takes).await;
        let mut answer = Response::new(Content::default());
        if number <= self.busy {
            *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        Ok(answer)
    }

    pub(super) fn uri(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// From one request to the next.
    pub(super) fn pauses(&self) -> Vec<Duration> {
        let came = self.came.lock().expect("nobody panics with it");
        came.windows(2).map(|two| two[1] - two[0]).collect()
    }
}

/// Connects to the host, slowly, and counts how often that was begun.
#[derive(Clone)]
pub(super) struct Slowly {
    host: Option<SocketAddr>,
    begun: Arc<AtomicU32>,
}

impl Slowly {
    pub(super) fn to(host: &Host) -> Self {
        Self { host: Some(host.address), begun: Arc::default() }
    }

    /// It fails in the end.
    pub(super) fn in_vain() -> Self {
        Self { host: None, begun: Arc::default() }
    }

    pub(super) async fn connect(self) -> std::io::Result<TcpStream> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(300)).await;
        match self.host {
            Some(host) => TcpStream::connect(host).await,
            None => Err(std::io::Error::other(WHY)),
        }
    }
}

const WHY: &str = "the cable is cut";

/// Whether it says why it could not be connected.
pub(super) fn says_why(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.to_string().contains(WHY))
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Five calls for which a connection is made; the first of them is given up before it is there: how many of the others are answered.
pub(super) async fn without_the_first<F>(slowly: &Slowly, call: impl Fn() -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let first = tokio::spawn(timeout(Duration::from_millis(100), call()));
    while slowly.begun.load(Ordering::Relaxed) == 0 {
        yield_now().await;
    }
    let others = many(4, call).await;
    assert!(first.await.expect("no panic").is_err(), "it was given up");
    others
}

/// So many calls at once: how many are answered.
pub(super) async fn many<F>(calls: usize, call: impl Fn() -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let mut all = JoinSet::new();
    for _ in 0..calls {
        all.spawn(timeout(PATIENCE, call()));
    }
    let ended = all.join_all().await;
    ended.into_iter().filter(|answered| matches!(answered, Ok(true))).count()
}

/// A call, by which the host becomes known, and then twenty at once: how many connections there are, and when all are answered.
pub(super) async fn streams<F>(host: &Host, call: impl Fn() -> F) -> (u32, Duration)
where
    F: Future<Output = bool> + Send + 'static,
{
    assert!(call().await, "the host is well");
    let start = Instant::now();
    assert_eq!(many(20, call).await, 20, "there is time enough");
    (host.connections(), start.elapsed())
}

pub(super) const HEAD: Duration = Duration::from_millis(300);

/// Half a line, and then nothing: when the connection is closed, if that is within two seconds.
pub(super) async fn half_a_head(server: SocketAddr) -> Option<Duration> {
    let mut client = TcpStream::connect(server).await.expect("it listens");
    client.write_all(b"GET / HT").await.expect("it is open");
    let (start, mut rest) = (Instant::now(), Vec::new());
    // An answer such as 408 may come first; a reset is an end, too.
    let end = timeout(Duration::from_secs(2), client.read_to_end(&mut rest)).await;
    end.is_ok().then(|| start.elapsed())
}
