use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connection::{Connection, Http1, Http2};
use super::host::{Host, Place};
use super::pulse::Pulse;
use super::waiting::CutOff;
use super::wire::Wire;
use crate::base::{Deadline, Delivery, Elapsed, Error, Event, Kind, Phase};
use crate::client::HttpVersions;
use crate::connect::{Alpn, Dialed, Offer, Progress, Stream};

/// How often a connection over HTTP/2 is asked whether it is still there, also while it lies idle.
const PING_INTERVAL: Duration = Duration::from_secs(20);
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
    let dialed = core.connector.dial(&host.target, offer, progress).await?;
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
        let connection = greet(dialed.io, place, retire_at).await;
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
    let task = tokio::spawn(async {
        // Whoever uses it is told the same.
        let _ = connection.with_upgrades().await;
    });
    let forwards = dialed.forwards.map(Box::new);
    let task = task.abort_handle();
    Ok(Connection::Http1(Box::new(Http1 { sender, task, forwards, retire_at, used: false })))
}

/// Wait for the first settings, without which nothing is known of the peer, not even that it speaks HTTP/2 (RFC 9113, section 3.4).
async fn greet(io: Stream, place: Arc<Place>, retire_at: Option<Instant>) -> Result<Connection, Error> {
    let pulse = Arc::new(Pulse::greeting());
    let io = TokioIo::new(Wire::new(io, Some(place), Some(Arc::clone(&pulse))));
    let tasks = Tasks::default();
    let mut unfinished = Unfinished(tasks.clone());
    let (sender, mut connection) = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(UNSAID)
        .handshake(io)
        .await
        .map_err(broken)?;
    while connection.current_max_send_streams() == UNSAID {
        let mut looked = pin!(pulse.looked());
        let ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => looked.as_mut().poll(cx).map(|()| None),
        });
        if let Some(ended) = ended.await {
            return Err(ended.err().map_or_else(
                || Error::new(Kind::Connect, NoSettings).with_delivery(Delivery::NotSent),
                broken,
            ));
        }
    }
    pulse.greeted();
    let limit = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let says = Arc::clone(&limit);
    tokio::spawn(async move {
        let driven = poll_fn(|cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            // A peer may change its mind.
            says.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        });
        // Whoever uses it is told the same.
        let _ = driven.await;
    });
    unfinished.0 = Tasks::default();
    Ok(Connection::Http2(Arc::new(Http2 { sender, limit, pulse, retire_at })))
}

fn broken(error: hyper::Error) -> Error {
    Error::new(Kind::Connect, error).with_delivery(Delivery::NotSent)
}

/// The peer closed the connection before it had said what it speaks.
#[derive(Debug, thiserror::Error)]
#[error("the peer closed the connection before its HTTP/2 settings had come")]
struct NoSettings;

/// Runs what a connection over HTTP/2 consists of. The first task is the one that has the socket.
#[derive(Clone, Debug, Default)]
struct Tasks(Arc<OnceLock<AbortHandle>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let task = tokio::spawn(task);
        let _ = self.0.set(task.abort_handle());
    }
}

/// Closes the socket of a connection that did not come about.
struct Unfinished(Tasks);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(task) = self.0.0.get() {
            task.abort();
        }
    }
}
