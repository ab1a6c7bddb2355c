use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Connection, Http1, Http2};
use super::core::Core;
use super::host::Handed;
use super::places::{Places, Speaks};
use super::wish::Wish;
use crate::connect::Progress;

/// How long a connection over HTTP/2 may lie idle. Its peer says goodbye before it closes one, so it may be kept for as long as
/// gateways commonly keep it.
const HTTP2_IDLE: Duration = Duration::from_secs(90);

/// How long a connection is kept for its first request, where none is kept after it. Whoever it was made for may have left.
const UNUSED: Duration = Duration::from_secs(1);

/// For how long one over HTTP/2 may lie idle. Where none is kept, one that does so has not been used.
const fn shared_idle(core: &Core) -> Duration {
    if core.settings.idle_timeout.is_some() { HTTP2_IDLE } else { UNUSED }
}

/// The connections to a host, and who waits for one.
pub(super) struct State {
    pub(super) places: Places,
    pub(super) speaks: Speaks,
    /// Connections over HTTP/1.1 that nobody uses. The last one was used last, and is used next.
    idle: Vec<Idle>,
    /// Connections over HTTP/2 that take requests; the first one has been there for longest, and is filled first.
    shared: Vec<Shared>,
    /// Who waits, in the order in which they came. While there is anybody, nothing is free but what they do not want.
    pub(super) waiting: VecDeque<Waiter>,
    last_ticket: u64,
    /// What the last dial is doing.
    pub(super) progress: Option<Progress>,
    /// It is in the queue of those for whom there was no room among all connections.
    pub(super) starving: bool,
}

struct Idle {
    connection: Box<Http1>,
    since: Instant,
    until: Instant,
}

struct Shared {
    connection: Arc<Http2>,
    streams: usize,
    idle_since: Instant,
}

pub(super) struct Waiter {
    ticket: u64,
    pub(super) hand: oneshot::Sender<Handed>,
    wish: Wish,
    runtime: Handle,
}

/// What is left to do once the lock is given up.
#[derive(Default)]
pub(super) struct Chores {
    pub(super) dials: Vec<(Handle, Progress)>,
    pub(super) hands: Vec<(oneshot::Sender<Handed>, Connection)>,
    pub(super) close: Vec<Connection>,
    pub(super) starves: bool,
    pub(super) lies_idle: bool,
}

impl Idle {
    fn is_live(&self) -> bool {
        !self.connection.is_closed()
    }

    /// It has just been made.
    fn is_new(&self, now: Instant) -> bool {
        self.connection.is_fresh() && self.since == now
    }
}

impl Shared {
    const fn is_idle(&self) -> bool {
        self.streams == 0
    }

    /// It lies idle, and has not ended.
    fn is_spare(&self) -> bool {
        self.is_idle() && !self.connection.is_closed()
    }
}

impl State {
    pub(super) fn new(max: usize) -> Self {
        Self {
            places: Places::new(max),
            speaks: Speaks::Unknown,
            idle: Vec::new(),
            shared: Vec::new(),
            waiting: VecDeque::new(),
            last_ticket: 0,
            progress: None,
            starving: false,
        }
    }

    /// Go to the end of the queue.
    pub(super) fn join(&mut self, hand: oneshot::Sender<Handed>, wish: Wish) -> u64 {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.waiting.push_back(Waiter { ticket, hand, wish, runtime: Handle::current() });
        ticket
    }

    /// How many connections nobody uses. One that its peer has ended has no place any more, and does not count.
    pub(super) fn idle(&self) -> usize {
        let idle = self.idle.iter().filter(|idle| idle.is_live()).count();
        idle + self.shared.iter().filter(|shared| shared.is_spare()).count()
    }

    /// Something that is free.
    pub(super) fn take(
        &mut self,
        wish: Wish,
        core: &Core,
        now: Instant,
        chores: &mut Chores,
    ) -> Option<Connection> {
        if let Some(shared) = self.take_shared(wish, core, now) {
            return Some(shared);
        }
        loop {
            let lay_idle = !self.idle.last()?.is_new(now);
            if lay_idle && wish != Wish::Any {
                return None;
            }
            let mut idle = self.idle.pop()?;
            if idle.until > now && !idle.connection.is_over(now) {
                idle.connection.lay_idle = lay_idle.then_some(idle.until);
                return Some(Connection::Http1(idle.connection));
            }
            chores.close.push(Connection::Http1(idle.connection));
        }
    }

