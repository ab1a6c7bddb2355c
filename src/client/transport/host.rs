use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Connection, Http1, Http2};
use super::core::Core;
use super::dial::{Dialing, dial};
use super::key::Key;
use super::lease::Lease;
use super::places::{Places, Speaks, Told};
use super::waiting::Waiting;
use crate::base::{Error, Phase};
use crate::client::{ConnectionStats, ConnectionsExhausted};
use crate::connect::{Progress, Target};

/// How long a connection over HTTP/2 may lie idle. Its peer says goodbye before it closes one, so it may be kept for as long as
/// gateways commonly keep it.
pub(super) const HTTP2_IDLE: Duration = Duration::from_secs(90);

/// How long a connection is kept for its first request, where none is kept after it. Whoever it was made for may have left.
const UNUSED: Duration = Duration::from_secs(1);

/// One host, and all connections to it.
pub(super) struct Host {
    pub(super) core: Arc<Core>,
    pub(super) key: Key,
    /// As it is shown.
    pub(super) name: Arc<str>,
    /// As it stands in a request that goes there.
    pub(super) header: HeaderValue,
    pub(super) target: Target,
    state: Mutex<State>,
}

struct State {
    places: Places,
    speaks: Speaks,
    /// Connections over HTTP/1.1 that nobody uses. The last one was used last, and is used next.
    idle: Vec<Idle>,
    /// Connections over HTTP/2 that take requests; the first one has been there for longest, and is filled first.
    shared: Vec<Shared>,
    /// Who waits, in the order in which they came. While there is anybody, nothing is free.
    waiting: VecDeque<Waiter>,
    last_ticket: u64,
    /// What the last dial is doing.
    progress: Option<Progress>,
    /// It is in the queue of those for whom there was no room among all connections.
    starving: bool,
}

struct Idle {
    connection: Box<Http1>,
    until: Instant,
}

struct Shared {
    connection: Arc<Http2>,
    streams: usize,
    idle_since: Instant,
}

struct Waiter {
    ticket: u64,
    hand: oneshot::Sender<Handed>,
    runtime: Handle,
}

/// A connection, or why there is none, which others are told, too.
pub(super) type Handed = Result<Lease, Arc<Error>>;

/// What a host answers to a request.
pub(super) enum Asked {
    Has(Lease),
    Waits(Waiting),
}

/// What is left to do once the lock is given up.
#[derive(Default)]
struct Chores {
    dials: Vec<(Handle, Progress)>,
    hands: Vec<(oneshot::Sender<Handed>, Connection)>,
    close: Vec<Connection>,
    starves: bool,
    lies_idle: bool,
}

impl Host {
    pub(super) fn new(core: &Arc<Core>, key: Key) -> Self {
        let (host, port) = (key.at.host().to_ascii_lowercase(), key.at.port());
        let usual = if key.tls { 443 } else { 80 };
        let header = if port == usual { host.clone() } else { format!("{host}:{port}") };
        Self {
            core: Arc::clone(core),
            name: key.at.to_string().into(),
            header: HeaderValue::try_from(header).expect("what stands in a URI may stand in a header"),
            target: Target::new(&host, port, key.tls),
            key,
            state: Mutex::new(State {
                places: Places::new(core.settings.max_connections_per_host),
                speaks: Speaks::Unknown,
                idle: Vec::new(),
                shared: Vec::new(),
                waiting: VecDeque::new(),
                last_ticket: 0,
                progress: None,
                starving: false,
            }),
        }
    }

