use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::shared::Shared;
use crate::base::ServerPhase;

/// Stops a running [`Server`](super::Server), and tells how it is doing. Clones are of the same server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::server::BindError> {
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use stonework::Body;
/// use stonework::base::ServerPhase;
/// use stonework::server::Server;
/// use tower::service_fn;
///
/// let server = Server::bind("127.0.0.1:0").await?;
/// let handle = server.handle();
/// let service = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
/// let serving = tokio::spawn(server.serve(service));
///
/// handle.shut_down();
/// assert_eq!(serving.await.unwrap().aborted, 0);
/// assert_eq!(handle.phase(), ServerPhase::Stopped);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ServerHandle {
    pub(super) control: Arc<Control>,
}

impl ServerHandle {
    /// Begin to stop: see [`Server::serve`](super::Server::serve). Called again, it ends the phase under way, and so skips ahead: from the lame duck to the drain, from
    /// the drain to the end. It returns at once; what comes of it is in the [`ShutdownReport`].
    pub fn shut_down(&self) {
        self.control.asked.send_modify(|times| *times = times.saturating_add(1));
    }

    /// Where it is between serving and having stopped.
    #[must_use]
    pub fn phase(&self) -> ServerPhase {
        self.control.phase()
    }

    /// How many connections there are, idle and upgraded ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.control.crowd.count()
    }
}

/// Tells a handler that its server is about to stop: an extension of every request.
///
/// For what would not end by itself, such as a stream of events or a WebSocket: send a last word, and end. Ordinary
/// handlers need not look; they have the time of the [drain](super::ServerSettings::drain_timeout) to answer.
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use stonework::server::Shutdown;
///
/// async fn work_until_told<B>(request: Request<B>) -> u32 {
///     let mut done = 0;
///     // There is none, if the request did not come over a `Server`.
///     let Some(shutdown) = request.extensions().get::<Shutdown>() else { return done };
///     loop {
///         tokio::select! {
///             () = shutdown.requested() => return done,
///             () = tokio::time::sleep(Duration::from_millis(5)) => done += 1,
///         }
///     }
/// }
/// # let _ = work_until_told::<()>;
/// ```
#[derive(Clone)]
pub struct Shutdown {
    pub(super) connection: Arc<Shared>,
}

impl Shutdown {
    /// Whether it is about to stop: the drain has begun.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.connection.control.phase() >= ServerPhase::Draining
    }

    /// Waits until it is. May be dropped at any time.
    pub async fn requested(&self) {
        self.connection.control.draining().await;
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown").field("is_requested", &self.is_requested()).finish()
    }
}

/// What a shutdown came to. See [`Server::serve`](super::Server::serve).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Requests that were answered in full since the shutdown began: the system has taken the last of the answer. Over HTTP/2 its connection
    /// has taken it, in which up to 400 KiB of what the client has made room for may wait for the system.
    pub finished: u64,
    /// Requests that were cut off at the end of the drain, or whose answers were. Each may have done some of its work.
    pub aborted: u64,
    /// Connections that were cut off then, those of the requests above included.
    pub connections_aborted: usize,
    /// Work that was [detached](super::ServerBuilder::detach) and had not ended then. It ends by itself, or when the process does.
    pub detached: usize,
    /// Requests whose handlers block their threads: they were cut off, and could not be dropped within a second. They are not counted above. A
    /// runtime that is dropped waits for them: end the process with [`exit`](std::process::exit), or the runtime with
    /// [`shutdown_timeout`](tokio::runtime::Runtime::shutdown_timeout).
    pub stuck: usize,
    /// Upgraded connections that were still open then. They belong to their handlers, and end when those or the process do.
    pub upgraded: usize,
    /// From the beginning of the shutdown to its end.
    pub took: Duration,
}
