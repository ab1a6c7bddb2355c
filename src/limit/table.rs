//! A map that many threads use at once and that forgets what is as good as nothing.

use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::base::UnforeseenHash;
use crate::base::sync::Padded;

/// Below this many entries nobody looks for what can be forgotten.
const FEW: usize = 32;
/// A part of the map has at least room for so many, so that keys which fall into one part do not fill it by chance.
const ROOM: usize = 256;
const MOST_SHARDS: usize = 16;
/// What one that found no place pays for the next look, where one that did pays 1: a full map looks again when a few percent of what
/// it holds were turned away, or an eighth is new.
const TURNED_AWAY: usize = 4;

/// Entries by key, in parts that each have a lock. An entry that [is idle](Cell::is_idle) is as good as none: it is forgotten when
/// its part of the map has grown to twice of what it was when it last looked, or has turned many away. So whoever inserts pays for
/// it, a little each, and there is no task that sweeps.
pub(super) struct Table<K, V: Cell> {
    hasher: UnforeseenHash,
    shards: Box<[Part<K, V>]>,
}

type Part<K, V> = Padded<Mutex<Shard<K, V>>>;

/// A part of a [`Table`].
pub(super) struct Shard<K, V: Cell> {
    entries: HashTable<(K, V)>,
    most: usize,
    /// What those who came since it last looked have paid for the next time.
    paid: usize,
    /// What was forgotten was idle then. Whoever comes with an earlier time comes too late.
    swept: V::Given,
}

/// What a [`Table`] holds.
pub(super) trait Cell {
    /// What it takes to tell: the time, say. Who is idle stays so, until somebody uses it.
    type Given: Copy + Default + Ord;

    /// Whether it is the same as one that was just made.
    fn is_idle(&self, given: &Self::Given) -> bool;
}

impl<K: Hash + Eq + Clone, V: Cell> Table<K, V> {
    /// At most so many entries.
    pub(super) fn new(most: usize) -> Self {
        let shards = (most / ROOM).clamp(1, MOST_SHARDS).next_power_of_two().min(MOST_SHARDS);
        // Those of the first parts are one more, so that together they are as many.
        let share = |at: usize| most / shards + usize::from(at < most % shards);
        let shard =
            |at| Shard { entries: HashTable::new(), most: share(at), paid: 0, swept: V::Given::default() };
        Self {
            hasher: UnforeseenHash::new(),
            shards: (0..shards).map(|at| Padded(Mutex::new(shard(at)))).collect(),
        }
    }

    /// The entry of `key`, while nobody else can touch it, and the time that counts; made by `make` if there is none. Nothing, if
    /// there is no place for it.
    #[inline]
    pub(super) fn with<R>(
        &self,
        key: &K,
        given: V::Given,
        make: impl FnOnce() -> V,
        work: impl FnOnce(&mut V, V::Given) -> R,
    ) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        // The map itself uses the low bits, and the highest seven.
        let at = (hash >> 32) as usize & (self.shards.len() - 1);
        let mut shard = lock(&self.shards[at].0);
        let given = given.max(shard.swept);
        let shard = &mut *shard;
        if let Some((_, value)) = shard.entries.find_mut(hash, |(other, _)| other == key) {
            return Some(work(value, given));
        }
        self.insert(shard, hash, key, given, make).map(|value| work(value, given))
    }

    /// The entry of `key`, if there is one.
    pub(super) fn look<R>(
        &self,
        key: &K,
        given: V::Given,
        work: impl FnOnce(&V, V::Given) -> R,
    ) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        let at = (hash >> 32) as usize & (self.shards.len() - 1);
        let shard = lock(&self.shards[at].0);
        let given = given.max(shard.swept);
        shard.entries.find(hash, |(other, _)| other == key).map(|(_, value)| work(value, given))
    }

    #[cold]
    fn insert<'a>(
        &self,
        shard: &'a mut Shard<K, V>,
        hash: u64,
        key: &K,
        given: V::Given,
        make: impl FnOnce() -> V,
    ) -> Option<&'a mut V> {
        shard.make_room(given);
        if shard.entries.len() >= shard.most {
            shard.paid = shard.paid.saturating_add(TURNED_AWAY);
            return None;
        }
        shard.paid += 1;
        let rehash = |(key, _): &(K, V)| self.hasher.hash_one(key);
        match shard.entries.entry(hash, |(other, _)| other == key, rehash) {
            Entry::Occupied(entry) => Some(&mut entry.into_mut().1),
            Entry::Vacant(place) => Some(&mut place.insert((key.clone(), make())).into_mut().1),
        }
    }

    /// Do something with every entry, part by part. Those for which it answers `false` are forgotten.
    pub(super) fn retain(&self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for shard in &self.shards {
            lock(&shard.0).entries.retain(|(key, value)| keep(key, value));
        }
    }

    /// How many entries there are, idle ones included.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(&shard.0).entries.len()).sum()
    }
}

