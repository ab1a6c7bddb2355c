//! How many retries may be added to the load.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[cfg(stonework_loom)]
use loom::sync::atomic::{AtomicI64, Ordering::Relaxed};
#[cfg(not(stonework_loom))]
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use tokio::time::Instant;

use super::Ratio;

/// One token in the unit of all arithmetic here, the millionth of a token.
const TOKEN: i64 = 1_000_000;

/// The settings of a [`Budget`]: a reserve of 10 retries, a floor of 1 a second, and 10 % of the requests.
///
/// With the feature `serde` it is read from and written to the fields `reserve`, `floor_per_second` and `ratio`, each of
/// which may be left out; an unknown field is an error that names it.
///
/// ```
/// use stonework::base::{Budget, BudgetSettings, Ratio};
///
/// let settings = BudgetSettings::default().reserve(20).floor_per_second(2).ratio(Ratio::percent(5));
/// let budget = Budget::new(settings);
/// # let _ = budget;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, expecting = "a table of budget settings"))]
pub struct BudgetSettings {
    reserve: u32,
    floor_per_second: u32,
    ratio: Ratio,
}

impl BudgetSettings {
    /// Retries that may be made at once after a quiet time, and the most that are ever saved up; the default is 10.
    ///
    /// A reserve of 0 saves up one retry at most, and starts with none.
    #[must_use]
    pub fn reserve(self, reserve: u32) -> Self {
        Self { reserve, ..self }
    }

    /// Retries that are earned in each second whatever the traffic, so that a client of few requests can still retry;
    /// the default is 1.
    #[must_use]
    pub fn floor_per_second(self, floor_per_second: u32) -> Self {
        Self { floor_per_second, ..self }
    }

    /// Retries that are earned by each request; the default is 10 %, one by ten requests.
    #[must_use]
    pub fn ratio(self, ratio: Ratio) -> Self {
        Self { ratio, ..self }
    }
}

impl fmt::Display for BudgetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reserve, floor_per_second, ratio } = self;
        write!(f, "{reserve} retries + {floor_per_second}/s + {ratio} of requests")
    }
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { reserve: 10, floor_per_second: 1, ratio: Ratio::percent(10) }
    }
}

/// A handle to a limit on retries, shared by cloning.
///
/// Retries help against a fault of one request and harm in an overload, where each adds to it. A budget lets the first
/// kind through and stops the second: it holds tokens, every request adds a part of one, time adds a few, and every
/// retry takes what it costs: one, or more where it burdens the service more.
///
/// **Guarantee.** With `t` the seconds since it was made,
///
/// > tokens of retries granted and kept ≤ `reserve` + `floor_per_second` · t + `ratio` · requests
///
/// exactly, in integers, for any interleaving of any number of threads, at every moment. Since no more than `reserve`
/// tokens are saved up, the same holds over every later stretch of time, with the time, the requests and the refunds of
/// that stretch: a quiet hour does not pay for a storm.
///
/// All operations are lock free. [`deposit`](Self::deposit), which every request makes, reads no clock, and does not
/// write while the budget is full.
///
/// ```
/// use stonework::base::{Budget, BudgetSettings, Ratio};
/// use tokio::time::Instant;
///
/// let settings = BudgetSettings::default().reserve(1).floor_per_second(0).ratio(Ratio::percent(50));
/// let budget = Budget::new(settings);
/// let now = Instant::now();
///
/// let retry = budget.try_withdraw(now, 1).expect("the reserve holds one");
/// assert!(budget.try_withdraw(now, 1).is_none());
/// drop(retry); // the retry was not made: its token comes back
///
/// budget.try_withdraw(now, 1).expect("it came back").spend();
/// budget.deposit();
/// assert!(budget.try_withdraw(now, 1).is_none()); // one request earns a half
/// budget.deposit();
/// assert!(budget.try_withdraw(now, 1).is_some());
/// ```
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

