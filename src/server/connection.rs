use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::answering::{answer, answer_later};
use super::bounds::{Sent, Served};
use super::control::Control;
use super::greeting::{greeting, is_http2, next_bytes};
use super::pace::{self, Act, LAST_WORDS, Limits};
use super::settings::MOST_HEADERS;
use super::shared::{Shared, Unsent};
use super::tasks::Tasks;
use super::timer::Timer;
use super::wire::{Socket, Wire};
use crate::base::deadline::countable;
use crate::base::{BoxError, CloseReason, ServerPhase};

/// A client that has just connected is about to ask something: so long it is waited for when the server stops meanwhile.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// Serves a connection to its end. Once the server drains, what was begun is finished and nothing more is taken.
pub(super) async fn serve<T, S, B>(mut wire: Wire<T>, service: S)
where
    T: Socket,
    S: Served<B>,
    B: Sent,
{
    let connection = Arc::clone(wire.shared());
    let _unsent = Unsent(Arc::clone(&connection));
    let settings = &connection.control.settings;
    // When it was accepted, or the handshake was over.
    let start = connection.pulse.idle_since();
    let mut limit = (start.checked_add(settings.header_read_timeout), CloseReason::Head);
    let mut patient_until = start + FIRST_REQUEST;
    let mut is_first = true;
    loop {
        let Some(first) = first_bytes(&mut wire, is_first, limit, patient_until).await else {
            return wire.say_goodbye().await;
        };
        let wire_again = wire.again(first);
        if is_first && is_http2(wire_again.first()) {
            return Box::pin(serve_http2(wire_again, service)).await;
        }
        // Boxed, so that a connection that waits takes no more than the wait.
        match Box::pin(serve_http1(wire_again, service.clone())).await {
            None => return,
            Some(parked) => wire = parked,
        }
        let idle_since = connection.pulse.idle_since();
        limit = (idle_since.checked_add(settings.keep_alive_timeout), CloseReason::Idle);
        patient_until = start;
        is_first = false;
    }
}

/// What the client says next; nothing, if that is nothing. Of a server that stops, it is waited for until then.
async fn first_bytes<T: Socket>(
    wire: &mut Wire<T>,
    is_first: bool,
    limit: (Option<Instant>, CloseReason),
    patient_until: Instant,
) -> Option<Bytes> {
    let connection = Arc::clone(wire.shared());
    let old = (connection.old_at, CloseReason::Old);
    let (limit, why) =
        if old.0.is_some_and(|at| limit.0.is_none_or(|limit| at < limit)) { old } else { limit };
    let greeting: io::Result<Bytes> = tokio::select! {
        biased;
        // Of whoever has sent a request it is known what it speaks, and a head that has begun has its own limit of time.
        greeting = async { if is_first { greeting(wire).await } else { next_bytes(wire).await } } => greeting,
        () = until(limit) => {
            connection.closes(why);
            return None;
        }
        () = stopped(&connection, patient_until) => return None,
    };
    match greeting {
        Ok(greeting) => (!greeting.is_empty()).then_some(greeting),
        Err(error) => {
            tracing::debug!(%error, "a connection ended before its first request");
            None
        }
    }
}

/// Waits for this time; without one, for ever.
pub(super) async fn until(limit: Option<Instant>) {
    match limit {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until the server stops, and then until its patience is over with a client of which nothing has come.
pub(super) async fn stopped(connection: &Shared, patient_until: Instant) {
    connection.control.draining().await;
    // What has come by now is seen by then.
    yield_now().await;
    sleep_until(patient_until).await;
}

/// Until the connection is over; or until it has been idle for a while, and then it is given back.
async fn serve_http1<T, S, B>(wire: Wire<T>, service: S) -> Option<Wire<T>>
where
    T: Socket,
    S: Served<B>,
    B: Sent,
{
    let connection = Arc::clone(wire.shared());
    let shared = Arc::clone(&connection);
    let handler = service_fn(move |request| answer(service.clone(), &shared, request));
    let hyper = http1_builder(&connection.control);
    let mut session = hyper.serve_connection(TokioIo::new(wire), handler).with_upgrades();
    match drive(Pin::new(&mut session), |session| session.graceful_shutdown(), &connection).await {
        Ended::Over => {
            if !connection.pulse.is_at_rest() {
                if let Some(parts) = session.into_parts() {
                    Box::pin(linger(parts.io.into_inner())).await;
                }
            }
            None
        }
        Ended::Late => None,
        Ended::Idle => {
            let parts = session.into_parts()?;
            if !parts.read_buf.is_empty() {
                connection.pulse.holds_more();
            }
            // A copy, since what hyper gives keeps its whole buffer, empty or not.
            Some(parts.io.into_inner().again(Bytes::copy_from_slice(&parts.read_buf)))
        }
    }
}

/// Reads on for a while what the client is still sending. Closed with bytes that nobody read, a connection is reset, and with it
/// goes what the client has not read yet: the answer that made it stop (RFC 9112, section 9.6).
async fn linger<T: Socket>(mut wire: Wire<T>) {
    let read_on = async {
        let _ = wire.shutdown().await;
        let mut bytes = [0; 4096];
        while matches!(wire.read(&mut bytes).await, Ok(1..)) {}
    };
    let _ = timeout(LAST_WORDS, read_on).await;
}

async fn serve_http2<T, S, B>(wire: Wire<T>, service: S)
where
    T: Socket,
    S: Served<B>,
    B: Sent,
{
    let connection = Arc::clone(wire.shared());
    connection.pulse.speaks_http2();
    let shared = Arc::clone(&connection);
    let tasks = Tasks::new(Arc::clone(&connection));
    let _owner = tasks.owner();
    let handler = service_fn(move |request| {
        TakenOn(shared.pulse.takes_on().then(|| answer_later(service.clone(), &shared, request)))
    });
    let session = http2_builder(&connection.control, tasks).serve_connection(TokioIo::new(wire), handler);
    drive(pin!(session), |session| session.graceful_shutdown(), &connection).await;
}

/// An answer to a request; or that it was not processed and may be sent to another (RFC 9113, section 8.7).
struct TakenOn<F>(Option<F>);

impl<F, R> Future for TakenOn<F>
where
    F: Future<Output = Result<R, BoxError>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &mut self.0 {
            Some(answer) => Pin::new(answer).poll(cx),
            None => Poll::Ready(Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into())),
        }
    }
}

