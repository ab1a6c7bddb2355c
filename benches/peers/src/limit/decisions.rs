//! The rows of the comparison `decision`: limiters that are asked, and nothing else. All let everybody in, or nobody.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use governor::RateLimiter as Governor;
use governor::clock::FakeRelativeClock;
use stonework::limit::{ConcurrencyLimiter, KeyedRateLimiter, RateLimiter};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{address, governors, ours};
use crate::measure::Subject;
use crate::rows::{Kind, Row};

/// What ours may cost: an atomic number, and an entry of a table.
const MOST: u32 = 12;
const MOST_KEYED: u32 = 25;
/// Where the target is set. With more of them it is the processor's cache that is measured.
const TARGET: usize = 1_000;
const PERMITS: usize = 1_000;

pub(crate) fn rows(admits: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let one = Group::new("a rate", 1, admits);
    rows.extend([
        one.row("bare", Kind::Bare, || (), move |(), _| admits),
        one.row(
            "governor",
            Kind::Peer,
            move || spent(Governor::direct(governors(admits)), |limiter| limiter.check().is_ok()),
            |limiter, _| limiter.check().is_ok(),
        ),
        one.row(
            "stonework",
            Kind::Limit { nanos: None },
            move || limiter(admits),
            |limiter, _| limiter.try_take(1).is_ok(),
        ),
        one.row(
            "governor, time given",
            Kind::Peer,
            move || {
                let limiter = Governor::direct_with_clock(governors(admits), FakeRelativeClock::default());
                spent(limiter, |limiter| limiter.check().is_ok())
            },
            |limiter, _| limiter.check().is_ok(),
        ),
        one.row(
            "stonework, time given",
            Kind::Limit { nanos: Some(MOST) },
            move || (limiter(admits), Instant::now()),
            |(limiter, now), _| limiter.try_take_at(black_box(*now), 1).is_ok(),
        ),
    ]);
    for (head, keys) in [("1 key", 1), ("1 000 keys", TARGET), ("100 000 keys", 100_000)] {
        let group = Group::new(head, keys, admits);
        let (theirs, mine) = (Arc::clone(&group.keys), Arc::clone(&group.keys));
        let nanos = (keys == TARGET).then_some(MOST_KEYED);
        rows.extend([
            group.row("bare", Kind::Bare, || (), move |(), _| admits),
            group.row(
                "governor, time given",
                Kind::Peer,
                move || {
                    let limiter =
                        Governor::dashmap_with_clock(governors(admits), FakeRelativeClock::default());
                    theirs.iter().for_each(|key| assert!(limiter.check_key(key).is_ok()));
                    limiter
                },
                |limiter, key| limiter.check_key(key).is_ok(),
            ),
            group.row(
                "stonework, time given",
                Kind::Limit { nanos },
                move || {
                    // Twice as much room as there are keys: none has to share.
                    let limiter = KeyedRateLimiter::new(ours(admits)).expect("a valid quota");
                    let (limiter, now) = (limiter.max_keys(2 * mine.len().max(1_000)), Instant::now());
                    mine.iter().for_each(|key| assert!(limiter.try_take_at(now, key, 1).is_ok()));
                    assert_eq!((limiter.len(), limiter.overflowed()), (mine.len(), 0));
                    (limiter, now)
                },
                |(limiter, now), key| limiter.try_take_at(black_box(*now), key, 1).is_ok(),
            ),
        ]);
    }
    let permits = if admits { PERMITS } else { 1 };
    let group = Group::new("a permit", 1, admits);
    rows.extend([
        group.row("bare", Kind::Bare, || (), move |(), _| admits),
        group.row(
            "tokio Semaphore",
            Kind::Peer,
            move || {
                let semaphore = Arc::new(Semaphore::new(permits));
                let held = Arc::clone(&semaphore).try_acquire_owned();
                (semaphore, held)
            },
            |(semaphore, _), _| Arc::clone(semaphore).try_acquire_owned().is_ok(),
        ),
        group.row(
            "stonework",
            Kind::Limit { nanos: None },
            move || {
                let limiter = ConcurrencyLimiter::new(permits).expect("a valid limit");
                let held = limiter.try_acquire();
                (limiter, held)
            },
            |(limiter, _), _| limiter.try_acquire().is_some(),
        ),
    ]);
    rows
}

fn limiter(admits: bool) -> RateLimiter {
    spent(RateLimiter::new(ours(admits)).expect("a valid quota"), |limiter| limiter.try_take(1).is_ok())
}

/// After the first call, which is always let in.
fn spent<T>(limiter: T, ask: impl FnOnce(&T) -> bool) -> T {
    assert!(ask(&limiter), "the first is let in");
    limiter
}

// ───────────────────────────────────────────────────────────────────────────── who is asked, for whom

/// Rows that are asked for the same keys, one after the other.
struct Group {
    head: &'static str,
    keys: Arc<[IpAddr]>,
    admits: bool,
}

/// Made when it is first asked: not each process asks all of them.
type Lazy<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

impl Group {
    fn new(head: &'static str, keys: usize, admits: bool) -> Self {
        Self { head, keys: (0..keys as u64).map(address).collect(), admits }
    }

    /// Two threads share what `make` makes, and begin at different keys.
    fn row<T, F>(
        &self,
        name: &'static str,
        kind: Kind,
        make: impl FnOnce() -> T + Send + 'static,
        ask: F,
    ) -> Row
    where
        T: Send + Sync + 'static,
        F: Fn(&T, &IpAddr) -> bool + Copy + Send + Sync + 'static,
    {
        let limiter: Arc<Lazy<T>> = Arc::new(LazyLock::new(Box::new(make)));
        let (keys, admits, turns) = (Arc::clone(&self.keys), self.admits, AtomicUsize::new(0));
        let subject = move || -> Box<dyn Subject> {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            let at = turn * (keys.len() * 5 / 13) % keys.len();
            Box::new(Asks { limiter: Arc::clone(&limiter), keys: Arc::clone(&keys), at, admits, ask })
        };
        Row { name, head: self.head, kind, peer: None, subject: subject(), shared: Some(Box::new(subject)) }
    }
}

struct Asks<T, F> {
    limiter: Arc<Lazy<T>>,
    keys: Arc<[IpAddr]>,
    at: usize,
    admits: bool,
    ask: F,
}

impl<T, F: Fn(&T, &IpAddr) -> bool> Subject for Asks<T, F> {
    #[inline(never)]
    fn calls(&mut self, calls: u64) {
        let (limiter, keys, mut admitted) = (&**self.limiter, &*self.keys, 0);
        for _ in 0..calls {
            admitted += u64::from(black_box((self.ask)(black_box(limiter), black_box(&keys[self.at]))));
            self.at = if self.at + 1 < keys.len() { self.at + 1 } else { 0 };
        }
        assert_eq!(admitted, if self.admits { calls } else { 0 }, "the quota lets everybody in, or nobody");
    }

    fn timers(&mut self) -> usize {
        0
    }
}
