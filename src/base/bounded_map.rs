//! A map that forgets: bounded in entries and in how long an unused one is kept, without a task that sweeps it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::time::Duration;

use tokio::time::Instant;

/// Two generations: what is used is in the young one or moves there; when that is half of all there may be, or old enough,
/// it becomes the old one, and what nobody used since is forgotten at once. So an entry that is used at least once in
/// `idle`, and once in as many insertions as half of the map, is kept; one that is not used for twice `idle` is gone with
/// the next use of the map.
#[derive(Debug)]
pub(crate) struct BoundedMap<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
    idle: Duration,
    /// When the young generation began.
    since: Instant,
}

/// What was forgotten. It is dropped by the caller, who may hold a lock.
#[must_use = "to be dropped where no lock is held"]
#[derive(Debug)]
pub(crate) struct Forgotten<K, V>(HashMap<K, V>);

#[cfg(feature = "breaker")]
impl<K, V> Forgotten<K, V> {
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }
}

impl<K: Hash + Eq, V> BoundedMap<K, V> {
    /// At most `most` entries, and at least two.
    pub(crate) fn new(most: usize, idle: Duration, now: Instant) -> Self {
        let half = (most / 2).max(1);
        Self { young: HashMap::new(), old: HashMap::new(), half, idle, since: now }
    }

    /// A clone of the entry of `key`, which counts as used; made by `make` if there is none. When the map has to forget, those that
    /// `keep` says are kept, as long as they are not more than half of what it may hold.
    pub(crate) fn get_or_insert<Q>(
        &mut self,
        key: &Q,
        now: Instant,
        keep: impl Fn(&V) -> bool,
        make: impl FnOnce(&Q) -> (K, V),
    ) -> (V, Option<Forgotten<K, V>>)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        let mut forgotten = None;
        let age = now.saturating_duration_since(self.since);
        if age >= self.idle {
            forgotten = Some(self.turn(now, &keep));
        }
        if age >= self.idle.saturating_mul(2) {
            forgotten = self.turn_again(now, &keep, forgotten);
        }
        if let Some(value) = self.young.get(key) {
            return (value.clone(), forgotten);
        }
        let (key, value) = self.old.remove_entry(key).unwrap_or_else(|| make(key));
        if self.young.len() >= self.half {
            forgotten = self.turn_again(now, &keep, forgotten);
        }
        self.young.insert(key, value.clone());
        (value, forgotten)
    }

    /// The young become the old.
    fn turn(&mut self, now: Instant, keep: &impl Fn(&V) -> bool) -> Forgotten<K, V> {
        let old = mem::replace(&mut self.old, mem::take(&mut self.young));
        self.since = now;
        let (mut kept, mut gone) = (HashMap::new(), HashMap::new());
        for (key, value) in old {
            let stays = keep(&value) && kept.len() < self.half.saturating_sub(1);
            if stays { &mut kept } else { &mut gone }.insert(key, value);
        }
        self.young = kept;
        Forgotten(gone)
    }

    fn turn_again(
        &mut self,
        now: Instant,
        keep: &impl Fn(&V) -> bool,
        before: Option<Forgotten<K, V>>,
    ) -> Option<Forgotten<K, V>> {
        let mut forgotten = self.turn(now, keep);
        if let Some(Forgotten(before)) = before {
            forgotten.0.extend(before);
        }
        Some(forgotten)
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// All entries, in no order; none counts as used.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(&self.old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn used(map: &mut BoundedMap<u32, &'static str>, key: u32, now: Instant) -> bool {
        let mut made = false;
        let _ = map.get_or_insert(
            &key,
            now,
            |value| *value == "kept",
            |key| {
                made = true;
                (*key, if *key == 0 { "kept" } else { "value" })
            },
        );
        !made
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_it_may_and_keeps_what_is_used() {
        let now = Instant::now();
        let mut map = BoundedMap::new(100, IDLE, now);
        for key in 1..100_000 {
            used(&mut map, key, now);
            assert!(map.len() <= 100, "{}", map.len());
            // Once in every thirty.
            assert!(key % 30 != 0 || used(&mut map, 1, now), "{key}");
        }
        assert!(used(&mut map, 99_999, now));
        assert!(!used(&mut map, 2, now), "long forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_is_forgotten_after_twice_the_idle_time_and_what_is_used_is_not() {
        let start = Instant::now();
        let mut map = BoundedMap::new(100, IDLE, start);
        used(&mut map, 1, start);
        used(&mut map, 2, start);
        for minute in 1..10 {
            assert!(used(&mut map, 1, start + minute * IDLE), "used within the idle time");
        }
        assert_eq!(map.len(), 1);
        assert!(!used(&mut map, 2, start + 10 * IDLE));
        assert!(
            !used(&mut map, 2, start + 13 * IDLE),
            "forgotten at once, though nobody used the map meanwhile"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_to_be_kept_is_kept() {
        let now = Instant::now();
        let mut map = BoundedMap::new(10, IDLE, now);
        used(&mut map, 0, now);
        for key in 1..1_000 {
            used(&mut map, key, now);
            assert!(map.len() <= 10);
        }
        assert!(used(&mut map, 0, now));
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_it_may_also_where_all_has_to_be_kept() {
        let now = Instant::now();
        for most in [2, 3, 10, 11] {
            let mut map = BoundedMap::new(most, IDLE, now);
            for key in 0..1_000 {
                let _ = map.get_or_insert(&key, now, |()| true, |key| (*key, ()));
                assert!(map.len() <= most, "{} of {most}", map.len());
            }
        }
    }
}