    /// A connection, or a place in the queue for one. `fresh`: rather a new one than one that lay idle.
    pub(super) fn ask(self: &Arc<Self>, fresh: bool) -> Result<Asked, Error> {
        let now = Instant::now();
        let most = self.core.settings.max_waiting;
        self.change(|state, chores| {
            if !fresh || state.places.room() == 0 || !self.core.has_room() {
                if let Some(connection) = state.take(now, chores) {
                    return Ok(Asked::Has(self.lease(connection)));
                }
            } else if let Some(connection) = state.take_shared(now) {
                return Ok(Asked::Has(self.lease(connection)));
            }
            let waiting = state.waiting.len() + 1;
            if state.places.without_a_place(waiting, state.speaks) > most {
                return Err(self.exhausted(state, None));
            }
            let (hand, handed) = oneshot::channel();
            state.last_ticket += 1;
            let ticket = state.last_ticket;
            state.waiting.push_back(Waiter { ticket, hand, runtime: Handle::current() });
            state.dial(&self.core, chores);
            Ok(Asked::Waits(Waiting::new(Arc::clone(self), ticket, handed)))
        })
    }

    /// Somebody does not wait any more.
    pub(super) fn leave(self: &Arc<Self>, ticket: u64) {
        let left = self.change(|state, _| state.place_of(ticket).and_then(|at| state.waiting.remove(at)));
        drop(left);
    }

    /// Whether a connection is on its way for this one.
    pub(super) fn is_promised(&self, ticket: u64) -> bool {
        let state = self.state();
        let before = state.place_of(ticket);
        before.is_some_and(|before| state.places.is_promised(before, state.speaks))
    }

    /// What those who wait are waiting for.
    pub(super) fn phase(&self) -> Phase {
        let progress = {
            let state = self.state();
            if state.places.dialing() > 0 { state.progress.clone() } else { None }
        };
        progress.map_or(Phase::Pool, |progress| progress.step())
    }

    /// One has waited for too long.
    pub(super) fn out_of_patience(&self, waited: Duration) -> Error {
        self.exhausted(&self.state(), Some(waited))
    }

    fn exhausted(&self, state: &State, waited: Option<Duration>) -> Error {
        let exhausted = ConnectionsExhausted {
            host: Arc::clone(&self.name),
            max: state.places.max(),
            open: state.places.open(),
            waiting: state.waiting.len(),
            elapsed: None,
        };
        exhausted.into_error(waited)
    }

    /// A dial has led to a connection.
    pub(super) fn opened(self: &Arc<Self>, connection: Connection) {
        let now = Instant::now();
        self.change(|state, chores| {
            state.places.opened();
            match connection {
                Connection::Http1(connection) => {
                    state.speaks = Speaks::Http1;
                    state.lay_down(connection, self.core.settings.idle_timeout, &self.core, now, chores);
                }
                Connection::Http2(connection) => {
                    state.speaks = Speaks::Http2 { streams: connection.streams() };
                    state.shared.push(Shared { connection, streams: 0, idle_since: now });
                    chores.lies_idle = true;
                }
            }
            state.serve(now, &self.core, chores);
        });
    }

    /// A dial has failed.
    pub(super) fn failed(self: &Arc<Self>, error: Error) {
        let error = Arc::new(error);
        let told = self.change(|state, chores| {
            let told = match state.places.failed() {
                Told::All => state.waiting.drain(..).collect(),
                Told::First => state.waiting.pop_front().into_iter().collect::<Vec<_>>(),
            };
            state.dial(&self.core, chores);
            told
        });
        for waiter in told {
            let _ = waiter.hand.send(Err(Arc::clone(&error)));
        }
    }

    /// A socket is closed.
    fn closed(self: &Arc<Self>, opened: bool) {
        self.change(|state, chores| {
            state.places.closed(opened);
            state.dial(&self.core, chores);
        });
        self.core.give_back();
    }

    /// There may be room for a connection that there was no room for.
    pub(super) fn pursue(self: &Arc<Self>) {
        self.change(|state, chores| {
            state.starving = false;
            state.dial(&self.core, chores);
        });
    }

    /// A connection that can be used again, for so long.
    pub(super) fn put_back(self: &Arc<Self>, connection: Box<Http1>, idle: Option<Duration>) {
        let now = Instant::now();
        self.change(|state, chores| {
            state.lay_down(connection, idle, &self.core, now, chores);
            state.serve(now, &self.core, chores);
        });
    }

