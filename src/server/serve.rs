use std::fmt;
use std::future::pending;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use super::admission::Admission;
use super::connection;
use super::control::Control;
use super::explain;
#[cfg(feature = "tls")]
use super::handshake;
use super::listener::{Acceptor, is_of_one_connection};
use super::shared::Shared;
use super::signals::Signals;
use super::tasks;
use super::wire::{Plain, Wire};
use super::{BindError, Listener, Servable, ServerBuilder, ServerHandle, Serving, ShutdownReport};
use crate::Body;
use crate::base::{BoxError, CloseReason, DetachShare, Peer, Rng, ServerPhase};

/// Somewhere to listen, and how what comes will be served. See the [module](super).
#[derive(Debug)]
#[must_use = "a server does nothing until it serves"]
pub struct Server<L = TcpListener> {
    listener: L,
    control: Arc<Control>,
    presence: Presence,
    admission: Admission,
    signals: Option<Signals>,
    rng: Rng,
}

/// That there is a server, and not handles alone.
#[derive(Debug)]
struct Presence(Arc<Control>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Server {
    /// Begin with the defaults.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Open the port, with the defaults. The same as [`Server::builder`] and [`ServerBuilder::bind`], which say more.
    ///
    /// # Errors
    ///
    /// [`BindError`], which names the address.
    pub async fn bind(addr: impl ToSocketAddrs + fmt::Debug) -> Result<Self, BindError> {
        Self::builder().bind(addr).await
    }

    /// Where it listens, with the port that was taken if 0 was asked for.
    ///
    /// # Panics
    ///
    /// If the system no longer knows, which cannot be while the port is open.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr().expect("an open port has an address")
    }
}

impl<L> Server<L> {
    pub(super) fn new(
        listener: L,
        control: Arc<Control>,
        admission: Admission,
        signals: Option<Signals>,
        rng: Rng,
    ) -> Self {
        let presence = Presence(Arc::clone(&control));
        Self { listener, control, presence, admission, signals, rng }
    }
}

impl<L: Listener> Server<L> {
    /// What a request meets, outermost first, with the settings in force.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::server::BindError> {
    /// use stonework::server::Server;
    ///
    /// let server = Server::bind("127.0.0.1:0").await?;
    /// assert!(server.explain().contains("rate limit: off"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn explain(&self) -> String {
        explain::stack(&self.control, &self.admission)
    }

    /// What stops it from elsewhere, and tells how it is doing.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { control: Arc::clone(&self.control) }
    }

    /// Serve until somebody asks to stop: a [handle](Server::handle), or a [signal](ServerBuilder::stop_on_signals). Then
    /// stop without cutting off what was begun, in phases:
    ///
    /// 1. For the time of the [lame duck](super::ServerSettings::lame_duck) everything goes on, but readiness fails.
    /// 2. What lies in the queue of the port is taken, as far as there is [room](super::ServerSettings::max_connections), and the
    ///    port closed. Idle connections are closed; the others are told that this is their last request, with `Connection: close` or
    ///    GOAWAY. Whoever waits for [`Shutdown::requested`](super::Shutdown::requested) learns of it. What has begun goes on for as
    ///    long as the [drain](super::ServerSettings::drain_timeout) lasts.
    /// 3. What is left is dropped, and counted in the [`ShutdownReport`]. [Detached](ServerBuilder::detach) work is counted, and goes on; so does a
    ///    handler that blocks its thread, which nobody can drop.
    ///
    /// Who asks again ends the phase under way. A request that its client sent into a connection while it was being closed
    /// is lost, as RFC 9112, section 9.3.1, has it: the client sees the connection closed, and nothing was done.
    ///
    /// [`Servable`] says what `service` may be. It goes to other threads, and so do its errors and its futures.
    ///
    /// Dropping the future at any point drops everything at once.
    pub fn serve<S, B>(self, service: S) -> Serving
    where
        S: Servable<B> + Send + 'static,
        S::Failure: Into<BoxError> + Send,
        S::Work: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // In a box, so that its type has a name without `S` in it: the compiler would say of each such type that `S` cannot be served.
        Serving(Box::pin(self.serve_until(service, pending::<()>())))
    }

    /// As [`serve`](Self::serve), and begin to stop when `shutdown` is done, too.
    pub async fn serve_until<S, B>(self, service: S, shutdown: impl Future) -> ShutdownReport
    where
        S: Servable<B> + Send + 'static,
        S::Failure: Into<BoxError> + Send,
        S::Work: Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Self { listener, control, presence: _present, admission, mut signals, rng } = self;
        let service = admission.around(service);
        let handle = ServerHandle { control: Arc::clone(&control) };
        let asks = async {
            let signalled = async {
                match &mut signals {
                    Some(signals) => signals.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = shutdown => handle.shut_down(),
                () = signalled => handle.shut_down(),
            }
            while let Some(signals) = &mut signals {
                signals.next().await;
                handle.shut_down();
            }
            pending::<()>().await;
        };
        let port =
            Port { acceptor: Acceptor::new(listener), control, service, rng, connections: JoinSet::new() };
        tokio::select! {
            // In one order always, or two runs of a test would not be the same.
            biased;
            report = port.serve() => report,
            () = asks => unreachable!("whoever asks goes on asking"),
        }
    }
}