/// No timer: hyper's limit on a head counts from the end of the last request. Ours are in `pace`.
fn http1_builder(control: &Control) -> http1::Builder {
    let settings = &control.settings;
    let mut builder = http1::Builder::new();
    builder.auto_date_header(control.wall.is_none());
    let size = usize::try_from(settings.max_head_size).unwrap_or(usize::MAX);
    builder.header_read_timeout(None).max_header_size(size);
    // Told a number, even its own, hyper allocates and clears so many places for every request.
    if settings.max_headers != HYPERS_MAX_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    // What has come of a head is kept here, so this bounds it as well.
    builder.max_buf_size(size.max(SMALLEST_BUFFER));
    builder
}

/// What hyper takes if it is told nothing.
const HYPERS_MAX_HEADERS: usize = 100;

/// Below this, large bodies would be moved in too many pieces.
const SMALLEST_BUFFER: usize = 64 * 1024;

fn http2_builder(control: &Control, tasks: Tasks) -> http2::Builder<Tasks> {
    let settings = &control.settings;
    let mut builder = http2::Builder::new(tasks);
    // Not all that was set: over HTTP/2 nothing else bounds the number of fields.
    let size = settings.max_head_size.min(MOST_HEAD_OF_HTTP2);
    builder
        .auto_date_header(control.wall.is_none())
        .timer(TokioTimer::new())
        .keep_alive_interval(countable(settings.ping_interval))
        .keep_alive_timeout(countable(settings.ping_timeout))
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(size)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_ERRORS);
    builder
}

/// No more fields than [`MOST_HEADERS`](super::settings::MOST_HEADERS) come to this: the shortest counts as 33 bytes (RFC 9113, section 6.5.2).
const MOST_HEAD_OF_HTTP2: u32 = 33 * MOST_HEADERS as u32;

/// Streams that the client took back before they were looked at, before its connection is closed: CVE-2023-44487.
const MOST_RESETS: usize = 20;
/// Streams that were reset because of what the client did, before its connection is closed: CVE-2025-8671.
const MOST_ERRORS: usize = 1024;

/// How [`drive`] ended.
enum Ended {
    /// The connection is over.
    Over,
    /// The client took too long for something, and is waited for no longer.
    Late,
    /// Nothing is under way, and has not been for a while.
    Idle,
}

/// Serves while there is something to serve and it is in time. `finish` has a connection of hyper's take on nothing more.
async fn drive<C>(mut session: Pin<&mut C>, finish: impl Fn(Pin<&mut C>), connection: &Shared) -> Ended
where
    C: Future<Output = hyper::Result<()>>,
{
    let settings = &connection.control.settings;
    let limits = Limits {
        head: settings.header_read_timeout,
        idle: settings.keep_alive_timeout,
        stall: settings.stall_timeout,
        age_grace: settings.age_grace,
    };
    let mut closing = None;
    let mut told = false;
    let mut stopped = pin!(async {
        connection.control.draining().await;
        // What has come by now is seen by then, and is no longer lost.
        yield_now().await;
    });
    let mut timer = pin!(Timer::new(limits.shortest(), connection.old_at));
    std::future::poll_fn(|cx| {
        loop {
            // First, since hyper learns from its first poll that there is a request, and closes at once if there is none.
            if let Poll::Ready(ended) = session.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return Poll::Ready(Ended::Over);
            }
            // Nearly always: nothing is due, and whoever has to wake this task knows how.
            let calm = connection.control.phase() < ServerPhase::Draining && !connection.pulse.floods();
            if calm && timer.as_mut().is_early(cx) {
                return Poll::Pending;
            }
            // A head that is coming is waited for: hyper would drop it.
            told = told || stopped.as_mut().poll(cx).is_ready();
            if told && closing.is_none() && !connection.pulse.is_in_head() {
                closing = Some((Instant::now(), false));
                connection.pulse.tells();
                finish(session.as_mut());
                continue;
            }
            // Before the look: what ends from here on is not missed.
            connection.pulse.wakes(cx.waker());
            let facts = connection.pulse.facts(closing, connection.old_at);
            let due = pace::next(&facts, &limits);
            let Some(act) = ready!(timer.as_mut().poll_due(cx, due)) else { continue };
            match act {
                Act::Park => return Poll::Ready(Ended::Idle),
                Act::Finish(why) => {
                    connection.closes(why);
                    closing = Some((Instant::now(), why == CloseReason::Old));
                    connection.pulse.tells();
                    finish(session.as_mut());
                }
                Act::Close(why) => {
                    connection.closes(why);
                    return Poll::Ready(Ended::Late);
                }
            }
        }
    })
    .await
}
