use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::Instant;

use super::announced::{self, Said, is_said};
use super::ledger::{Heard, Ledger, NotYet};
use crate::base::{BoundedMap, HostPort, RetryAfter, Rng, WallClock};

/// How many servers are remembered, unless somebody says otherwise.
const MOST: usize = 1024;
/// After how long without use one is forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// Into how many maps they are divided, so that threads seldom meet.
const SHARDS: usize = 16;
/// For how long a server is believed at a time, unless somebody says otherwise.
const LONGEST: Duration = Duration::from_secs(60);

/// What servers have said of their limits, for each host and port unless told otherwise. A handle, shared by cloning; see
/// [`ServerQuotaLayer`](super::ServerQuotaLayer).
///
/// Of each server at most eight limits are remembered, and at most 1024 servers; one that nobody calls for ten minutes (to twenty) is
/// forgotten.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{ServerQuotaLayer, ServerQuotas};
///
/// let quotas = ServerQuotas::new().longest(Duration::from_secs(300));
/// let layer = ServerQuotaLayer::from(quotas.clone());
/// println!("{} servers have been called", quotas.len());
/// # let _ = layer;
/// ```
pub struct ServerQuotas<K = HostPort> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    most: usize,
    longest: Duration,
    wall: WallClock,
    /// So that nobody can tell which keys fall together.
    salt: u64,
    /// Whether any server has ever said anything.
    any: AtomicBool,
    maps: Box<[Map<K>]>,
}

type Map<K> = Mutex<BoundedMap<K, Arc<Server<K>>>>;

/// What is known of one server.
pub(super) struct Server<K> {
    pub(super) key: K,
    /// Requests so far.
    sent: AtomicU64,
    /// Something is known from `Retry-After` alone, so that each answer says something.
    unnamed: AtomicBool,
    ledger: Mutex<Ledger>,
}

impl<K: Hash + Eq> ServerQuotas<K> {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::made(MOST, LONGEST, WallClock::default())
    }

    fn made(most: usize, longest: Duration, wall: WallClock) -> Self {
        let now = Instant::now();
        // A map of a few entries would forget too soon what happens to fall into it.
        let maps = (most / (4 * SHARDS)).clamp(1, SHARDS);
        let idle = IDLE.max(longest);
        let maps = (0..maps).map(|_| Mutex::new(BoundedMap::new(most / maps, idle, now))).collect();
        let (salt, any) = (Rng::default().next_u64(), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { most, longest, wall, salt, any, maps }) }
    }

    /// The same with at most so many servers, and at least two. Like those below it is said before the handle is shared: it begins
    /// with nothing known.
    #[must_use]
    pub fn max_keys(self, servers: usize) -> Self {
        Self::made(servers.max(2), self.shared.longest, self.shared.wall.clone())
    }

    /// For how long a server is believed at a time that it will take nothing, up to a day: after this time, one request finds out
    /// whether it still means it. Default: 1 min.
    #[must_use]
    pub fn longest(self, time: Duration) -> Self {
        let time = time.clamp(Duration::from_secs(1), Duration::from_secs(86_400));
        Self::made(self.shared.most, time, self.shared.wall.clone())
    }

    /// The calendar that dates in `Retry-After` are read by. Default: the system's.
    #[must_use]
    pub fn wall_clock(self, wall: WallClock) -> Self {
        Self::made(self.shared.most, self.shared.longest, wall)
    }

    /// How many servers are remembered. This asks for every lock in turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.maps.iter().map(|map| lock(map).len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no server has ever said anything.
    pub(super) fn is_silent(&self) -> bool {
        !self.shared.any.load(Relaxed)
    }
}

impl<K: Hash + Eq + Clone> ServerQuotas<K> {
    pub(super) fn server(&self, key: K, now: Instant) -> Arc<Server<K>> {
        let shared = &*self.shared;
        let mut hasher = DefaultHasher::new();
        (shared.salt, &key).hash(&mut hasher);
        let map = hasher.finish() % shared.maps.len() as u64;
        // A copy of its own: the key may be a part of the request.
        let make = |key: &K| {
            let ledger = Mutex::new(Ledger::default());
            (
                key.clone(),
                Arc::new(Server {
                    key: key.clone(),
                    sent: AtomicU64::new(0),
                    unnamed: AtomicBool::new(false),
                    ledger,
                }),
            )
        };
        let (server, forgotten) = {
            let mut map = lock(&shared.maps[map as usize]);
            let in_use = |server: &Arc<Server<K>>| Arc::strong_count(server) > 1;
            map.get_or_insert(&key, now, in_use, make)
        };
        // Many, perhaps, so not while others wait.
        drop(forgotten);
        server
    }

    /// Ask for one that can wait until `latest`.
    pub(super) fn admit(&self, server: &Server<K>, now: Instant, latest: Instant) -> Result<(), NotYet> {
        server.ledger().admit(now, latest, self.shared.longest)
    }

    /// Hear what an answer says of limits, to the request of this number. Most say nothing.
    #[inline]
    pub(super) fn hear<B>(&self, server: &Server<K>, number: u64, response: &Response<B>) {
        let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
        if refused || is_said(response.headers()) || server.unnamed.load(Relaxed) {
            self.hear_of(server, number, response);
        }
    }

    #[cold]
    fn hear_of<B>(&self, server: &Server<K>, number: u64, response: &Response<B>) {
        let shared = &*self.shared;
        let refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
        let refused_for = if refused { RetryAfter::of(response.headers(), shared.wall.now()) } else { None };
        let Said { limits, policies } = announced::read(response.headers());
        let last = server.sent.load(Relaxed);
        let accepted = !refused && response.status() != StatusCode::SERVICE_UNAVAILABLE;
        let heard = Heard { limits: &limits, policies: &policies, refused_for, accepted, number, last };
        let mut ledger = server.ledger();
        ledger.hear(Instant::now(), &heard, shared.longest);
        server.unnamed.store(ledger.has_unnamed(), Relaxed);
        if !ledger.is_empty() {
            shared.any.store(true, Relaxed);
        }
    }
}

impl<K> Server<K> {
    /// One more is sent: its number.
    pub(super) fn sent(&self) -> u64 {
        self.sent.fetch_add(1, Relaxed) + 1
    }

    /// Who waited for its turn at this instant does so no longer.
    pub(super) fn gives_up(&self, turn: Instant) {
        self.ledger().leave(turn);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<K>(map: &Map<K>) -> MutexGuard<'_, BoundedMap<K, Arc<Server<K>>>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing is known yet.
impl<K: Hash + Eq> Default for ServerQuotas<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> Clone for ServerQuotas<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for ServerQuotas<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerQuotas")
            .field("longest", &self.shared.longest)
            .field("max_keys", &self.shared.most)
            .finish_non_exhaustive()
    }
}
