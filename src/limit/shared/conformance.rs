//! For the author of a store: does it keep what a [`QuotaStore`] promises?
//!
//! ```
//! use stonework::limit::MemoryStore;
//! use stonework::limit::conformance::check;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! assert_eq!(check(&MemoryStore::new()).await, []);
//! # }
//! ```
//!
//! It takes about a second of tokio's time, which is to be the store's: a clock that is paused in a test is right for a store that goes by it, and
//! wrong for a server's. It uses keys of its own, of which a store that forgets what is full again holds a few dozen for some hours.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::{QuotaStore, Refill, Shortage, Standing, Taken};
use crate::base::Rng;
use crate::limit::Quota;

/// So many at once.
const CROWD: usize = 200;

/// One in each so long.
const INTERVAL: Duration = Duration::from_millis(20);

/// Something that a store promises, and this one did not keep: see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    promise: Promise,
    what: String,
}

/// What a store promises: see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// As much is taken of each quota, or nothing of any.
    AllOrNone,
    /// It answers.
    Answers,
    /// No two calls are given the same, however many there are at once.
    Atomic,
    /// So many are there at once, and it says how many are left.
    Burst,
    /// A cost is so many, and one that is more than there ever is is never waited for.
    Cost,
    /// Each key has quotas of its own.
    Keys,
    /// The quota that has to be waited for the longest is named, with its wait.
    LongestWait,
    /// A cost of 0 takes nothing and is answered.
    NothingCostsNothing,
    /// Each quota of a key is one of its own, and the same in whatever list it stands.
    Quotas,
    /// One is earned in each interval, no sooner and no later, and no more than there may be.
    Refill,
    /// Whoever comes back when it is told to finds enough, and not earlier.
    RetryAfter,
}

