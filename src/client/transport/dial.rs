use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::connection::{Connection, Http1, Http2};
use super::host::Host;
use super::place::Place;
use super::pulse::Pulse;
use super::sender::Sender;
use super::upload::Upload;
use super::waiting::CutOff;
use super::wire::Wire;
use crate::base::{Deadline, Delivery, Elapsed, Error, Event, Kind, Phase};
use crate::client::HttpVersions;
use crate::connect::{Alpn, Dialed, Offer, Progress, Stream};

/// How often a server of gRPC may be asked whether it is still there: every five minutes while calls are under way, and hardly ever
/// without (gRFC A8). Some more, since one ping may be slower than the next.
const GRPC_PING_INTERVAL: Duration = Duration::from_secs(310);
/// How long its answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What a stream, and a connection, may send before it is told that it was read: what a fast peer at some distance can use.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// A limit on streams that no peer sends: it stands until the peer has said its own.
const UNSAID: usize = usize::MAX - 1;

/// A connection that is being made, for whoever needs it then.
pub(super) struct Dialing {
    host: Arc<Host>,
    progress: Progress,
    place: Arc<Place>,
    over: bool,
}

impl Dialing {
    /// Its place is taken already.
    pub(super) fn new(host: Arc<Host>, progress: Progress) -> Self {
        let place = Arc::new(Place::new(Arc::clone(&host)));
        Self { host, progress, place, over: false }
    }

    fn failed(&mut self, error: Error) {
        self.over = true;
        self.host.failed(error);
    }
}

/// The runtime is being shut down, or something panicked.
impl Drop for Dialing {
    fn drop(&mut self) {
        if !self.over {
            self.failed(Error::new(Kind::Connect, CutOff).with_delivery(Delivery::NotSent));
        }
    }
}

pub(super) async fn dial(mut dialing: Dialing) {
    let start = Instant::now();
    let core = Arc::clone(&dialing.host.core);
    let limit = core.settings.connect_timeout;
    let made = Deadline::after(start, limit).bound(connect(&dialing)).await;
    let timings = dialing.progress.timings();
    let host = || Arc::clone(&dialing.host.name);
    let error = match made {
        Ok(Ok(connection)) => {
            let http2 = matches!(connection, Connection::Http2(_));
            core.observe.note(|| Event::ConnectionOpened {
                host: host(),
                http2,
                timings,
                took: start.elapsed(),
            });
            dialing.over = true;
            dialing.place.opened();
            return dialing.host.opened(connection);
        }
        Ok(Err(error)) => error,
        Err(elapsed) => {
            let elapsed = Elapsed::new(dialing.progress.step(), elapsed.granted().unwrap_or(limit));
            Error::new(Kind::Connect, elapsed).with_delivery(Delivery::NotSent)
        }
    };
    core.observe.note(|| Event::ConnectFailed { host: host(), kind: error.kind(), timings });
    dialing.failed(error);
}

async fn connect(dialing: &Dialing) -> Result<Connection, Error> {
    let Dialing { host, progress, place, over: _ } = dialing;
    let core = &host.core;
    let versions = core.settings.http;
    let offer = match versions {
        HttpVersions::Auto => Offer::Either,
        HttpVersions::Http1 => Offer::Http1,
        HttpVersions::Http2 => Offer::Http2,
    };
    let dialed = core.connector.dial_at(&host.target, host.place.as_ref(), offer, progress).await?;
    let retire_at = core.settings.connection_lifetime.map(|lifetime| {
        // Connections that were made together are not all let go together.
        Instant::now() + lifetime - core.rng.duration_below(lifetime / 10)
    });
    let place = Arc::clone(place);
    let speaks_http2 = match dialed.protocol {
        Some(Alpn::Http2) => true,
        Some(Alpn::Http1) => false,
        None => versions == HttpVersions::Http2,
    };
    if speaks_http2 {
        progress.begin(Phase::Preface);
        let connection = greet(dialed.io, host, place, retire_at).await;
        progress.end();
        return connection;
    }
    shake_hands(dialed, place, retire_at).await
}

async fn shake_hands(
    dialed: Dialed,
    place: Arc<Place>,
    retire_at: Option<Instant>,
) -> Result<Connection, Error> {
    let io = TokioIo::new(Wire::new(dialed.io, Some(place), None));
    let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let sender = Arc::new(Sender::new(sender));
    let ends = Arc::downgrade(&sender);
    let task = tokio::spawn(async move {
        // Whoever uses it is told the same.
        let _ = connection.with_upgrades().await;
        Sender::end(&ends);
    });
    let forwards = dialed.forwards.map(Box::new);
    let task = task.abort_handle();
    Ok(Connection::Http1(Box::new(Http1 { sender, task, forwards, retire_at, used: false, lay_idle: None })))
}