    fn take_shared(&mut self, wish: Wish, core: &Core, now: Instant) -> Option<Connection> {
        // One that has served for long enough is let go as soon as another can take its place.
        let room = self.places.room() > 0;
        let takes = |shared: &&mut Shared| {
            let connection = &shared.connection;
            let leaves = connection.is_closed() || (room && connection.is_old(now) && core.has_room());
            // One in use is not one that its server has closed for lying idle.
            let pleases = wish != Wish::New || !shared.is_idle() || connection.is_fresh();
            pleases && !leaves && shared.streams < connection.streams()
        };
        let shared = self.shared.iter_mut().find(takes)?;
        shared.streams += 1;
        Some(Connection::Http2(Arc::clone(&shared.connection)))
    }

    /// Keep this one for later, if it may be kept.
    pub(super) fn lay_down(
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
        self.idle.push(Idle { connection, since: now, until });
        if self.idle.len() > core.settings.max_idle_per_host {
            chores.close.push(Connection::Http1(self.idle.remove(0).connection));
        }
        chores.lies_idle = true;
    }

    /// Hand what is free to those who wait, and connect for the others.
    pub(super) fn serve(&mut self, now: Instant, core: &Core, chores: &mut Chores) {
        // Those who want a new connection and wait on.
        let mut picky = 0;
        while let Some(wish) = self.waiting.get(picky).map(|waiter| waiter.wish) {
            if let Some(connection) = self.take(wish, core, now, chores) {
                let served = self.waiting.remove(picky);
                chores.hands.extend(served.map(|waiter| (waiter.hand, connection)));
            } else if wish == Wish::Any {
                break;
            } else {
                self.make_room(picky, core, chores);
                picky += 1;
            }
        }
        self.dial(core, chores);
    }

    /// See to it that there is a connection on its way, or room for one, for somebody before whom so many wait: else nothing that is free is
    /// what they want, and it is closed.
    pub(super) fn make_room(&mut self, before: usize, core: &Core, chores: &mut Chores) {
        let nothing_idle = self.idle() == 0;
        if nothing_idle || self.places.covers(before, self.speaks, core.has_room()) {
            return;
        }
        if self.close_oldest_idle(chores) {
            self.places.leave();
        }
    }