fn lock<K, V: Cell>(shard: &Mutex<Shard<K, V>>) -> MutexGuard<'_, Shard<K, V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, V: Cell> Shard<K, V> {
    /// Forget what is idle, if it is worth a look: that takes as long as there are entries, so it has to be paid for.
    fn make_room(&mut self, given: V::Given) {
        let entries = self.entries.len();
        let due =
            if entries >= self.most { 8 * self.paid >= entries } else { 2 * self.paid >= entries.max(FEW) };
        if due {
            self.entries.retain(|(_, value)| !value.is_idle(&given));
            self.paid = 0;
            self.swept = given;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle from this time on.
    struct Until(u64);

    impl Cell for Until {
        type Given = u64;

        fn is_idle(&self, now: &u64) -> bool {
            self.0 <= *now
        }
    }

    fn put(table: &Table<u64, Until>, key: u64, now: u64, until: u64) -> bool {
        table.with(&key, now, || Until(0), |value, _| value.0 = until).is_some()
    }

    #[test]
    fn what_is_in_use_is_never_forgotten_and_what_is_idle_makes_room() {
        let table = Table::new(1_000);
        for key in 0..1_000 {
            assert!(table.len() < 1_000 && (put(&table, key, 0, 10) || key > 700), "{key}");
        }
        let full = table.len();
        assert!(full > 700, "the parts fill evenly, but for chance: {full}");
        for key in 1_000..5_000 {
            put(&table, key, 5, 10);
            assert!(table.len() <= 1_000);
        }
        for key in 0..full as u64 / 2 {
            assert!(table.with(&key, 5, || Until(99), |value, _| value.0) != Some(99), "{key} was there");
        }
        // Now all is idle, and a few are turned away before that is noticed.
        let turned_away = (5_000..5_500).filter(|key| !put(&table, *key, 10, 20)).count();
        assert!(turned_away <= 1_000 / 8 / TURNED_AWAY + 4, "{turned_away}");
        assert!(table.len() <= 520, "the idle are gone: {}", table.len());
    }

    #[test]
    fn whoever_comes_pays_for_few_looks_at_what_is_in_use() {
        thread_local! {
            static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
        }
        struct Used;

        impl Cell for Used {
            type Given = ();

            fn is_idle(&self, (): &()) -> bool {
                LOOKS.set(LOOKS.get() + 1);
                false
            }
        }

        let table = Table::new(usize::MAX);
        for key in 0..10_000_u64 {
            assert!(table.with(&key, (), || Used, |_, ()| ()).is_some());
        }
        assert!(LOOKS.get() > 0 && LOOKS.get() <= 3 * 10_000, "{}", LOOKS.get());
    }

    #[test]
    fn it_stays_as_small_as_what_is_in_use() {
        let table = Table::new(usize::MAX);
        for key in 0..100_000 {
            assert!(put(&table, key, key, key + 10));
            assert!(table.len() <= MOST_SHARDS * 2 * (FEW + 10), "{}", table.len());
        }
    }

    #[test]
    fn who_comes_with_an_earlier_time_than_what_was_forgotten_comes_at_that_time() {
        let table = Table::new(usize::MAX);
        for key in 0..1_000 {
            put(&table, key, 100, 100);
        }
        let times = (0..1_000).map(|key| table.with(&key, 50, || Until(0), |_, now| now).unwrap());
        assert_eq!(times.min(), Some(100));
    }

    #[test]
    fn a_map_of_one_holds_one() {
        let table = Table::new(1);
        assert!(put(&table, 1, 0, 10) && !put(&table, 2, 0, 10) && put(&table, 1, 0, 10));
    }
}