/// Wait for the first settings, without which nothing is known of the peer, not even that it speaks HTTP/2 (RFC 9113, section 3.4).
async fn greet(
    io: Stream,
    host: &Arc<Host>,
    place: Arc<Place>,
    retire_at: Option<Instant>,
) -> Result<Connection, Error> {
    let pulse = Arc::new(Pulse::default());
    let io = TokioIo::new(Wire::new(io, Some(place), Some(Arc::clone(&pulse))));
    let tasks = Tasks::default();
    let grpc = host.serves_grpc();
    let asks = host.core.settings.http2_keep_alive;
    let (sender, requests) = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(
            asks.map(|interval| if grpc { interval.max(GRPC_PING_INTERVAL) } else { interval }),
        )
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(!grpc)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(UNSAID)
        .handshake(io)
        .await
        .map_err(broken)?;
    let limit = Arc::new(AtomicUsize::new(UNSAID));
    let mut driver = Driver {
        frames: tasks.first().ok_or_else(|| Error::new(Kind::Connect, NoSettings))?,
        requests: Some(requests),
        limit: Arc::clone(&limit),
        host: Arc::downgrade(host),
        sender: Weak::new(),
    };
    // Looked for after each poll, and not when something was read: half of the settings says nothing, and they may be dealt with later.
    let ended = poll_fn(|cx| {
        if Pin::new(&mut driver).poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        driver.look();
        if limit.load(Ordering::Relaxed) == UNSAID { Poll::Pending } else { Poll::Ready(false) }
    });
    if ended.await {
        return Err(Error::new(Kind::Connect, NoSettings).with_delivery(Delivery::NotSent));
    }
    let sender = Arc::new(Sender::new(sender));
    driver.sender = Arc::downgrade(&sender);
    tokio::spawn(driver);
    let used = AtomicBool::new(false);
    Ok(Connection::Http2(Arc::new(Http2 { sender, limit, pulse, retire_at, used })))
}

/// All of a connection over HTTP/2 but what its requests do: one half takes requests, the other one reads and writes frames.
///
/// In one task, one after the other. Hyper's first half looks at the connection again after it has made a request a stream; a goodbye that
/// came in between would look as if that request had never been sent.
struct Driver {
    requests: Option<http2::Connection<TokioIo<Wire<Stream>>, Upload, Tasks>>,
    frames: Task,
    /// How many streams the peer allows, as it says now.
    limit: Arc<AtomicUsize>,
    /// Those who wait there hear of it.
    host: Weak<Host>,
    sender: Weak<Sender<http2::SendRequest<Upload>>>,
}

impl Driver {
    /// Keep what the peer says of its limit.
    fn look(&self) {
        if let Some(requests) = &self.requests {
            let limit = requests.current_max_send_streams();
            let before = self.limit.swap(limit, Ordering::Relaxed);
            if before != UNSAID && limit > before {
                if let Some(host) = self.host.upgrade() {
                    host.widened();
                }
            }
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(requests) = &mut this.requests {
            // Whoever uses the connection is told how it ended.
            let ended = Pin::new(&mut *requests).poll(cx).is_ready();
            if ended {
                this.requests = None;
                Sender::end(&this.sender);
            }
        }
        let frames = this.frames.as_mut().poll(cx);
        // Now, since settings are among the frames that were just read, and nobody may come for long.
        this.look();
        ready!(frames);
        if this.requests.take().is_some() {
            Sender::end(&this.sender);
        }
        Poll::Ready(())
    }
}

fn broken(error: hyper::Error) -> Error {
    Error::new(Kind::Connect, error).with_delivery(Delivery::NotSent)
}

/// The peer closed the connection before it had said what it speaks.
#[derive(Debug, thiserror::Error)]
#[error("the peer closed the connection before its HTTP/2 settings had come")]
struct NoSettings;

/// A part of a connection over HTTP/2.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what a connection over HTTP/2 consists of. The first part is the one that has the socket, and is kept for the [`Driver`].
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<First>>);

#[derive(Default)]
struct First {
    came: bool,
    task: Option<Task>,
}

impl Tasks {
    fn first(&self) -> Option<Task> {
        self.lock().task.take()
    }

    fn lock(&self) -> MutexGuard<'_, First> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        // What waits for an answer is as large as what drives a connection, and is moved ten times on its way to where it runs.
        let task = Box::pin(task);
        {
            let mut first = self.lock();
            if !first.came {
                *first = First { came: true, task: Some(task) };
                return;
            }
        }
        tokio::spawn(task);
    }
}
