use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Breaker, BreakerSettings, InvalidBreaker};
use crate::base::sync::Mutex;
use crate::base::{BoundedMap, CircuitState, Forgotten, HostPort, Observe, Observer, Rng, scope};

/// How many circuits there may be, unless somebody says otherwise.
const MOST: usize = 1024;
/// After how long without use a circuit is forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// Into how many maps a large registry is divided, so that threads seldom meet.
const SHARDS: usize = 16;

/// A circuit for each key: for each host and port, unless told otherwise. A handle, shared by cloning.
///
/// A circuit is made, closed, when its key is first asked for. One that nobody uses is forgotten, and so are the least used
/// when there are too many; those that are in use, or were forced open or closed, are kept as long as they are not too many
/// themselves.
///
/// ```
/// use http::Request;
/// use stonework::base::CircuitState;
/// use stonework::base::HostPort;
/// use stonework::breaker::Breakers;
///
/// let breakers = Breakers::<HostPort>::default();
/// let sick = Request::get("https://sick.test/").body(()).unwrap();
/// breakers.get(&HostPort::of(&sick)).force_open();
///
/// let well = Request::get("https://well.test/").body(()).unwrap();
/// assert_eq!(breakers.get(&HostPort::of(&well)).state(), CircuitState::Closed);
/// assert_eq!(breakers.len(), 2);
/// ```
pub struct Breakers<K = HostPort> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    settings: BreakerSettings,
    most: usize,
    idle: Duration,
    observe: Observe,
    rng: Rng,
    /// So that nobody can tell which keys fall together.
    salt: u64,
    maps: Box<[Mutex<BoundedMap<K, Breaker>>]>,
}

impl<K: Hash + Eq> Default for Breakers<K> {
    /// With [`BreakerSettings::new`].
    fn default() -> Self {
        Self::with(BreakerSettings::new())
    }
}

impl<K: Hash + Eq> Breakers<K> {
    /// No circuit yet, and at most 1024; one that was not used for 10 minutes (to 20) is forgotten.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`], which names the setting, if a circuit could never open or never close.
    pub fn new(settings: BreakerSettings) -> Result<Self, InvalidBreaker> {
        settings.check()?;
        Ok(Self::with(settings))
    }

    /// The settings were checked, or are the defaults.
    pub(crate) fn with(settings: BreakerSettings) -> Self {
        Self::made(settings, MOST, IDLE, Observe::default(), Rng::default())
    }

    fn made(settings: BreakerSettings, most: usize, idle: Duration, observe: Observe, rng: Rng) -> Self {
        let now = Instant::now();
        // A map of a few entries would forget too soon what happens to fall into it.
        let maps = (most / (4 * SHARDS)).clamp(1, SHARDS);
        let maps = (0..maps).map(|_| Mutex::new(BoundedMap::new(most / maps, idle, now))).collect();
        let salt = rng.next_u64();
        Self { shared: Arc::new(Shared { settings, most, idle, observe, rng, salt, maps }) }
    }

    /// The same with at most so many circuits, and at least two. Like the three below it is said before the handle is shared: it
    /// begins with no circuit.
    #[must_use]
    pub fn most(self, circuits: usize) -> Self {
        let Shared { settings, idle, observe, rng, .. } = &*self.shared;
        Self::made(settings.clone(), circuits.max(2), *idle, observe.clone(), rng.clone())
    }

    /// The same, forgetting a circuit that was not used for so long, or for up to twice that. Shorter than the time between two
    /// calls, it forgets each before it has learnt anything: a second at least is taken.
    #[must_use]
    pub fn idle(self, time: Duration) -> Self {
        let Shared { settings, most, observe, rng, .. } = &*self.shared;
        Self::made(settings.clone(), *most, time.max(Duration::from_secs(1)), observe.clone(), rng.clone())
    }