    /// Begin as many connections as those who wait can use.
    pub(super) fn dial(&mut self, core: &Core, chores: &mut Chores) {
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

    /// Whether it was waiting for room, and nobody does any more.
    pub(super) fn stop_starving(&mut self) -> bool {
        self.waiting.is_empty() && mem::take(&mut self.starving)
    }

    pub(super) fn place_of(&self, ticket: u64) -> Option<usize> {
        let at = self.waiting.partition_point(|waiter| waiter.ticket < ticket);
        self.waiting.get(at).filter(|waiter| waiter.ticket == ticket).map(|_| at)
    }

    /// A connection was made.
    pub(super) fn opened(&mut self, connection: Connection, core: &Core, now: Instant, chores: &mut Chores) {
        self.places.opened();
        match connection {
            Connection::Http1(connection) => {
                self.speaks = Speaks::Http1;
                self.lay_down(connection, core.settings.idle_timeout, core, now, chores);
            }
            Connection::Http2(connection) => {
                self.speaks = Speaks::Http2 { streams: connection.streams() };
                if core.is_closed() {
                    return chores.close.push(Connection::Http2(connection));
                }
                self.shared.push(Shared { connection, streams: 0, idle_since: now });
                chores.lies_idle = true;
            }
        }
    }

    /// A request over a shared connection is over. `dead`: nothing more is heard on it.
    pub(super) fn end_stream(
        &mut self,
        connection: &Arc<Http2>,
        dead: bool,
        core: &Core,
        now: Instant,
        chores: &mut Chores,
    ) {
        let is_it = |shared: &Shared| Arc::ptr_eq(&shared.connection, connection);
        let Some(at) = self.shared.iter().position(is_it) else { return };
        let shared = &mut self.shared[at];
        shared.streams -= 1;
        let unused = shared.is_idle();
        if unused {
            shared.idle_since = now;
            chores.lies_idle = true;
        }
        let single_use = core.settings.idle_timeout.is_none();
        if dead || (unused && (single_use || core.is_closed())) {
            chores.close.push(Connection::Http2(self.shared.remove(at).connection));
        }
    }

    /// Since when the connection has lain idle that has done so for longest.
    pub(super) fn oldest_idle(&self) -> Option<Instant> {
        let one = self.idle.iter().find(|idle| idle.is_live()).map(|idle| idle.since);
        let shared = self.shared.iter().filter(|shared| shared.is_spare()).map(|shared| shared.idle_since);
        one.into_iter().chain(shared).min()
    }

    /// Whether there was one.
    pub(super) fn close_oldest_idle(&mut self, chores: &mut Chores) -> bool {
        if let Some(at) = self.idle.iter().position(Idle::is_live) {
            chores.close.push(Connection::Http1(self.idle.remove(at).connection));
        } else if let Some(at) = self.shared.iter().position(Shared::is_spare) {
            chores.close.push(Connection::Http2(self.shared.remove(at).connection));
        } else {
            return false;
        }
        true
    }

    /// Close what has been idle for long enough; when the next one will have been.
    pub(super) fn expire(&mut self, core: &Core, now: Instant, chores: &mut Chores) -> Option<Instant> {
        let shared_idle = shared_idle(core);
        let is_over = |idle: &Idle| idle.until <= now || idle.connection.is_closed();
        let (over, kept): (Vec<_>, _) = mem::take(&mut self.idle).into_iter().partition(is_over);
        self.idle = kept;
        chores.close.extend(over.into_iter().map(|idle| Connection::Http1(idle.connection)));
        let is_over = |shared: &Shared| {
            let idle = shared.is_idle() && shared.idle_since + shared_idle <= now;
            idle || shared.connection.is_closed()
        };
        let (over, kept): (Vec<_>, _) = mem::take(&mut self.shared).into_iter().partition(is_over);
        self.shared = kept;
        chores.close.extend(over.into_iter().map(|shared| Connection::Http2(shared.connection)));
        let idle = self.idle.iter().map(|idle| idle.until);
        let shared = self.shared.iter().filter(|shared| shared.is_idle());
        idle.chain(shared.map(|shared| shared.idle_since + shared_idle)).min()
    }

    /// Close what nobody uses; what is in use closes when it is not any more.
    pub(super) fn close(&mut self, chores: &mut Chores) {
        chores.close.extend(self.idle.drain(..).map(|idle| Connection::Http1(idle.connection)));
        chores.close.extend(self.shared.drain(..).map(|shared| Connection::Http2(shared.connection)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use hyper::client::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::duplex;

    use super::super::sender::Sender;
    use super::*;
    use crate::base::{Observe, Rng};
    use crate::client::ClientSettings;
    use crate::connect::Connector;

    const MINUTE: Duration = Duration::from_secs(60);

    fn core(settings: ClientSettings) -> Core {
        Core::new(settings, Connector::new(), Observe::default(), Rng::seeded(1))
    }

    /// To a peer that says nothing.
    async fn over_http1(used: bool, retire_at: Option<Instant>) -> Box<Http1> {
        let (near, far) = duplex(1024);
        let (sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
        let task = tokio::spawn(async move { (connection.await, far).0 }).abort_handle();
        let sender = Arc::new(Sender::new(sender));
        Box::new(Http1 { sender, task, forwards: None, retire_at, used, lay_idle: None })
    }

    async fn over_http2(retire_at: Option<Instant>) -> Connection {
        let (near, far) = duplex(1024);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
        tokio::spawn(async move { (connection.await, far).0 });
        Connection::Http2(Arc::new(Http2 {
            sender: Arc::new(Sender::new(sender)),
            limit: Arc::new(AtomicUsize::new(10)),
            pulse: Arc::default(),
            retire_at,
            used: AtomicBool::new(false),
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_new_as_long_as_it_has_carried_nothing_and_was_made_just_now() {
        let (core, now) = (core(ClientSettings::new()), Instant::now());
        for (used, later, is_new) in [
            (false, Duration::ZERO, true),
            (true, Duration::ZERO, false),
            (false, Duration::from_secs(1), false),
            (true, Duration::from_secs(1), false),
        ] {
            let (mut state, mut chores) = (State::new(9), Chores::default());
            state.lay_down(over_http1(used, None).await, Some(MINUTE), &core, now, &mut chores);
            let new = state.take(Wish::Rather, &core, now + later, &mut chores);
            assert_eq!(new.is_some(), is_new, "used: {used}, after {later:?}");
            let any = new.or_else(|| state.take(Wish::Any, &core, now + later, &mut chores));
            assert_eq!(any.map(|connection| connection.is_kept()), Some(!is_new));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_unless_it_has_served_for_long_enough_or_the_client_is_gone() {
        let now = Instant::now();
        for (closed, retire_at, kept) in [
            (false, None, true),
            (false, Some(now + MINUTE), true),
            (false, Some(now), false),
            (true, None, false),
            (true, Some(now), false),
        ] {
            let core = core(ClientSettings::new());
            if closed {
                core.close();
            }
            let (mut state, mut chores) = (State::new(9), Chores::default());
            state.lay_down(over_http1(true, retire_at).await, Some(MINUTE), &core, now, &mut chores);
            assert_eq!((state.idle() == 1, chores.close.is_empty()), (kept, kept), "{closed} {retire_at:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_served_for_long_enough_serves_on_where_there_is_no_room_for_another() {
        let now = Instant::now();
        for (places, all, serves) in [(1, 9, true), (2, 1, true), (2, 2, false)] {
            let core = core(ClientSettings::new().max_connections(all));
            assert!(core.take());
            let (mut state, mut chores) = (State::new(places), Chores::default());
            state.places.begin();
            state.opened(over_http2(Some(now)).await, &core, now, &mut chores);
            assert_eq!(state.take(Wish::Any, &core, now, &mut chores).is_some(), serves, "{places} of {all}");
            assert_eq!(state.idle() == 0, serves, "what is in use does not lie idle");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_connection_is_closed_after_its_last_request_where_none_is_kept() {
        let now = Instant::now();
        for (settings, closed, kept) in [
            (ClientSettings::new(), false, true),
            (ClientSettings::new(), true, false),
            (ClientSettings::new().without_idle_connections(), false, false),
        ] {
            let core = core(settings);
            let (mut state, mut chores) = (State::new(9), Chores::default());
            state.places.begin();
            state.opened(over_http2(None).await, &core, now, &mut chores);
            let taken = [(); 2].map(|()| state.take(Wish::Any, &core, now, &mut chores));
            if closed {
                core.close();
            }
            let mut left = Vec::new();
            for connection in taken {
                let Some(Connection::Http2(connection)) = connection else { panic!("two fit in") };
                state.end_stream(&connection, false, &core, now, &mut chores);
                left.push(chores.close.len());
            }
            assert_eq!(left, [0, usize::from(!kept)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_its_peer_has_ended_does_not_lie_idle_and_makes_no_room() {
        let (core, now) = (core(ClientSettings::new()), Instant::now());
        let (mut state, mut chores) = (State::new(2), Chores::default());
        for ended in [true, false] {
            state.places.begin();
            let connection = over_http1(false, None).await;
            let sender = Arc::downgrade(&connection.sender);
            state.opened(Connection::Http1(connection), &core, now, &mut chores);
            if ended {
                Sender::end(&sender);
            }
        }
        assert_eq!((state.idle(), state.oldest_idle()), (1, Some(now)));
        state.make_room(0, &core, &mut chores);
        assert_eq!((state.idle(), state.oldest_idle(), chores.close.len()), (0, None, 1));
        assert!(state.places.covers(0, state.speaks, true), "the one that lives leaves");
        state.make_room(1, &core, &mut chores);
        assert!(!state.places.covers(1, state.speaks, true), "nothing else does");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_that_lies_idle_outlives_the_client() {
        let (core, now) = (core(ClientSettings::new()), Instant::now());
        let (mut state, mut chores) = (State::new(9), Chores::default());
        state.places.begin();
        state.opened(over_http2(None).await, &core, now, &mut chores);
        state.lay_down(over_http1(true, None).await, Some(MINUTE), &core, now, &mut chores);
        assert_eq!((state.idle(), chores.close.len()), (2, 0));
        state.close(&mut chores);
        assert_eq!((state.idle(), chores.close.len()), (0, 2));
    }
}
