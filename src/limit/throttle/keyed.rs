use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{AdaptiveThrottle, InvalidThrottle, Sent, ThrottleSettings, Throttled};
use crate::base::{BoundedMap, HostPort, Rng, scope};

/// How many throttles there may be, unless somebody says otherwise.
const MOST: usize = 1024;
/// After how long without use one is forgotten: by then there is nothing in its window.
const IDLE: Duration = Duration::from_secs(600);
/// Into how many maps they are divided, so that threads seldom meet.
const SHARDS: usize = 16;

/// An [`AdaptiveThrottle`] for each key, for each host and port unless told otherwise: one service that is overloaded holds back nothing
/// that is for another. A handle, shared by cloning.
///
/// One that nobody uses is forgotten, and so are the least used when there are too many.
///
/// ```
/// use stonework::limit::KeyedAdaptiveThrottle;
///
/// let throttles = KeyedAdaptiveThrottle::<String>::default();
/// assert!(throttles.try_send(&"orders".to_owned()).is_ok());
/// println!("{}", throttles.get(&"orders".to_owned()).chance());
/// ```
pub struct KeyedAdaptiveThrottle<K = HostPort> {
    shared: Arc<Keys<K>>,
    /// The one that was used last: as a rule it is used next, and no lock has to be taken to find it.
    last: Option<(K, AdaptiveThrottle)>,
}

struct Keys<K> {
    settings: ThrottleSettings,
    most: usize,
    rng: Rng,
    /// So that nobody can tell which keys fall together.
    salt: u64,
    maps: Box<[Mutex<BoundedMap<K, AdaptiveThrottle>>]>,
}

impl<K: Hash + Eq> Default for KeyedAdaptiveThrottle<K> {
    /// With [`ThrottleSettings::new`].
    fn default() -> Self {
        Self::made(ThrottleSettings::new(), MOST, Rng::default())
    }
}

impl<K: Hash + Eq> KeyedAdaptiveThrottle<K> {
    /// No throttle yet, and at most 1024.
    ///
    /// # Errors
    ///
    /// [`InvalidThrottle`], which names the setting.
    pub fn new(settings: ThrottleSettings) -> Result<Self, InvalidThrottle> {
        settings.check()?;
        Ok(Self::made(settings, MOST, Rng::default()))
    }

    fn made(settings: ThrottleSettings, most: usize, rng: Rng) -> Self {
        let (now, idle) = (Instant::now(), IDLE.max(settings.window.saturating_mul(2)));
        // A map of a few entries would forget too soon what happens to fall into it.
        let maps = (most / (4 * SHARDS)).clamp(1, SHARDS);
        let maps = (0..maps).map(|_| Mutex::new(BoundedMap::new(most / maps, idle, now))).collect();
        let salt = rng.next_u64();
        Self { shared: Arc::new(Keys { settings, most, rng, salt, maps }), last: None }
    }

    /// The same for at most so many keys, and at least two. Like the one below it is said before the handle is shared: it begins with
    /// nothing counted.
    #[must_use]
    pub fn max_keys(self, keys: usize) -> Self {
        Self::made(self.shared.settings, keys.max(2), self.shared.rng.clone())
    }

    /// The same with chance from here. Default: seeded by the operating system.
    #[must_use]
    pub fn rng(self, rng: Rng) -> Self {
        Self::made(self.shared.settings, self.shared.most, rng)
    }

    /// What each of them has.
    pub fn settings(&self) -> ThrottleSettings {
        self.shared.settings
    }

    /// How many keys there are. This asks for every lock in turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.maps.iter().map(|map| lock(map).len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash + Eq + Clone> KeyedAdaptiveThrottle<K> {
    /// The throttle of this key. It is made if there is none.
    #[must_use]
    pub fn get(&self, key: &K) -> AdaptiveThrottle {
        let shared = &*self.shared;
        let mut hasher = DefaultHasher::new();
        (shared.salt, key).hash(&mut hasher);
        let map = hasher.finish() % shared.maps.len() as u64;
        let make = |key: &K| (key.clone(), AdaptiveThrottle::with(shared.settings, shared.rng.clone()));
        let (throttle, forgotten) = {
            let mut map = lock(&shared.maps[map as usize]);
            let in_use = |throttle: &AdaptiveThrottle| !throttle.is_alone();
            map.get_or_insert(key, scope::now(), in_use, make)
        };
        // Many, perhaps, so not while others wait.
        drop(forgotten);
        throttle
    }

    /// Ask whether to send a request that belongs to this key.
    ///
    /// # Errors
    ///
    /// [`Throttled`], if it is not to be sent.
    pub fn try_send(&self, key: &K) -> Result<Sent, Throttled> {
        self.get(key).try_send()
    }

    /// The same of the key that is used again and again.
    pub(super) fn try_send_again(&mut self, key: K) -> Result<Sent, Throttled> {
        match &self.last {
            Some((last, throttle)) if *last == key => throttle.try_send(),
            _ => {
                let throttle = self.get(&key);
                let sent = throttle.try_send();
                // A copy of its own: the key may be a part of the request.
                self.last = Some((key.clone(), throttle));
                sent
            }
        }
    }
}

fn lock<K>(map: &Mutex<BoundedMap<K, AdaptiveThrottle>>) -> MutexGuard<'_, BoundedMap<K, AdaptiveThrottle>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Clone for KeyedAdaptiveThrottle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), last: None }
    }
}

impl<K> fmt::Debug for KeyedAdaptiveThrottle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedAdaptiveThrottle")
            .field("settings", &self.shared.settings)
            .field("max_keys", &self.shared.most)
            .finish_non_exhaustive()
    }
}