/// What systems keep at most (`somaxconn` of Linux). Whoever connects faster than it can be taken does not keep a server from
/// its end.
const LONGEST_QUEUE: usize = 4096;

/// How long is waited for what was dropped to be gone, which takes no longer than until its thread is free. What blocks its thread may never be.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// A server that serves.
struct Port<L, S> {
    acceptor: Acceptor<L>,
    control: Arc<Control>,
    service: S,
    rng: Rng,
    // Owns every task, so that dropping this ends them all.
    connections: JoinSet<()>,
}

impl<L, S, B> Port<L, S>
where
    L: Listener,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn serve(mut self) -> ShutdownReport {
        let control = Arc::clone(&self.control);
        // How often somebody has asked so far, to some effect.
        let mut asked = 0;
        self.take_until(control.asked_again(asked)).await;
        asked += 1;
        let begun = Instant::now();
        if let Some(health) = &control.health {
            health.drain();
            control.enter(ServerPhase::LameDuck);
            let skipped = timeout(control.settings.lame_duck, control.asked_again(asked));
            if self.take_until(skipped).await.is_ok() {
                asked += 1;
            }
        }
        // Before the queue is taken, so that whoever comes out of it is told that this is the end.
        control.enter(ServerPhase::Draining);
        self.take_queue().await;
        let Self { acceptor, service, mut connections, .. } = self;
        drop((acceptor, service));
        if let Some(health) = &control.health {
            health.stop();
        }
        let all = async {
            while let Some(ended) = connections.join_next().await {
                note(ended);
            }
            control.crowd.empty().await;
            for detach in &control.detached {
                detach.stop();
            }
            for detach in &control.detached {
                detach.ended().await;
            }
        };
        tokio::select! {
            biased;
            () = all => {}
            () = sleep(control.settings.drain_timeout) => {}
            () = control.asked_again(asked) => {}
        }
        while let Some(ended) = connections.try_join_next() {
            note(ended);
        }
        // Over HTTP/2, what clients had asked for who have left: that they left is not the server's doing, and is not counted as such.
        let _ = timeout(LAST_LOOK, control.leavers.gone()).await;
        control.enter(ServerPhase::Stopped);
        let connections_aborted = connections.len();
        connections.abort_all();
        let gone = async {
            while connections.join_next().await.is_some() {}
            // Theirs, over HTTP/2: what they were at is counted when they are gone.
            control.leavers.gone().await;
        };
        let _ = timeout(LAST_LOOK, gone).await;
        let stuck = tasks::left(&mut connections) + control.leavers.count();
        if stuck > 0 {
            tracing::error!(stuck, "handlers block their threads, and were not waited for");
        }
        let (finished, aborted) = control.counts();
        let upgraded = control.crowd.count();
        let detached = control.detached.iter().map(DetachShare::running).sum();
        let took = begun.elapsed();
        ShutdownReport { finished, aborted, connections_aborted, detached, stuck, upgraded, took }
    }

    /// Takes connections until `over` is done.
    async fn take_until<O>(&mut self, over: impl Future<Output = O>) -> O {
        let mut over = pin!(over);
        loop {
            tokio::select! {
                biased;
                output = over.as_mut() => return output,
                Some(ended) = self.connections.join_next() => note(ended),
                (socket, from) = async {
                    self.control.crowd.room().await;
                    self.acceptor.next().await
                } => self.take(socket, from),
            }
        }
    }

    /// Takes the connections that clients made before the port is closed.
    async fn take_queue(&mut self) {
        // By then the system has said whether there are any.
        yield_now().await;
        for _ in 0..LONGEST_QUEUE {
            if !self.control.crowd.has_room() {
                return;
            }
            match self.acceptor.queued().await {
                Poll::Ready(Ok((socket, from))) => self.take(socket, from),
                Poll::Ready(Err(error)) if is_of_one_connection(&error) => {}
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "the queue of the port could not be taken to its end");
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn take(&mut self, socket: L::Io, from: Option<SocketAddr>) {
        let peer = from.map_or_else(Peer::default, Peer::from);
        let now = Instant::now();
        let jittered = |age: Duration| (age - age / 10).saturating_add(self.rng.duration_below(age / 5));
        let old_at = self.control.settings.max_age.and_then(|age| now.checked_add(jittered(age)));
        let connection = Shared::new(peer, Arc::clone(&self.control), now, old_at);
        let Ok(place) = self.control.crowd.enter(from.map(|from| from.ip())) else {
            connection.closes(CloseReason::Crowded);
            return;
        };
        let socket = Plain::new(socket, connection);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.control.tls {
            let config = tls.current();
            self.connections.spawn(handshake::serve(socket, place, config, self.service.clone()));
            return;
        }
        self.connections.spawn(connection::serve(Wire::new(socket, place), self.service.clone()));
    }
}

/// Errors of a connection are its own affair; a panic is a bug.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection was lost");
    }
}
