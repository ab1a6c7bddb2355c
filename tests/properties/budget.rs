use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stonework::base::{Budget, BudgetSettings, Ratio, Withdrawal};
use tokio::time::Instant;

const TOKEN: u128 = 1_000_000;

#[derive(Clone, Debug)]
enum Step {
    Advance(Duration),
    Deposit(u32),
    /// Gives one of the withdrawals back that are neither spent nor refunded.
    Refund(usize),
    Spend(usize),
    /// A retry of this cost.
    Withdraw(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0_u64..400_000_000).prop_map(|nanos| Step::Advance(Duration::from_nanos(nanos))),
        1 => (0_u64..100).prop_map(|secs| Step::Advance(Duration::from_secs(secs))),
        3 => (1_u32..30).prop_map(Step::Deposit),
        2 => any::<usize>().prop_map(Step::Refund),
        2 => any::<usize>().prop_map(Step::Spend),
        6 => prop_oneof![4 => Just(1_u32), 1 => 0_u32..30].prop_map(Step::Withdraw),
    ];
    prop::collection::vec(step, 1..200)
}

prop_compose! {
    fn settings()(reserve in 0_u32..20, floor in 0_u32..5, parts in 0_u32..=1_000_000)
        -> (u32, u32, u32) { (reserve, floor, parts) }
}

/// The guarantee and nothing else: what a bucket would hold that is filled at every step, in whole numbers.
struct Model {
    floor: u128,
    capacity: u128,
    level: u128,
    nanos: u128,
}

impl Model {
    fn earned(&self) -> u128 {
        self.nanos * self.floor / 1_000
    }

    fn advance(&mut self, by: Duration) {
        let before = self.earned();
        self.nanos += by.as_nanos();
        self.add(self.earned() - before);
    }

    fn add(&mut self, amount: u128) {
        self.level = self.capacity.min(self.level + amount);
    }

    /// What is taken, if that much is there.
    fn withdraw(&mut self, cost: u32) -> Option<u128> {
        let taken = (u128::from(cost) * TOKEN).min(self.capacity);
        self.level = self.level.checked_sub(taken)?;
        Some(taken)
    }
}

/// A runtime whose clock stands still, so that a budget is made at an instant that the test knows.
fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #[test]
    fn whatever_happens_it_grants_exactly_what_an_exact_bucket_would_and_never_breaks_its_bound(
        (reserve, floor, parts) in settings(), steps in steps(),
    ) {
        let ratio = Ratio::per_million(parts).unwrap();
        let runtime = paused();
        let _inside = runtime.enter();
        let start = Instant::now();
        let budget =
            Budget::new(BudgetSettings::default().reserve(reserve).floor_per_second(floor).ratio(ratio));
        let capacity = u128::from(reserve.max(1)) * TOKEN;
        let mut model = Model { floor: floor.into(), capacity, level: u128::from(reserve) * TOKEN, nanos: 0 };
        let (mut requests, mut spent, mut held) = (0_u128, 0_u128, Vec::new());
        for step in steps {
            match step {
                Step::Advance(by) => model.advance(by),
                Step::Deposit(n) => for _ in 0..n {
                    budget.deposit();
                    model.add(parts.into());
                    requests += 1;
                },
                Step::Refund(at) if !held.is_empty() => {
                    let (withdrawal, taken) = held.swap_remove(at % held.len());
                    drop(withdrawal);
                    model.add(taken);
                }
                Step::Spend(at) if !held.is_empty() => {
                    let (withdrawal, taken): (Withdrawal, u128) = held.swap_remove(at % held.len());
                    withdrawal.spend();
                    spent += taken;
                }
                Step::Withdraw(cost) => {
                    let now = start + Duration::from_nanos(u64::try_from(model.nanos).unwrap());
                    let granted = budget.try_withdraw(now, cost);
                    let taken = model.withdraw(cost);
                    prop_assert_eq!(granted.is_some(), taken.is_some());
                    held.extend(granted.zip(taken));
                }
                Step::Refund(_) | Step::Spend(_) => {}
            }
            let kept = spent + held.iter().map(|(_, taken)| taken).sum::<u128>();
            let bound = u128::from(reserve) * TOKEN + model.earned() + requests * u128::from(parts);
            prop_assert!(kept <= bound, "{kept} of {bound}");
        }
    }
}

#[test]
fn threads_that_deposit_withdraw_and_refund_at_once_never_break_the_bound() {
    for round in 0..200 {
        let runtime = paused();
        let _inside = runtime.enter();
        let start = Instant::now();
        let settings = BudgetSettings::default().reserve(3).floor_per_second(7).ratio(Ratio::percent(30));
        let budget = Budget::new(settings);
        let (requests, kept) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..4 {
                let (budget, requests, kept) = (budget.clone(), &requests, &kept);
                scope.spawn(move || {
                    for n in 0..250_u32 {
                        if (n + thread) % 3 == 0 {
                            requests.fetch_add(1, Ordering::Relaxed);
                            budget.deposit();
                        }
                        // Each thread has a clock of its own that runs ahead of or behind the others.
                        let now = start + Duration::from_millis(u64::from(n * 10 + thread * 7));
                        match budget.try_withdraw(now, 1) {
                            Some(withdrawal) if (n + round) % 4 != 0 => {
                                withdrawal.spend();
                                kept.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => {}
                        }
                    }
                });
            }
        });
        // The last instant anybody named is 2 511 ms after the start.
        let earned = 3 * TOKEN + 2_511 * 7 * TOKEN / 1_000;
        let bound = earned + u128::from(requests.into_inner()) * 300_000;
        let kept = u128::from(kept.into_inner());
        assert!(kept * TOKEN <= bound, "round {round}: {kept} kept");
        let stats = budget.stats();
        assert_eq!(u128::from(stats.granted - stats.refunded), kept);
        // And it is not merely stingy: whoever asks at the end gets the rest.
        let end = start + Duration::from_secs(3_600);
        assert_eq!((0..10).filter_map(|_| budget.try_withdraw(end, 1)).map(|w| w.spend()).count(), 3);
    }
}