    /// A request over a shared connection is over. `dead`: nothing more is heard on it.
    pub(super) fn end_stream(self: &Arc<Self>, connection: &Arc<Http2>, dead: bool) {
        let now = Instant::now();
        self.change(|state, chores| {
            let Some(at) = state.shared.iter().position(|shared| Arc::ptr_eq(&shared.connection, connection))
            else {
                return;
            };
            let shared = &mut state.shared[at];
            shared.streams -= 1;
            let unused = shared.streams == 0;
            if unused {
                shared.idle_since = now;
                chores.lies_idle = true;
            }
            let single_use = self.core.settings.idle_timeout.is_none();
            if dead || (unused && (single_use || self.core.is_closed())) {
                let shared = state.shared.swap_remove(at);
                chores.close.push(Connection::Http2(shared.connection));
            }
            state.serve(now, &self.core, chores);
        });
    }

    /// Since when the connection has lain idle that has done so for longest, whatever it is kept for.
    pub(super) fn oldest_idle(&self) -> Option<Instant> {
        let state = self.state();
        let one = state.idle.first().map(|idle| idle.until);
        let shared = state.shared.iter().filter(|shared| shared.streams == 0).map(|shared| shared.idle_since);
        one.into_iter().chain(shared).min()
    }

    pub(super) fn close_oldest_idle(self: &Arc<Self>) {
        self.change(|state, chores| {
            if !state.idle.is_empty() {
                chores.close.push(Connection::Http1(state.idle.remove(0).connection));
            } else if let Some(at) = state.shared.iter().position(|shared| shared.streams == 0) {
                chores.close.push(Connection::Http2(state.shared.remove(at).connection));
            }
        });
    }

    /// Close what has been idle for long enough; when the next one will have been.
    pub(super) fn expire(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        self.change(|state, chores| {
            let over = |idle: &Idle| idle.until <= now || idle.connection.is_closed();
            let (over, kept) = mem::take(&mut state.idle).into_iter().partition(over);
            state.idle = kept;
            let over: Vec<Idle> = over;
            chores.close.extend(over.into_iter().map(|idle| Connection::Http1(idle.connection)));
            let over = |shared: &Shared| {
                let idle = shared.streams == 0 && shared.idle_since + HTTP2_IDLE <= now;
                idle || shared.connection.is_closed()
            };
            let (over, kept) = mem::take(&mut state.shared).into_iter().partition(over);
            state.shared = kept;
            let over: Vec<Shared> = over;
            chores.close.extend(over.into_iter().map(|shared| Connection::Http2(shared.connection)));
            let idle = state.idle.iter().map(|idle| idle.until);
            let shared = state.shared.iter().filter(|shared| shared.streams == 0);
            idle.chain(shared.map(|shared| shared.idle_since + HTTP2_IDLE)).min()
        })
    }

    /// The client is gone: what nobody uses is closed.
    pub(super) fn close(self: &Arc<Self>) {
        self.change(|state, chores| {
            chores.close.extend(state.idle.drain(..).map(|idle| Connection::Http1(idle.connection)));
            chores.close.extend(state.shared.drain(..).map(|shared| Connection::Http2(shared.connection)));
        });
    }

    pub(super) fn count(&self, stats: &mut ConnectionStats) {
        let state = self.state();
        stats.hosts += 1;
        stats.open += state.places.open();
        stats.dialing += state.places.dialing();
        stats.idle += state.idle.len() + state.shared.iter().filter(|shared| shared.streams == 0).count();
        stats.waiting += state.waiting.len();
    }