impl Breach {
    /// Which promise it was.
    #[must_use]
    pub const fn promise(&self) -> Promise {
        self.promise
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// What this store does not keep; nothing, if it is right. Each promise is named at most once. The [module](self) has an example.
///
/// Dropping the future leaves keys behind in the store, which it forgets by itself.
pub async fn check(store: &impl QuotaStore) -> Vec<Breach> {
    let prefix = format!("conformance-{:032x}", Rng::default().unique_id());
    let mut check = Check { store, prefix, keys: 0, breaches: Vec::new() };
    check.burst().await;
    check.cost().await;
    check.nothing_costs_nothing().await;
    check.all_or_none().await;
    check.longest_wait().await;
    check.keys().await;
    check.quotas().await;
    check.atomic().await;
    check.retry_after().await;
    check.refill().await;
    check.breaches
}

struct Check<'a, S> {
    store: &'a S,
    prefix: String,
    keys: u32,
    breaches: Vec<Breach>,
}

/// One is earned in an hour: none while this runs.
fn slow(most: u32) -> Refill {
    refill(Quota::per_hour(1).burst(most))
}

fn quick(most: u32) -> Refill {
    refill(Quota::new(1, INTERVAL).burst(most))
}

fn refill(quota: Quota) -> Refill {
    Refill::of(&quota).expect("a quota that can be")
}

impl<S: QuotaStore> Check<'_, S> {
    fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.prefix, self.keys)
    }

    fn breach(&mut self, promise: Promise, what: impl fmt::Display) {
        if self.breaches.iter().all(|breach| breach.promise != promise) {
            self.breaches.push(Breach { promise, what: what.to_string() });
        }
    }

    fn expect(&mut self, promise: Promise, holds: bool, what: impl fmt::Display) {
        if !holds {
            self.breach(promise, what);
        }
    }

    async fn take(&mut self, key: &str, quotas: &[Refill], cost: u32) -> Taken {
        match self.store.take(key, quotas, cost).await {
            Ok(taken) => {
                if let Taken::All(standing) = &taken {
                    let number = standing.len();
                    let what = format!("how {number} quotas stand, asked for {}", quotas.len());
                    self.expect(Promise::Answers, number == quotas.len(), what);
                }
                taken
            }
            Err(error) => {
                self.breach(Promise::Answers, format!("asked for {cost} of {key:?}: {error}"));
                Taken::All(Vec::new())
            }
        }
    }

    /// How many are left, by a cost of 0.
    async fn left(&mut self, key: &str, quotas: &[Refill]) -> Vec<u32> {
        match self.take(key, quotas, 0).await {
            Taken::All(standing) => standing.iter().map(Standing::left).collect(),
            Taken::Nothing(short) => {
                self.breach(Promise::NothingCostsNothing, format!("a cost of 0 is refused: {short:?}"));
                Vec::new()
            }
        }
    }

    async fn burst(&mut self) {
        let (key, quotas) = (self.key(), [slow(5)]);
        for left in (0..5).rev() {
            let taken = self.take(&key, &quotas, 1).await;
            let expected = matches!(&taken, Taken::All(standing)
                if standing.first().is_some_and(|standing| standing.left() == left
                    && is_about(standing.full_in(), Duration::from_secs(3600) * (5 - left))));
            self.expect(Promise::Burst, expected, format!("{taken:?}, and {left} should be left of 5"));
        }
        let taken = self.take(&key, &quotas, 1).await;
        self.expect(Promise::Burst, matches!(taken, Taken::Nothing(_)), "a sixth of 5");
    }

    async fn cost(&mut self) {
        let (key, quotas) = (self.key(), [slow(10)]);
        self.take(&key, &quotas, 7).await;
        let short = self.take(&key, &quotas, 4).await;
        let expected = matches!(short, Taken::Nothing(short) if short.left() == 3
            && short.retry_after().is_some_and(|wait| is_about(wait, Duration::from_secs(3600))));
        self.expect(Promise::Cost, expected, format!("{short:?} for 4 of the 3 that are left, one an hour"));
        let left = self.left(&key, &quotas).await;
        self.expect(Promise::Cost, left == [3], format!("{left:?} are left of 10 after 7, and 4 refused"));
        let taken = self.take(&key, &quotas, 3).await;
        self.expect(Promise::Cost, matches!(taken, Taken::All(_)), format!("{taken:?} for 3 of 3"));
        let (key, never) = (self.key(), Taken::Nothing(Shortage::new(0, 10, None)));
        for cost in [11, u32::MAX] {
            let taken = self.take(&key, &quotas, cost).await;
            self.expect(Promise::Cost, taken == never, format!("{taken:?} for {cost} of at most 10"));
        }
        let left = self.left(&key, &quotas).await;
        self.expect(Promise::Cost, left == [10], format!("{left:?} are left of 10 that nobody was given"));
    }

    async fn nothing_costs_nothing(&mut self) {
        let (key, quotas) = (self.key(), [slow(2)]);
        for (cost, expected) in [(0, 2), (1, 1), (1, 0)] {
            self.take(&key, &quotas, cost).await;
            for _ in 0..3 {
                let left = self.left(&key, &quotas).await;
                let what = format!("{left:?} are left where it should be {expected}");
                self.expect(Promise::NothingCostsNothing, left == [expected], what);
            }
        }
    }

    async fn all_or_none(&mut self) {
        for tight in [0, 1, 2] {
            let mut quotas = [slow(10), slow(20), slow(30)];
            quotas[tight] = slow(2);
            let key = self.key();
            self.take(&key, &quotas, 2).await;
            let before = self.left(&key, &quotas).await;
            let taken = self.take(&key, &quotas, 1).await;
            let refused = matches!(taken, Taken::Nothing(short) if short.quota() == tight);
            self.expect(Promise::AllOrNone, refused, format!("{taken:?}: quota {tight} has none left"));
            let after = self.left(&key, &quotas).await;
            let what = format!("{before:?} were left, and after a refusal {after:?}");
            self.expect(Promise::AllOrNone, before == after, what);
            let expected: Vec<u32> = quotas.iter().map(|quota| quota.most() - 2).collect();
            self.expect(
                Promise::AllOrNone,
                after == expected,
                format!("{after:?} are left, not {expected:?}"),
            );
        }
    }

    async fn longest_wait(&mut self) {
        let day = refill(Quota::new(1, Duration::from_secs(24 * 3600)));
        for (quotas, longest) in [([day, slow(1)], 0), ([slow(1), day], 1)] {
            let key = self.key();
            self.take(&key, &quotas, 1).await;
            let taken = self.take(&key, &quotas, 1).await;
            let expected = matches!(taken, Taken::Nothing(short) if short.quota() == longest
                && short.retry_after().is_some_and(|wait| is_about(wait, day.interval())));
            self.expect(Promise::LongestWait, expected, format!("{taken:?}: quota {longest} takes a day"));
        }
        // What never comes is waited for longer than a day.
        let (key, quotas) = (self.key(), [day, slow(2)]);
        self.take(&key, &quotas, 1).await;
        let taken = self.take(&key, &quotas, 2).await;
        let expected =
            matches!(taken, Taken::Nothing(short) if short.quota() == 0 && short.retry_after().is_none());
        self.expect(Promise::LongestWait, expected, format!("{taken:?}: quota 0 never has 2"));
    }

    async fn keys(&mut self) {
        let (prefix, quotas) = (self.key(), [slow(1)]);
        let long = "x".repeat(640 - prefix.len());
        let odd =
            ["", " ", "\0", "\n", "a", "A", "a ", "é", "{", "}", "{}", "}{", "%7D", "a:b", "*", "\\", "\""];
        for rest in odd.into_iter().chain([long.as_str(), &long[1..]]) {
            let taken = self.take(&format!("{prefix}{rest}"), &quotas, 1).await;
            let what = format!("{rest:?} finds nothing left: {taken:?}");
            self.expect(Promise::Keys, matches!(taken, Taken::All(_)), what);
            let taken = self.take(&format!("{prefix}{rest}"), &quotas, 1).await;
            self.expect(Promise::Keys, matches!(taken, Taken::Nothing(_)), format!("{rest:?} is forgotten"));
        }
    }

    async fn quotas(&mut self) {
        let (key, one, other) = (self.key(), slow(3), slow(4));
        self.take(&key, &[one], 2).await;
        self.take(&key, &[other, one], 1).await;
        let left = self.left(&key, &[one, other]).await;
        self.expect(Promise::Quotas, left == [0, 3], format!("{left:?} are left of 3 and 4 after 3 and 1"));
        let slower = refill(Quota::per_hour(2).burst(3));
        let left = self.left(&key, &[slower]).await;
        self.expect(Promise::Quotas, left == [3], format!("{left:?} are left of 3 of a quota of its own"));
    }

    async fn atomic(&mut self) {
        let (key, quotas) = (self.key(), [slow(50), slow(1000)]);
        let (key, quotas) = (key.as_str(), &quotas[..]);
        let store = self.store;
        let one = || async move {
            yield_now().await;
            matches!(store.take(key, quotas, 1).await, Ok(Taken::All(_)))
        };
        let admitted = together((0..CROWD).map(|_| Box::pin(one())).collect()).await;
        let admitted = admitted.into_iter().filter(|admitted| *admitted).count();
        self.expect(Promise::Atomic, admitted == 50, format!("{admitted} of {CROWD} at once were given 50"));
        let left = self.left(key, quotas).await;
        self.expect(Promise::Atomic, left == [0, 950], format!("{left:?} are left after 50 of 50 and 1000"));
    }

    async fn retry_after(&mut self) {
        for cost in [1, 2, 3] {
            let (key, quotas) = (self.key(), [quick(3)]);
            let begun = Instant::now();
            self.take(&key, &quotas, cost).await;
            let asked = Instant::now();
            let short = match self.take(&key, &quotas, 3).await {
                Taken::Nothing(short) => short,
                // It took long to ask, and they were earned again.
                Taken::All(_) if begun.elapsed() >= INTERVAL * cost => continue,
                Taken::All(_) => {
                    self.breach(Promise::RetryAfter, format!("3 of 3, just after {cost}"));
                    return;
                }
            };
            let told = Instant::now();
            let wait = short.retry_after().unwrap_or(Duration::MAX);
            if wait.is_zero() || wait > INTERVAL * cost {
                self.breach(Promise::RetryAfter, format!("{wait:?}, with {INTERVAL:?} for each of {cost}"));
                return;
            }
            sleep(wait * 3 / 4).await;
            let early = self.left(&key, &quotas).await;
            // Otherwise it took long to ask.
            if asked.elapsed() < wait {
                let what = format!("{early:?} of 3 after three quarters of {wait:?}");
                self.expect(Promise::RetryAfter, early != [3], what);
            }
            // Of a server's clock nothing finer is asked.
            sleep((wait + Duration::from_millis(1)).saturating_sub(told.elapsed())).await;
            let taken = self.take(&key, &quotas, 3).await;
            let what = format!("{taken:?} for 3 of 3 after {wait:?}");
            self.expect(Promise::RetryAfter, matches!(taken, Taken::All(_)), what);
        }
    }

    async fn refill(&mut self) {
        let (key, quotas) = (self.key(), [quick(8)]);
        let begun = Instant::now();
        self.take(&key, &quotas, 8).await;
        let (first, mut last, mut gap) = (begun.elapsed(), begun.elapsed(), Duration::ZERO);
        let mut admitted = 0;
        while last < INTERVAL * 20 {
            sleep(Duration::from_millis(1)).await;
            let now = begun.elapsed();
            gap = gap.max(now - last);
            last = now;
            if matches!(self.take(&key, &quotas, 1).await, Taken::All(_)) {
                admitted += 1;
            }
        }
        // What was earned in a gap before the last look; a store that admits everything does not keep us here.
        for _ in 0..CROWD {
            match self.take(&key, &quotas, 1).await {
                Taken::All(_) => admitted += 1,
                Taken::Nothing(_) => break,
            }
        }
        let earned = |time: Duration| time.as_nanos() / INTERVAL.as_nanos();
        let all = begun.elapsed();
        let what = format!("{admitted} in {all:?}, where one is earned in {INTERVAL:?}");
        let most = earned(all + Duration::from_millis(1));
        self.expect(Promise::Refill, admitted <= most, &what);
        // Whoever does not ask for so long that all of it is there finds no more.
        let least = earned(last.saturating_sub(first + Duration::from_millis(1)));
        self.expect(Promise::Refill, admitted >= least || gap > INTERVAL * 6, &what);
        sleep(INTERVAL * 10).await;
        let left = self.left(&key, &quotas).await;
        self.expect(Promise::Refill, left == [8], format!("{left:?} after a quiet time, of at most 8"));
    }
}

/// As long as this, or shorter by what has passed meanwhile.
fn is_about(time: Duration, expected: Duration) -> bool {
    time <= expected && time + Duration::from_secs(60) >= expected
}

/// All at the same time.
async fn together<T, F: Future<Output = T>>(futures: Vec<Pin<Box<F>>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Some).collect();
    let mut done = Vec::new();
    poll_fn(|cx| {
        for slot in &mut waiting {
            let ready = slot.as_mut().map(|future| future.as_mut().poll(cx));
            if let Some(Poll::Ready(value)) = ready {
                done.push(value);
                *slot = None;
            }
        }
        if waiting.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}
