//! Tokens that were found to be good, by their hash or fingerprint, for a while.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::deadline::countable;

/// In parts, so that two threads seldom want the same. A token is told from others by `N` bytes, of which there are eight at least.
#[derive(Debug)]
pub(super) struct Cache<V, const N: usize> {
    parts: Box<[Mutex<Part<V, N>>]>,
}

/// As many as keep threads out of each other's way.
const PARTS: usize = 16;

impl<V: Clone, const N: usize> Cache<V, N> {
    /// At most `most` entries, and at least two; each for `ttl`.
    pub(super) fn new(most: usize, ttl: Duration, now: Instant) -> Self {
        let parts = if most < 2 * PARTS { 1 } else { PARTS };
        Self { parts: (0..parts).map(|_| Mutex::new(Part::new(most / parts, ttl, now))).collect() }
    }

    pub(super) fn get(&self, hash: &[u8; N], now: Instant) -> Option<V> {
        self.with(hash, |part| part.get(hash, now))
    }

    pub(super) fn insert(&self, hash: [u8; N], value: V, now: Instant) {
        // What is forgotten is dropped where no lock is held.
        drop(self.with(&hash, |part| part.insert(hash, value, now)));
    }

    pub(super) fn remove(&self, hash: &[u8; N]) {
        drop(self.with(hash, |part| part.remove(hash)));
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn with<R>(&self, hash: &[u8; N], use_it: impl FnOnce(&mut Part<V, N>) -> R) -> R {
        // Other bits than those that a map goes by.
        let part = &self.parts[usize::from(hash[N - 1]) % self.parts.len()];
        use_it(&mut part.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Map<V, const N: usize> = HashMap<[u8; N], (Instant, V), BuildHasherDefault<First>>;

/// Two generations: what is used moves into the young one. When that is half of all there may be, or as old as anything may
/// become, it is the old one, and the old one is forgotten.
#[derive(Debug)]
struct Part<V, const N: usize> {
    young: Map<V, N>,
    old: Map<V, N>,
    half: usize,
    ttl: Duration,
    since: Instant,
}

impl<V: Clone, const N: usize> Part<V, N> {
    fn new(most: usize, ttl: Duration, now: Instant) -> Self {
        Self { young: Map::default(), old: Map::default(), half: (most / 2).max(1), ttl, since: now }
    }

    fn get(&mut self, hash: &[u8; N], now: Instant) -> Option<V> {
        if let Some((until, value)) = self.young.get(hash) {
            return (now < *until).then(|| value.clone());
        }
        let (until, value) = self.old.remove(hash)?;
        if now >= until {
            return None;
        }
        // It stays where it is if that would push others out: they are no older.
        let map = if self.young.len() < self.half { &mut self.young } else { &mut self.old };
        map.insert(*hash, (until, value.clone()));
        Some(value)
    }

    /// What had to make room.
    fn insert(&mut self, hash: [u8; N], value: V, now: Instant) -> Map<V, N> {
        let mut gone = Map::default();
        if self.young.len() >= self.half || now.saturating_duration_since(self.since) >= self.ttl {
            gone = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.since = now;
        }
        self.old.remove(&hash);
        self.young.insert(hash, (now + countable(self.ttl), value));
        gone
    }

    fn remove(&mut self, hash: &[u8; N]) -> Option<(Instant, V)> {
        self.young.remove(hash).or_else(|| self.old.remove(hash))
    }
}

impl<V, const N: usize> Part<V, N> {
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// A hash of a hash would be no better. Only tokens that an issuer signed get in, so nobody can choose where they stand.
#[derive(Default)]
struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn hash(number: u32) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        hash[31] = number as u8;
        hash
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_it_may() {
        let now = Instant::now();
        for most in [2, 31, 32, 1_000] {
            let cache = Cache::new(most, TTL, now);
            for number in 0..20_000 {
                cache.insert(hash(number), number, now);
                assert!(number % 1_000 != 0 || cache.len() <= most, "{most}: {}", cache.len());
                assert_eq!(cache.get(&hash(number), now), Some(number));
            }
            assert!(cache.len() <= most && cache.len() >= most / 4, "{most}: {}", cache.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_lives_for_its_time_and_no_longer_however_often_it_is_used() {
        let start = Instant::now();
        let cache = Cache::new(100, TTL, start);
        cache.insert(hash(1), 1, start);
        for second in 0..60 {
            assert_eq!(cache.get(&hash(1), start + Duration::from_secs(second)), Some(1));
        }
        assert_eq!(cache.get(&hash(1), start + TTL), None);
        // What nobody asks for goes when others come.
        cache.insert(hash(17), 2, start + TTL);
        cache.insert(hash(33), 3, start + 2 * TTL);
        assert_eq!(cache.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_pushes_no_other_out() {
        let now = Instant::now();
        let mut part = Part::new(4, TTL, now);
        for number in 1..=3 {
            part.insert(hash(number), number, now);
        }
        assert_eq!((part.young.len(), part.old.len()), (1, 2));
        for (number, young) in [(1, 2), (2, 2), (3, 2)] {
            assert_eq!((part.get(&hash(number), now), part.young.len()), (Some(number), young));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_stays_while_others_come_and_what_is_removed_is_gone() {
        let now = Instant::now();
        let cache = Cache::new(20, TTL, now);
        cache.insert(hash(0), 0, now);
        for number in 1..1_000 {
            cache.insert(hash(number), number, now);
            assert!(number % 5 != 0 || cache.get(&hash(0), now).is_some(), "{number}");
        }
        cache.remove(&hash(0));
        assert_eq!(cache.get(&hash(0), now), None);
        let endless = Cache::new(20, Duration::MAX, now);
        endless.insert(hash(1), 1, now);
        assert_eq!((endless.len(), endless.get(&hash(1), now + TTL)), (1, Some(1)));
    }
}
