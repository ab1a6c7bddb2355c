use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::Request;
use tokio::time::Instant;

use super::host::Host;
use super::keeper::Keeper;
use super::key::Key;
use crate::base::deadline::countable;
use crate::base::{HostPort, Observe, Rng};
use crate::client::{ClientSettings, ConnectionStats};
use crate::connect::Connector;

/// What all hosts of a client share.
///
/// Of its locks, that of the hosts is taken before that of a host, and that before the count of all connections. None is held while
/// something is sent, spawned or dropped.
pub(super) struct Core {
    pub(super) settings: ClientSettings,
    pub(super) connector: Connector,
    pub(super) observe: Observe,
    pub(super) rng: Rng,
    pub(super) keeper: Keeper,
    /// Requests that came back unsent and went out again.
    pub(super) replayed: AtomicU64,
    /// The client is gone. What comes back is not kept.
    closed: AtomicBool,
    hosts: Mutex<Hosts>,
    total: Mutex<Total>,
    /// How many hosts are starving: also for those who do not want to take a lock to hear that none is.
    starving: AtomicUsize,
}

/// Every host that has a connection, or that somebody asks for one.
#[derive(Default)]
struct Hosts {
    by_key: HashMap<Key, Arc<Host>>,
    /// The one that was asked for last, which is rather the one that is asked for next.
    last: Weak<Host>,
    /// How many there may be before those that nobody uses are looked for.
    sweep_at: usize,
}

/// All connections there are, whichever host they are to.
#[derive(Default)]
struct Total {
    taken: usize,
    /// Hosts that would have connected, had there been room.
    starving: VecDeque<Weak<Host>>,
}

/// So few hosts are never swept.
const FEW: usize = 64;

impl Core {
    pub(super) fn new(
        mut settings: ClientSettings,
        connector: Connector,
        observe: Observe,
        rng: Rng,
    ) -> Self {
        // What is added to an instant.
        settings.idle_timeout = settings.idle_timeout.map(countable);
        settings.connection_lifetime = settings.connection_lifetime.map(countable);
        Self {
            settings,
            connector,
            observe,
            rng,
            keeper: Keeper::default(),
            replayed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            hosts: Mutex::default(),
            total: Mutex::default(),
            starving: AtomicUsize::new(0),
        }
    }

    /// `place`: where it is, if that is known.
    pub(super) fn host<B>(
        self: &Arc<Self>,
        request: &Request<B>,
        place: Option<&Arc<HostPort>>,
    ) -> Arc<Host> {
        let mut hosts = self.hosts();
        if let Some(host) = hosts.last.upgrade().filter(|host| host.key.is_written_in(request.uri(), place)) {
            return host;
        }
        let host = self.host_by(&mut hosts, Key::of(request, place));
        hosts.last = Arc::downgrade(&host);
        host
    }

    fn host_by(self: &Arc<Self>, hosts: &mut Hosts, key: Key) -> Arc<Host> {
        if let Some(host) = hosts.by_key.get(&key) {
            return Arc::clone(host);
        }
        if hosts.by_key.len() >= hosts.sweep_at {
            // Whoever has anything to do with a host holds it, and only here does anybody get hold of one.
            hosts.by_key.retain(|_, host| Arc::strong_count(host) > 1);
            hosts.sweep_at = FEW.max(hosts.by_key.len() * 2);
        }
        // What is kept does not share the memory of a request.
        let key = key.clone();
        let host = Arc::new(Host::new(self, key.clone()));
        hosts.by_key.insert(key, Arc::clone(&host));
        host
    }

    /// Take a place among all connections.
    pub(super) fn take(&self) -> bool {
        let mut total = self.total();
        let room = total.taken < self.settings.max_connections;
        if room {
            total.taken += 1;
        }
        room
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken() < self.settings.max_connections
    }

    /// How many connections there are, those that are being made included.
    pub(super) fn taken(&self) -> usize {
        self.total().taken
    }

    pub(super) fn give_back(&self) {
        self.total().taken -= 1;
        self.feed();
    }

    /// This host needs no room any more.
    pub(super) fn stop_starving(&self, host: &Arc<Host>) {
        let mut total = self.total();
        total.starving.retain(|other| other.as_ptr() != Arc::as_ptr(host));
        self.starving.store(total.starving.len(), Ordering::Relaxed);
    }

    /// This host found no room. It is asked again when there is some.
    pub(super) fn starve(&self, host: &Arc<Host>) {
        let mut total = self.total();
        total.starving.push_back(Arc::downgrade(host));
        self.starving.store(total.starving.len(), Ordering::Relaxed);
    }

    /// For this host, by closing a connection that lies idle elsewhere.
    pub(super) fn make_room(&self, host: &Arc<Host>) {
        let others: Vec<_> =
            self.hosts().by_key.values().filter(|other| !Arc::ptr_eq(other, host)).map(Arc::clone).collect();
        let oldest =
            others.iter().filter_map(|other| Some((other.oldest_idle()?, other))).min_by_key(|one| one.0);
        if let Some((_, other)) = oldest {
            other.close_oldest_idle();
        }
        self.feed();
    }

    /// Whether a host waits for a connection to be closed that lies idle elsewhere.
    pub(super) fn anybody_starves(&self) -> bool {
        self.starving.load(Ordering::Relaxed) > 0
    }

    fn feed(&self) {
        while let Some(host) = self.next_starving() {
            host.pursue();
        }
    }

    fn next_starving(&self) -> Option<Arc<Host>> {
        let mut total = self.total();
        while total.taken < self.settings.max_connections {
            let host = total.starving.pop_front()?;
            self.starving.store(total.starving.len(), Ordering::Relaxed);
            if let Some(host) = host.upgrade() {
                return Some(host);
            }
        }
        None
    }

    /// Close what has been idle for long enough by now; when the next one will have been.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let hosts: Vec<_> = self.hosts().by_key.values().map(Arc::clone).collect();
        hosts.iter().filter_map(|host| host.expire(now)).min()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Close what nobody uses, now and from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.keeper.stop();
        let hosts: Vec<_> = self.hosts().by_key.drain().map(|(_, host)| host).collect();
        for host in &hosts {
            host.close();
        }
    }

    pub(super) fn stats(&self) -> ConnectionStats {
        let hosts: Vec<_> = self.hosts().by_key.values().map(Arc::clone).collect();
        let mut stats =
            ConnectionStats { replayed: self.replayed.load(Ordering::Relaxed), ..Default::default() };
        for host in &hosts {
            host.count(&mut stats);
        }
        stats
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn total(&self) -> MutexGuard<'_, Total> {
        self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_nobody_has_to_do_with_are_forgotten_and_no_others() {
        let core = Core::new(ClientSettings::new(), Connector::new(), Observe::default(), Rng::seeded(1));
        let core = Arc::new(core);
        let host = |number: usize| {
            let uri = format!("http://h{number}.test/");
            core.host(&Request::get(uri).body(()).expect("a request"), None)
        };
        let used: Vec<_> = (0..100).map(host).collect();
        assert_eq!(core.stats().hosts, 100);
        for number in 0..10_000 {
            drop(host(number));
        }
        let hosts = core.stats().hosts;
        assert!((100..=200).contains(&hosts), "{hosts}");
        assert!(used.iter().enumerate().all(|(number, used)| Arc::ptr_eq(used, &host(number))));
        drop(used);
        for number in 0..1_000 {
            drop(host(number));
        }
        assert!(core.stats().hosts <= FEW, "{}", core.stats().hosts);
    }
}