/// The whole bucket is one number, so that no two threads can see it half changed.
///
/// Time is not poured into the bucket; it is a line that rises by itself. `line(t)` is what the floor has earned by `t`,
/// in whole millionths; it depends on `t` alone, so nothing is credited twice and no fraction is lost. The bucket holds
/// `line(t) - mark` at `t`, or its capacity if that is less. A withdrawal raises the mark, a deposit or a refund lowers
/// it. What exceeds the capacity is cut off only when somebody withdraws: between two withdrawals everything only adds,
/// and then cutting once at the end is the same as cutting at every step.
///
/// Relaxed ordering is enough: the guarantee speaks of one atomic, and no other memory is published through it.
struct Shared {
    settings: BudgetSettings,
    created: Instant,
    capacity: i64,
    mark: AtomicI64,
    /// The highest line that a withdrawal has seen. It tells a deposit, which reads no clock, that the bucket is full.
    seen: AtomicI64,
    // Statistics are no part of the guarantee, so the model checker need not explore them.
    granted: AtomicU64,
    refunded: AtomicU64,
    refused: AtomicU64,
}

impl Budget {
    /// A budget that starts now with its whole reserve.
    #[must_use]
    pub fn new(settings: BudgetSettings) -> Self {
        let shared = Shared {
            settings,
            created: Instant::now(),
            capacity: i64::from(settings.reserve.max(1)) * TOKEN,
            mark: AtomicI64::new(-i64::from(settings.reserve) * TOKEN),
            seen: AtomicI64::new(0),
            granted: AtomicU64::new(0),
            refunded: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The settings that it was made from.
    #[must_use]
    pub fn settings(&self) -> BudgetSettings {
        self.shared.settings
    }

    /// Counts one request, which is not itself a retry.
    pub fn deposit(&self) {
        self.shared.credit(i64::from(self.shared.settings.ratio.parts_per_million()));
    }

    /// Takes the tokens of one retry, or `None` if so many are not left. A `cost` of 0 is always granted; one that is
    /// more than the budget can ever hold takes all that it can hold.
    ///
    /// A `now` that is earlier than that of another call which cost something counts as that one.
    #[must_use = "a withdrawal that is dropped is refunded"]
    pub fn try_withdraw(&self, now: Instant, cost: u32) -> Option<Withdrawal> {
        let shared = &*self.shared;
        let cost = (i64::from(cost) * TOKEN).min(shared.capacity);
        if cost > 0 && !shared.take(now, cost) {
            shared.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return None;
        }
        shared.granted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(Withdrawal { budget: self.clone(), cost, spent: false })
    }
    /// How many tokens are left at `now`; parts of one cannot be withdrawn yet.
    #[must_use]
    pub fn available(&self, now: Instant) -> f64 {
        let line = self.shared.line(now).max(self.shared.seen.load(Relaxed));
        let cut = self.shared.mark.load(Relaxed).max(line - self.shared.capacity);
        // Another thread may know a later time; then less than nothing would be left at this one.
        (line - cut).max(0) as f64 / TOKEN as f64
    }

    /// What has happened so far. The numbers are read one after another, so they may differ by calls in between.
    #[must_use]
    pub fn stats(&self) -> BudgetStats {
        let read = |counter: &AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        BudgetStats {
            granted: read(&self.shared.granted),
            refunded: read(&self.shared.refunded),
            refused: read(&self.shared.refused),
        }
    }
}

impl Shared {
    /// What the floor has earned from the start to `now`, in millionths of a token.
    ///
    /// It stops at 2⁶³ of them, after 292 thousand years at one token a second and 29 years at ten thousand; then only
    /// requests earn tokens.
    fn line(&self, now: Instant) -> i64 {
        let elapsed: Duration = now.saturating_duration_since(self.created);
        // Tokens a second are thousandths of a millionth a nanosecond. The product fits: 94 bits and 32.
        let earned = elapsed.as_nanos() * u128::from(self.settings.floor_per_second) / 1_000;
        i64::try_from(earned).unwrap_or(i64::MAX)
    }

    /// Whether `cost` was left at `now`, and is taken.
    fn take(&self, now: Instant, cost: i64) -> bool {
        let line = self.line(now);
        let seen = self.seen.load(Relaxed);
        if line > seen {
            self.seen.fetch_max(line, Relaxed);
        }
        let line = line.max(seen);
        let mut mark = self.mark.load(Relaxed);
        loop {
            let cut = mark.max(line - self.capacity);
            if line - cut < cost {
                return false;
            }
            match self.mark.compare_exchange_weak(mark, cut + cost, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(newer) => mark = newer,
            }
        }
    }

    fn credit(&self, amount: i64) {
        let full = self.seen.load(Relaxed) - self.capacity;
        let mut mark = self.mark.load(Relaxed);
        // The bucket was full already when `seen` was seen, and the line only rises.
        while mark > full {
            let lower = (mark - amount).max(full);
            match self.mark.compare_exchange_weak(mark, lower, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(newer) => mark = newer,
            }
        }
    }
}

/// A budget with the default [`BudgetSettings`].
impl Default for Budget {
    fn default() -> Self {
        Self::new(BudgetSettings::default())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("settings", &self.shared.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// The tokens of one retry, taken from a [`Budget`]. Dropped before [`spend`](Self::spend), they go back.
#[derive(Debug)]
#[must_use = "a withdrawal that is dropped is refunded"]
pub struct Withdrawal {
    budget: Budget,
    /// In millionths of a token.
    cost: i64,
    spent: bool,
}

impl Withdrawal {
    /// The retry is made: keeps the tokens.
    pub fn spend(mut self) {
        self.spent = true;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if !self.spent {
            self.budget.shared.credit(self.cost);
            self.budget.shared.refunded.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// What a [`Budget`] has done since it was made, in retries and not in tokens: those granted and kept are
/// `granted - refunded`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BudgetStats {
    /// Withdrawals that were granted, and perhaps refunded later.
    pub granted: u64,
    /// Withdrawals that were dropped before they were spent.
    pub refunded: u64,
    /// Withdrawals that were refused.
    pub refused: u64,
}

#[cfg(all(test, not(stonework_loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bare(reserve: u32) -> BudgetSettings {
        BudgetSettings { reserve, floor_per_second: 0, ratio: Ratio::ZERO }
    }

    /// Spends until nothing is left.
    fn drain(budget: &Budget, now: Instant) -> u32 {
        let mut granted = 0;
        while let Some(withdrawal) = budget.try_withdraw(now, 1) {
            withdrawal.spend();
            granted += 1;
        }
        granted
    }

    #[test]
    fn it_starts_with_its_reserve_and_grants_no_more() {
        let budget = Budget::default();
        let start = budget.shared.created;
        assert_eq!(drain(&budget, start), 10);
        assert_eq!(budget.stats(), BudgetStats { granted: 10, refunded: 0, refused: 1 });
        assert_eq!(budget.available(start), 0.0);
    }

    #[test]
    fn ten_requests_earn_one_retry() {
        let budget = Budget::default();
        let start = budget.shared.created;
        drain(&budget, start);
        (0..9).for_each(|_| budget.deposit());
        assert_eq!(drain(&budget, start), 0);
        budget.deposit();
        assert_eq!(drain(&budget, start), 1);
        (0..55).for_each(|_| budget.deposit());
        assert_eq!(drain(&budget, start), 5);
        assert_eq!(budget.available(start), 0.5);
    }

    #[test]
    fn a_second_earns_one_retry_and_no_fraction_is_lost_by_asking_often() {
        let budget = Budget::default();
        let start = budget.shared.created;
        drain(&budget, start);
        let step = Duration::from_nanos(333_333_333);
        let granted: u32 = (1..=300).map(|n| drain(&budget, start + step * n)).sum();
        assert_eq!(granted, 99, "300 thirds of a second, each a third of a nanosecond short");
    }

    #[test]
    fn a_quiet_hour_saves_up_no_more_than_the_reserve() {
        let budget = Budget::default();
        let start = budget.shared.created;
        (0..100_000).for_each(|_| budget.deposit());
        assert_eq!(drain(&budget, start + 3_600 * SECOND), 10);
        (0..1_000_000).for_each(|_| budget.deposit());
        assert_eq!(drain(&budget, start + 3_600 * SECOND), 10);
    }

    #[test]
    fn a_withdrawal_that_is_dropped_comes_back_and_a_spent_one_does_not() {
        let budget = Budget::new(bare(1));
        let now = budget.shared.created;
        drop(budget.try_withdraw(now, 1));
        assert_eq!(drain(&budget.clone(), now), 1);
        assert_eq!(drain(&budget, now), 0);
        assert_eq!(budget.stats(), BudgetStats { granted: 2, refunded: 1, refused: 2 });
    }

    #[test]
    fn a_retry_takes_and_gives_back_what_it_costs() {
        let budget = Budget::new(bare(5));
        let now = budget.shared.created;
        let dear = budget.try_withdraw(now, 3);
        assert!(dear.is_some() && budget.try_withdraw(now, 3).is_none());
        assert_eq!(budget.available(now), 2.0);
        budget.try_withdraw(now, 0).expect("what is free is always granted").spend();
        drop(dear);
        assert_eq!(budget.available(now), 5.0);
        budget.try_withdraw(now, u32::MAX).expect("more than it can hold is all that it can hold").spend();
        assert_eq!(budget.available(now), 0.0);
        budget.try_withdraw(now, 0).expect("also from an empty one").spend();
        assert_eq!(budget.stats(), BudgetStats { granted: 4, refunded: 1, refused: 1 });
    }

    #[test]
    fn a_refund_never_fills_it_above_its_reserve() {
        let budget = Budget::new(bare(1).floor_per_second(1));
        let now = budget.shared.created;
        let held = budget.try_withdraw(now, 1);
        let later = budget.try_withdraw(now + SECOND, 1);
        assert!(held.is_some() && later.is_some());
        drop((held, later));
        assert_eq!(drain(&budget, now + 10 * SECOND), 1);
    }

    #[test]
    fn without_a_reserve_it_starts_empty_and_saves_up_one_retry() {
        let budget = Budget::new(bare(0).floor_per_second(2));
        let now = budget.shared.created;
        assert_eq!(drain(&budget, now), 0);
        assert_eq!(drain(&budget, now + SECOND / 2), 1);
        assert_eq!(drain(&budget, now + 60 * SECOND), 1);
        assert_eq!(drain(&Budget::new(bare(0)), now), 0);
    }

    #[test]
    fn a_clock_that_goes_back_earns_nothing_twice() {
        let budget = Budget::default();
        let start = budget.shared.created;
        assert_eq!(drain(&budget, start + 5 * SECOND), 10);
        for n in 0..=5 {
            assert_eq!(drain(&budget, start + n * SECOND), 0);
        }
        assert_eq!(drain(&budget, start + 6 * SECOND), 1);
    }

    #[test]
    fn the_largest_settings_and_centuries_do_not_overflow() {
        let most = BudgetSettings { reserve: u32::MAX, floor_per_second: u32::MAX, ratio: Ratio::ONE };
        let budget = Budget::new(most);
        for years in [0, 1, 100, 250] {
            let now = budget.shared.created + Duration::from_secs(years * 31_557_600);
            budget.deposit();
            assert!(budget.available(now) <= f64::from(u32::MAX));
            for withdrawal in (0..1_000).map(|_| budget.try_withdraw(now, 1)) {
                withdrawal.expect("four thousand million are left").spend();
            }
            budget.deposit();
        }
    }

    #[test]
    fn a_budget_and_its_withdrawals_may_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Budget>();
        check::<Withdrawal>();
    }

    #[cfg(all(feature = "serde", feature = "client"))]
    #[test]
    fn settings_are_read_from_a_file_and_unknown_fields_refused() {
        let read =
            |text: &str| serde_json::from_str::<BudgetSettings>(text).map_err(|error| error.to_string());
        assert_eq!(read("{}").unwrap(), BudgetSettings::default());
        let full = r#"{"reserve":5,"floor_per_second":2,"ratio":"12.5%"}"#;
        assert_eq!(serde_json::to_string(&read(full).unwrap()).unwrap(), full);
        assert!(read(r#"{"floor": 3}"#).unwrap_err().contains("`floor`"));
        assert!(read(r#"{"ratio": 3}"#).unwrap_err().contains("between 0 and 1"));
    }

    #[test]
    fn a_time_that_is_earlier_than_that_of_another_call_counts_as_that_one() {
        let budget = Budget::new(bare(10).floor_per_second(1));
        let start = budget.shared.created;
        budget.try_withdraw(start + 5 * SECOND, 1).expect("ten are left").spend();
        assert_eq!((budget.available(start + 5 * SECOND), budget.available(start)), (9.0, 9.0));
        assert_eq!(budget.settings(), bare(10).floor_per_second(1));
    }

    #[test]
    fn what_is_free_leaves_the_budget_as_it_was() {
        let budget = Budget::new(bare(10).floor_per_second(1));
        let start = budget.shared.created;
        drain(&budget, start);
        budget.try_withdraw(start + 5 * SECOND, 0).expect("it is free").spend();
        assert_eq!((budget.available(start), budget.available(start + SECOND)), (0.0, 1.0));
    }
}
