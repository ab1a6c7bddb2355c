use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tokio::time::Instant;

use super::core::Core;
use super::{ConcurrencyLimiter, ConcurrencySettings, InvalidConcurrency, Permit};
use crate::base::{Rng, scope};
use crate::limit::table::{Cell, Table};

/// A limit on how much is in flight at once for each key: a client, a tenant, a host. Its clones share the limits.
///
/// **Guarantee.** For no key are more [permits](Permit) out than the limit. What is kept of a key goes when nothing of it is in
/// flight any more; so the memory is bounded by what is in flight at once, over all keys. What an adaptive limit has learned of one, from
/// 30 calls at least, stays for a minute longer.
///
/// ```
/// use stonework::limit::KeyedConcurrencyLimiter;
///
/// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
/// let limiter = KeyedConcurrencyLimiter::new(1)?;
/// let ann = limiter.try_acquire(&"ann");
/// assert!(ann.is_some() && limiter.try_acquire(&"ann").is_none());
/// assert!(limiter.try_acquire(&"bob").is_some());
/// # Ok(()) }
/// ```
pub struct KeyedConcurrencyLimiter<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    settings: ConcurrencySettings,
    /// For all of them.
    rng: Rng,
    table: Table<K, Arc<Core>>,
}

/// Whoever holds a permit, waits for one, or is about to ask for one, holds it too.
impl Cell for Arc<Core> {
    /// The time, where that matters.
    type Given = Option<Instant>;

    fn is_idle(&self, now: &Option<Instant>) -> bool {
        Self::strong_count(self) == 1 && !now.is_some_and(|now| self.remembers(now))
    }
}

impl<K: Hash + Eq + Clone> KeyedConcurrencyLimiter<K> {
    /// So many at once for each key.
    ///
    /// # Errors
    ///
    /// [`InvalidConcurrency`], if it is zero.
    pub fn new(settings: impl Into<ConcurrencySettings>) -> Result<Self, InvalidConcurrency> {
        let settings = settings.into();
        settings.check()?;
        let shared = Shared { settings, rng: Rng::from_entropy(), table: Table::new(usize::MAX) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A permit, if there is one for this key and nobody waits for it.
    pub fn try_acquire(&self, key: &K) -> Option<Permit> {
        self.get(key).try_acquire()
    }

    /// The limit of this key. As long as this or a clone of it is kept, so is what is known of the key.
    #[must_use]
    pub fn get(&self, key: &K) -> ConcurrencyLimiter {
        let Shared { settings, rng, table } = &*self.shared;
        let make = || Arc::new(Core::new(settings, rng.clone()));
        let now = settings.is_adaptive().then(scope::now);
        let core = table.with(key, now, make, |core, _| Arc::clone(core));
        ConcurrencyLimiter::of(core.expect("there is always a place"))
    }

    /// The settings of each limit.
    #[must_use]
    pub fn settings(&self) -> ConcurrencySettings {
        self.shared.settings
    }

    /// How many keys are known: those of which something is in flight, or was learned lately, and a few more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.table.len()
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of which something is in flight, and how much. In no order; it takes as long as there are keys.
    #[must_use]
    pub fn in_flight(&self) -> Vec<(K, usize)> {
        let mut all = Vec::new();
        self.shared.table.retain(|key, core| {
            let in_flight = core.state().in_flight();
            if in_flight > 0 {
                all.push((key.clone(), in_flight));
            }
            true
        });
        all
    }
}

impl<K> Clone for KeyedConcurrencyLimiter<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedConcurrencyLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimiter")
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}