    fn lease(self: &Arc<Self>, connection: Connection) -> Lease {
        Lease::new(Arc::clone(self), connection)
    }

    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Chores) -> R) -> R {
        let mut chores = Chores::default();
        let result = change(&mut self.state(), &mut chores);
        self.do_chores(chores);
        result
    }

    fn do_chores(self: &Arc<Self>, chores: Chores) {
        let Chores { dials, hands, close, starves, lies_idle } = chores;
        for (hand, connection) in hands {
            // Where nobody waits any more, the connection goes back, and to the next.
            let _ = hand.send(Ok(self.lease(connection)));
        }
        drop(close);
        if lies_idle {
            self.core.keeper.watch(&self.core);
            if self.core.anybody_starves() {
                self.close_oldest_idle();
            }
        }
        for (runtime, progress) in dials {
            let dialing = Dialing::new(Arc::clone(self), progress);
            drop(runtime.spawn(dial(dialing)));
        }
        if starves {
            self.core.starve(self);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Something that is free.
    fn take(&mut self, now: Instant, chores: &mut Chores) -> Option<Connection> {
        if let Some(shared) = self.take_shared(now) {
            return Some(shared);
        }
        while let Some(idle) = self.idle.pop() {
            if idle.until > now && !idle.connection.is_over(now) {
                return Some(Connection::Http1(idle.connection));
            }
            chores.close.push(Connection::Http1(idle.connection));
        }
        None
    }

    fn take_shared(&mut self, now: Instant) -> Option<Connection> {
        // One that has served for long enough is let go as soon as another can take its place.
        let room = self.places.room() > 0;
        let takes = |shared: &&mut Shared| {
            let connection = &shared.connection;
            let leaves = connection.is_closed() || (room && connection.is_old(now));
            !leaves && shared.streams < connection.streams()
        };
        let shared = self.shared.iter_mut().find(takes)?;
        shared.streams += 1;
        Some(Connection::Http2(Arc::clone(&shared.connection)))
    }

    /// Keep this one for later, if it may be kept.
    fn lay_down(
        &mut self,
        connection: Box<Http1>,
        idle: Option<Duration>,
        core: &Core,
        now: Instant,
        chores: &mut Chores,
    ) {
        // One that nobody has used yet is for whoever waits for it, also where none is used twice.
        let idle = idle.or_else(|| connection.is_fresh().then_some(UNUSED));
        let Some(idle) = idle.filter(|_| !core.is_closed() && !connection.is_over(now)) else {
            return chores.close.push(Connection::Http1(connection));
        };
        let until = now + idle;
        self.idle.push(Idle { connection, until });
        if self.idle.len() > core.settings.max_idle_per_host {
            chores.close.push(Connection::Http1(self.idle.remove(0).connection));
        }
        chores.lies_idle = true;
    }

    /// Hand what is free to those who wait, and connect for the others.
    fn serve(&mut self, now: Instant, core: &Core, chores: &mut Chores) {
        while !self.waiting.is_empty() {
            let Some(connection) = self.take(now, chores) else { break };
            if let Some(waiter) = self.waiting.pop_front() {
                chores.hands.push((waiter.hand, connection));
            }
        }
        self.dial(core, chores);
    }

    /// Begin as many connections as those who wait can use.
    fn dial(&mut self, core: &Core, chores: &mut Chores) {
        let Some(first) = self.waiting.front() else { return };
        // Whoever waits has a runtime, which whoever frees a place need not have.
        let runtime = first.runtime.clone();
        for _ in 0..self.places.wanted(self.waiting.len(), self.speaks) {
            if !core.take() {
                chores.starves = !self.starving;
                self.starving = true;
                break;
            }
            self.places.begin();
            let progress = Progress::default();
            self.progress = Some(progress.clone());
            chores.dials.push((runtime.clone(), progress));
        }
    }

    fn place_of(&self, ticket: u64) -> Option<usize> {
        let at = self.waiting.partition_point(|waiter| waiter.ticket < ticket);
        self.waiting.get(at).filter(|waiter| waiter.ticket == ticket).map(|_| at)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A place that a socket takes, from before it is opened until after it is closed.
pub(super) struct Place {
    host: Arc<Host>,
    opened: AtomicBool,
}

impl Place {
    pub(super) const fn new(host: Arc<Host>) -> Self {
        Self { host, opened: AtomicBool::new(false) }
    }

    /// It is that of a connection now.
    pub(super) fn opened(&self) {
        self.opened.store(true, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.host.closed(*self.opened.get_mut());
    }
}
