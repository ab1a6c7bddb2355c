use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::{Begun, Change, Claim, Entry, Final, Held, NewClaim, Scope, State, Store};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{BoxError, Waiters};

/// How many keys there may be, and how many bytes their answers may have in all, unless it is said otherwise.
const MOST: usize = 65_536;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// Keys in the memory of this process, by tokio's clock. Cloning it is sharing it.
///
/// It never forgets before its time, so what it holds is limited by refusing: with as many keys as there may be, a new one is an error,
/// [`StoreFull`]; an answer for which there is no room any more is kept as one that is [too large](Final::TooLarge). Those who wait for a
/// key are woken as soon as it has ended.
///
/// ```
/// use stonework::idempotency::MemoryStore;
///
/// let store = MemoryStore::new().keys(10_000).bytes(16 * 1024 * 1024);
/// assert!(store.is_empty());
/// ```
///
/// *Not for:* several machines, and what must not be done twice when the process is restarted: it has forgotten everything then.
/// *Cancellation:* it answers at once.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    most: usize,
    most_bytes: usize,
}

struct Shared {
    created: Instant,
    kept: Mutex<Kept>,
}

/// A new key was refused, since there are as many as there may be in a [`MemoryStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for another key")]
#[non_exhaustive]
pub struct StoreFull;

#[derive(Default)]
struct Kept {
    slots: HashMap<Scope, Slot>,
    /// The same, in the order in which they are forgotten.
    order: BTreeSet<(u64, Scope)>,
    bytes: usize,
    /// How many have waited. A number is given once, whichever key it was for.
    waited: u64,
}

struct Slot {
    entry: Entry,
    waiters: Waiters,
}

impl MemoryStore {
    /// With nothing done.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared { created: Instant::now(), kept: Mutex::new(Kept::default()) };
        Self { shared: Arc::new(shared), most: MOST, most_bytes: MOST_BYTES }
    }

    /// How many keys there are at most. Default: 65 536.
    #[must_use]
    pub fn keys(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// How many bytes their answers have at most, all together. Default: 64 MiB.
    #[must_use]
    pub fn bytes(mut self, most: usize) -> Self {
        self.most_bytes = most;
        self
    }

    /// How many keys it holds at this moment, some of which may be about to be forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().slots.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let millis = Instant::now().saturating_duration_since(self.shared.created).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    }

    /// One step: what an entry is, what is decided, what is written. Wakers are called when the lock is free again.
    fn step<T>(&self, scope: Scope, decide: impl FnOnce(&Kept, Option<&Entry>, u64) -> (T, Change)) -> T {
        let now = self.now();
        let mut kept = self.kept();
        let mut called = kept.forget(now);
        let entry = kept.slots.get(&scope).map(|slot| &slot.entry);
        let (answer, change) = decide(&kept, entry, now);
        kept.write(scope, change, &mut called);
        drop(kept);
        called.into_iter().for_each(Waker::wake);
        answer
    }
}

impl Kept {
    /// What is over.
    fn forget(&mut self, now: u64) -> Vec<Waker> {
        let mut called = Vec::new();
        while let Some((_, scope)) = self.order.first().copied().filter(|(at, _)| *at <= now) {
            self.write(scope, Change::Remove, &mut called);
        }
        called
    }

    fn write(&mut self, scope: Scope, change: Change, called: &mut Vec<Waker>) {
        let entry = match change {
            Change::Keep => return,
            Change::Put(entry) => Some(entry),
            Change::Remove => None,
        };
        let mut waiters = Waiters::new();
        if let Some(slot) = self.slots.remove(&scope) {
            self.order.remove(&(slot.entry.forget_at, scope));
            self.bytes -= weight(&slot.entry);
            waiters = slot.waiters;
        }
        let runs = entry.as_ref().is_some_and(|entry| matches!(entry.state, State::Running { .. }));
        if !runs {
            called.extend(std::iter::from_fn(|| waiters.call()).map(|(_, waker)| waker));
        }
        if let Some(entry) = entry {
            self.order.insert((entry.forget_at, scope));
            self.bytes += weight(&entry);
            self.slots.insert(scope, Slot { entry, waiters });
        }
    }
}