    /// The same, telling this observer what happens to every circuit. Default: nobody.
    #[must_use]
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        let Shared { settings, most, idle, rng, .. } = &*self.shared;
        Self::made(settings.clone(), *most, *idle, Observe::by(observer), rng.clone())
    }

    /// The same, drawing jitter from here. Default: seeded by the operating system.
    #[must_use]
    pub fn rng(self, rng: Rng) -> Self {
        let Shared { settings, most, idle, observe, .. } = &*self.shared;
        Self::made(settings.clone(), *most, *idle, observe.clone(), rng)
    }

    /// How many circuits there are. This asks for every lock in turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.maps().map(|map| map.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn maps(&self) -> impl Iterator<Item = impl std::ops::Deref<Target = BoundedMap<K, Breaker>> + '_> {
        self.shared.maps.iter().map(|map| map.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Hash + Eq + Clone + fmt::Display> Breakers<K> {
    /// The circuit of this key, which names it. It is made if there is none.
    #[must_use]
    pub fn get(&self, key: &K) -> Breaker {
        let shared = &*self.shared;
        let mut hasher = DefaultHasher::new();
        (shared.salt, key).hash(&mut hasher);
        let map = hasher.finish() % shared.maps.len() as u64;
        let now = scope::now();
        // Used by somebody else than this map, who would not know that it was forgotten; or changed by hand.
        let keep = |breaker: &Breaker| !breaker.is_alone() || is_forced(breaker.state());
        let make = |key: &K| {
            let (observe, rng) = (shared.observe.clone(), shared.rng.clone());
            (key.clone(), Breaker::made(shared.settings.clone(), key.to_string().into(), observe, rng))
        };
        let (breaker, forgotten) = {
            let mut map = shared.maps[map as usize].lock().unwrap_or_else(PoisonError::into_inner);
            map.get_or_insert(key, now, keep, make)
        };
        // Many, perhaps, so not while others wait.
        for breaker in forgotten.iter().flat_map(Forgotten::values) {
            breaker.core().change(now, |gate, given| gate.circuit.forget(given));
        }
        drop(forgotten);
        breaker
    }

    /// Every key with the state of its circuit, in no order.
    #[must_use]
    pub fn states(&self) -> Vec<(K, CircuitState)> {
        let states = |map: &BoundedMap<K, Breaker>| {
            map.iter().map(|(key, breaker)| (key.clone(), breaker.state())).collect::<Vec<_>>()
        };
        self.maps().flat_map(|map| states(&map)).collect()
    }
}

const fn is_forced(state: CircuitState) -> bool {
    matches!(state, CircuitState::ForcedOpen | CircuitState::ForcedClosed)
}

impl<K> Clone for Breakers<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for Breakers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CircuitReason, Event, Outcome};

    #[tokio::test(start_paused = true)]
    async fn a_circuit_that_was_forced_is_not_forgotten_and_one_that_nobody_uses_is() {
        let second = Duration::from_secs(1);
        let circuits = Breakers::<u32>::default().most(32).idle(second);
        circuits.get(&1).force_open();
        let _ = circuits.get(&2);
        for _ in 0..5 {
            tokio::time::advance(second).await;
            let _ = circuits.get(&3);
        }
        let mut left = circuits.states();
        left.sort_unstable_by_key(|(key, _)| *key);
        assert_eq!(left, [(1, CircuitState::ForcedOpen), (3, CircuitState::Closed)]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_heard_that_one_is_open_hears_when_it_is_forgotten() {
        let told = crate::testing::Recorder::new();
        let second = Duration::from_secs(1);
        let circuits = Breakers::<u32>::default().most(32).idle(second).observer(told.clone());
        for _ in 0..200 {
            circuits.get(&1).try_acquire().into_iter().for_each(|permit| permit.settle(Outcome::Failure));
        }
        assert_eq!(circuits.get(&1).state(), CircuitState::Open);
        let _ = circuits.get(&2);
        for _ in 0..5 {
            tokio::time::advance(second).await;
            let _ = circuits.get(&3);
        }
        assert_eq!(circuits.states(), [(3, CircuitState::Closed)]);
        let changes: Vec<_> = told
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::CircuitChanged { circuit, to, why, .. } => Some((circuit.to_string(), *to, *why)),
                _ => None,
            })
            .collect();
        let (open, gone) = (changes.first().unwrap(), changes.last().unwrap());
        assert_eq!((changes.len(), &*open.0, open.1), (2, "1", CircuitState::Open), "{changes:?}");
        assert_eq!(gone, &("1".to_owned(), CircuitState::Closed, CircuitReason::Forgotten));
    }

    #[test]
    fn none_of_its_maps_has_few_entries_and_many_have_maps_of_their_own() {
        for (most, maps) in [(2, 1), (64, 1), (127, 1), (128, 2), (1_023, 15), (1_024, 16), (100_000, 16)] {
            assert_eq!(Breakers::<u32>::default().most(most).shared.maps.len(), maps, "{most}");
        }
    }

    #[test]
    fn there_are_none_at_first_and_never_more_than_said() {
        let circuits = Breakers::<u32>::default().most(128);
        assert!(circuits.is_empty());
        for key in 0..1_000 {
            let _ = circuits.get(&key);
            assert!(!circuits.is_empty() && circuits.len() <= 128, "{}", circuits.len());
        }
    }
}
