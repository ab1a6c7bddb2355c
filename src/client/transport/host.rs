use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Connection, Http1, Http2};
use super::core::Core;
use super::dial::{Dialing, dial};
use super::key::Key;
use super::lease::Lease;
use super::places::Told;
use super::state::{Chores, State};
use super::waiting::Waiting;
use super::wish::Wish;
use crate::base::{Error, Phase};
use crate::client::{ConnectionStats, ConnectionsExhausted};
use crate::connect::Target;

/// One host, and all connections to it.
pub(super) struct Host {
    pub(super) core: Arc<Core>,
    pub(super) key: Key,
    /// As it is shown.
    pub(super) name: Arc<str>,
    /// As it stands in a request that goes there.
    pub(super) header: HeaderValue,
    pub(super) target: Target,
    /// Where it is, if that is not to be found out by its name.
    pub(super) place: Option<Target>,
    /// It has been asked for a connection for a call of gRPC.
    grpc: AtomicBool,
    state: Mutex<State>,
}

/// A connection, or why there is none, which others are told, too.
pub(super) type Handed = Result<Lease, Arc<Error>>;

/// What a host answers to a request.
pub(super) enum Asked {
    Has(Lease),
    Waits(Waiting),
}

impl Host {
    pub(super) fn new(core: &Arc<Core>, key: Key) -> Self {
        let (host, port) = (key.at.host().to_ascii_lowercase(), key.at.port());
        let usual = if key.tls { 443 } else { 80 };
        let header = if port == usual { host.clone() } else { format!("{host}:{port}") };
        let place = key.place.as_deref();
        Self {
            core: Arc::clone(core),
            // What is told apart is what connections are made to.
            name: place.unwrap_or(&key.at).to_string().into(),
            header: HeaderValue::try_from(header).expect("what stands in a URI may stand in a header"),
            target: Target::new(&host, port, key.tls),
            place: place.map(|place| Target::new(place.host(), place.port(), key.tls)),
            key,
            grpc: AtomicBool::new(false),
            state: Mutex::new(State::new(core.settings.max_connections_per_host)),
        }
    }

    /// A connection, or a place in the queue for one. `grpc`, which is looked at only if there is none: whether it is for a call of gRPC.
    pub(super) fn ask(self: &Arc<Self>, wish: Wish, grpc: impl FnOnce() -> bool) -> Result<Asked, Error> {
        let now = Instant::now();
        let most = self.core.settings.max_waiting;
        self.change(|state, chores| {
            if let Some(connection) = state.take(wish, &self.core, now, chores) {
                return Ok(Asked::Has(self.lease(connection)));
            }
            if wish != Wish::Any {
                state.make_room(state.waiting.len(), &self.core, chores);
            }
            let waiting = state.waiting.len() + 1;
            if state.places.without_a_place(waiting, state.speaks) > most {
                return Err(self.exhausted(state, None));
            }
            if grpc() {
                self.grpc.store(true, Ordering::Relaxed);
            }
            let (hand, handed) = oneshot::channel();
            let ticket = state.join(hand, wish);
            state.dial(&self.core, chores);
            Ok(Asked::Waits(Waiting::new(Arc::clone(self), ticket, handed)))
        })
    }

    pub(super) fn serves_grpc(&self) -> bool {
        self.grpc.load(Ordering::Relaxed)
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
        // It would have connected.
        let everywhere = state.starving && state.places.room() > 0;
        let exhausted = ConnectionsExhausted {
            host: Arc::clone(&self.name),
            everywhere,
            max: if everywhere { self.core.settings.max_connections } else { state.places.max() },
            open: if everywhere { self.core.taken() } else { state.places.open() },
            waiting: state.waiting.len(),
            elapsed: None,
        };
        exhausted.into_error(waited)
    }

    /// A dial has led to a connection.
    pub(super) fn opened(self: &Arc<Self>, connection: Connection) {
        let now = Instant::now();
        self.change(|state, chores| {
            state.opened(connection, &self.core, now, chores);
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
    pub(super) fn closed(self: &Arc<Self>, opened: bool) {
        self.change(|state, _| state.places.closed(opened));
        // Before another is begun here, for which there may be no other place.
        self.core.give_back();
        self.change(|state, chores| state.dial(&self.core, chores));
    }

    /// A connection takes more streams than before.
    pub(super) fn widened(self: &Arc<Self>) {
        let now = Instant::now();
        self.change(|state, chores| state.serve(now, &self.core, chores));
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
            state.end_stream(connection, dead, &self.core, now, chores);
            state.serve(now, &self.core, chores);
        });
    }

    /// Since when the connection has lain idle that has done so for longest.
    pub(super) fn oldest_idle(&self) -> Option<Instant> {
        self.state().oldest_idle()
    }

    pub(super) fn close_oldest_idle(self: &Arc<Self>) {
        self.change(State::close_oldest_idle);
    }

    /// Close what has been idle for long enough; when the next one will have been.
    pub(super) fn expire(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        self.change(|state, chores| state.expire(&self.core, now, chores))
    }

    /// The client is gone: what nobody uses is closed.
    pub(super) fn close(self: &Arc<Self>) {
        self.change(State::close);
    }

    pub(super) fn count(&self, stats: &mut ConnectionStats) {
        let state = self.state();
        stats.hosts += 1;
        stats.open += state.places.open();
        stats.dialing += state.places.dialing();
        stats.idle += state.idle();
        stats.waiting += state.waiting.len();
    }

    fn lease(self: &Arc<Self>, connection: Connection) -> Lease {
        Lease::new(Arc::clone(self), connection)
    }

    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Chores) -> R) -> R {
        let (result, chores) = self.settle(change);
        self.do_chores(chores);
        result
    }

    /// What is to be done is done without the lock, but for the queue of those that starve: it has to agree with what is known here.
    fn settle<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Chores) -> R) -> (R, Chores) {
        let mut chores = Chores::default();
        let mut state = self.state();
        let result = change(&mut state, &mut chores);
        if chores.starves {
            self.core.starve(self);
        }
        if state.stop_starving() {
            self.core.stop_starving(self);
        }
        (result, chores)
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
            self.core.make_room(self);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::DuplexStream;

    use super::*;
    use crate::base::{Observe, Rng};
    use crate::client::ClientSettings;
    use crate::connect::{Connector, connect_fn};

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_while_the_last_one_before_it_leaves_is_served_when_there_is_room() {
        let never = connect_fn(|_: Target| std::future::pending::<std::io::Result<DuplexStream>>());
        let connector = Connector::builder().transport(never).build().expect("a connector");
        let settings = ClientSettings::new().max_connections(1);
        let core = Arc::new(Core::new(settings, connector, Observe::default(), Rng::seeded(1)));
        assert!(core.take(), "a connection to somebody else");
        let host = core.host(&Request::get("http://a.test/").body(()).expect("a request"), None);
        let Ok(Asked::Waits(_left)) = host.ask(Wish::Any, || false) else { panic!("there is no room") };
        let (_, chores) = host.settle(|state, _| state.waiting.clear());
        let Ok(Asked::Waits(_waits)) = host.ask(Wish::Any, || false) else { panic!("there is no room") };
        host.do_chores(chores);
        assert_eq!(core.stats().dialing, 0);
        core.give_back();
        assert_eq!(core.stats().dialing, 1);
    }
}