fn weight(entry: &Entry) -> usize {
    match &entry.state {
        State::Ended(Final::Record(record)) => record.len(),
        _ => 0,
    }
}

impl Store for MemoryStore {
    async fn begin(&self, scope: Scope, claim: &NewClaim) -> Result<Begun, BoxError> {
        self.step(scope, |kept, entry, now| {
            if entry.is_none() && kept.slots.len() >= self.most {
                return (Err(StoreFull.into()), Change::Keep);
            }
            let (begun, change) = Entry::begin(entry, claim, now);
            (Ok(begun), change)
        })
    }

    async fn renew(&self, claim: &Claim) -> Result<Held, BoxError> {
        Ok(self.step(claim.scope(), |_, entry, now| Entry::renew(entry, claim, now)))
    }

    async fn complete(&self, claim: &Claim, end: &Final) -> Result<Held, BoxError> {
        Ok(self.step(claim.scope(), |kept, entry, now| {
            let fits = |record: &bytes::Bytes| record.len() <= self.most_bytes.saturating_sub(kept.bytes);
            let end = match end {
                Final::Record(record) if !fits(record) => &Final::TooLarge,
                end => end,
            };
            Entry::complete(entry, claim, end, now)
        }))
    }

    async fn release(&self, claim: &Claim) -> Result<Held, BoxError> {
        Ok(self.step(claim.scope(), |_, entry, now| Entry::release(entry, claim, now)))
    }

    fn ended(&self, scope: Scope) -> impl Future<Output = ()> + Send {
        Ending { store: self.clone(), scope, number: None }
    }
}

/// Waits until nothing runs under a scope.
struct Ending {
    store: MemoryStore,
    scope: Scope,
    number: Option<u64>,
}

impl Future for Ending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut kept = this.store.kept();
        let Kept { slots, waited, .. } = &mut *kept;
        let running = slots.get_mut(&this.scope);
        let running = running.filter(|slot| matches!(slot.entry.state, State::Running { .. }));
        // A waker may be the last that holds a task, and the task this store: it is dropped when the lock is free.
        let (waits, other) = match (running, this.number) {
            (None, _) => (false, None),
            // Who was called does not wait for the next one that runs.
            (Some(slot), Some(number)) => slot.waiters.stay(number, cx.waker()),
            (Some(slot), None) => {
                *waited += 1;
                this.number = Some(*waited);
                slot.waiters.wait(*waited, cx.waker());
                (true, None)
            }
        };
        drop(kept);
        drop(other);
        if waits {
            return Poll::Pending;
        }
        this.number = None;
        Poll::Ready(())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut kept = self.store.kept();
        let waker = kept.slots.get_mut(&self.scope).and_then(|slot| slot.waiters.leave(number));
        drop(kept);
        drop(waker);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keys, bytes) = {
            let kept = self.kept();
            (kept.slots.len(), kept.bytes)
        };
        f.debug_struct("MemoryStore").field("keys", &keys).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::idempotency::{AfterCrash, Fingerprint, Owner};

    #[tokio::test(start_paused = true)]
    async fn a_store_is_empty_until_something_begins_and_who_has_left_leaves_nothing_there() {
        let (store, scope) = (MemoryStore::new(), Scope::from_bytes([1; 32]));
        assert!(store.is_empty());
        let claim = NewClaim {
            fingerprint: Fingerprint::from_bytes([2; 32]),
            owner: Owner::from_bytes([3; 16]),
            lease: Duration::from_secs(30),
            keep: Duration::from_secs(60),
            after_crash: AfterCrash::FailClosed,
        };
        assert_eq!(store.begin(scope, &claim).await.unwrap(), Begun::Run { fence: 1 });
        assert!(!store.is_empty());
        let waiting = || store.kept().slots[&scope].waiters.len();
        let mut ended = Box::pin(store.ended(scope));
        assert!(ended.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(waiting(), 1);
        drop(ended);
        assert_eq!(waiting(), 0);
    }
}
