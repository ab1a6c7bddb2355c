use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::{QuotaStore, Refill, Taken, decide};
use crate::base::BoxError;

/// How many keys there may be, unless it is said otherwise.
const MOST: usize = 65_536;
/// It is not looked for what can be forgotten among fewer than this.
const FEW: usize = 64;
/// How often it is looked at least, and at most while there are as many as there may be.
const SELDOM: u64 = 60_000_000_000;
const OFTEN: u64 = 1_000_000_000;

/// Quotas in the memory of this process, by tokio's clock.
///
/// It forgets what is full again, since that is as good as new. Of keys that are not it holds at most 65 536, unless
/// [`with_most`](Self::with_most) says otherwise: those that come when there are as many **share one more**, so a flood of keys is
/// limited as if it were a single one. Who had to share takes along what all of them have spent when there is a place again.
///
/// ```
/// use stonework::limit::{MemoryStore, Quota, SharedRateLimiter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = SharedRateLimiter::new(MemoryStore::new(), [Quota::per_second(5), Quota::per_minute(60)])?;
/// assert_eq!(limiter.take("alice", 1).await?.tightest().unwrap().left(), 4);
/// # Ok(()) }
/// ```
///
/// *Not for:* several machines; and where there is one process, [`RateLimiter`](crate::limit::RateLimiter) takes no lock.
/// *Cancellation:* it answers at once.
pub struct MemoryStore {
    created: Instant,
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: HashMap<Box<str>, Cells>,
    /// What all share for which there was no place.
    shared: Cells,
    /// When it was last looked for what can be forgotten, and from how many keys on it is looked again.
    looked: u64,
    look_at: usize,
}

type Cells = Vec<(Refill, u64)>;

impl MemoryStore {
    /// With nothing taken.
    #[must_use]
    pub fn new() -> Self {
        Self::with_most(MOST)
    }

    /// With so many keys at most of which something is taken.
    ///
    /// ```
    /// use stonework::limit::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// assert_eq!(MemoryStore::with_most(1_000).keys(), 0);
    /// # }
    /// ```
    #[must_use]
    pub fn with_most(keys: usize) -> Self {
        Self { created: Instant::now(), most: keys, held: Mutex::default() }
    }

    /// How many keys it holds at this moment, some of which may be full again.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).keys.len()
    }

    pub(super) fn take_now(&self, key: &str, quotas: &[Refill], cost: u32) -> Taken {
        let now = Instant::now().saturating_duration_since(self.created).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take(key, quotas, now, cost, self.most)
    }
}

impl Held {
    fn take(&mut self, key: &str, quotas: &[Refill], now: u64, cost: u32, most: usize) -> Taken {
        self.forget(now, most);
        if let Some(cells) = self.keys.get_mut(key) {
            return take(cells, quotas, now, cost);
        }
        if self.keys.len() >= most {
            return take(&mut self.shared, quotas, now, cost);
        }
        // It may have been among those that had to share, so it has spent what they have.
        let mut cells = self.shared.clone();
        let taken = take(&mut cells, quotas, now, cost);
        if cells.iter().any(|(_, cell)| *cell > now) {
            self.keys.insert(key.into(), cells);
        }
        taken
    }

    /// What is full again, if it is time to look.
    fn forget(&mut self, now: u64, most: usize) {
        let since = now.saturating_sub(self.looked);
        let full = self.keys.len() >= most;
        let many = self.keys.len() >= self.look_at.max(FEW) && !full;
        if since < SELDOM && !many && !(full && since >= OFTEN) {
            return;
        }
        self.looked = now;
        self.keys.retain(|_, cells| forget(cells, now));
        forget(&mut self.shared, now);
        self.look_at = self.keys.len().saturating_mul(2);
        self.keys.shrink_to(self.look_at);
    }
}

/// Whether something is left.
fn forget(cells: &mut Cells, now: u64) -> bool {
    cells.retain(|(_, cell)| *cell > now);
    !cells.is_empty()
}

fn take(held: &mut Cells, quotas: &[Refill], now: u64, cost: u32) -> Taken {
    let find = |held: &Cells, quota: &Refill| held.iter().position(|(other, _)| other == quota);
    let cell = |quota| find(held, quota).map_or(0, |place| held[place].1);
    let mut cells: Vec<u64> = quotas.iter().map(cell).collect();
    let taken = decide::take(quotas, &mut cells, now, cost);
    for (quota, cell) in quotas.iter().zip(cells) {
        match find(held, quota) {
            Some(place) => held[place].1 = cell,
            None if cell > now => held.push((*quota, cell)),
            None => {}
        }
    }
    taken
}

impl QuotaStore for MemoryStore {
    async fn take(&self, key: &str, quotas: &[Refill], cost: u32) -> Result<Taken, BoxError> {
        Ok(self.take_now(key, quotas, cost))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("keys", &self.keys()).field("most", &self.most).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Quota;

    const MS: u64 = 1_000_000;

    /// Of one a second.
    fn refill() -> Refill {
        Refill::of(&Quota::per_second(1)).unwrap()
    }

    /// With so many keys of which something is spent for ever.
    fn held(keys: usize) -> Held {
        let cells = || vec![(refill(), u64::MAX)];
        Held { keys: (0..keys).map(|key| (key.to_string().into(), cells())).collect(), ..Held::default() }
    }

    #[test]
    fn it_looks_for_what_can_be_forgotten_now_and_then_and_where_keys_have_become_many() {
        for (keys, look_at, most, after, looks) in [
            // Now and then.
            (10, 0, 1_000, 60_000 * MS - 1, false),
            (10, 0, 1_000, 60_000 * MS, true),
            (10, 0, 1_000, 60_000 * MS + 1, true),
            // Twice as many as were left, but not for a few.
            (63, 0, 1_000, 1, false),
            (64, 0, 1_000, 1, true),
            (199, 200, 1_000, 2_000 * MS, false),
            (200, 200, 1_000, 1, true),
            // No more fit: it is of use, but not at each call.
            (100, 0, 100, 1_000 * MS - 1, false),
            (100, 0, 100, 1_000 * MS, true),
            (10, 0, 11, 2_000 * MS, false),
        ] {
            let mut held = Held { look_at, ..held(keys) };
            held.forget(after, most);
            assert_eq!(held.looked == after, looks, "{keys} of {most} keys after {after}");
        }
    }

    #[test]
    fn of_who_has_taken_nothing_nothing_is_kept() {
        let mut cells = Cells::new();
        for now in [0, MS] {
            assert!(matches!(take(&mut cells, &[refill()], now, 0), Taken::All(_)));
            assert!(cells.is_empty());
        }
        // Nor of who might have had to share what has just become full again.
        let mut held = Held { shared: vec![(refill(), MS)], ..Held::default() };
        assert!(matches!(held.take("a", &[refill()], MS, 0, 9), Taken::All(_)));
        assert!(held.keys.is_empty());
    }
}
