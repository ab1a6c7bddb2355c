//! Every interleaving of a few threads, explored by loom.
//!
//! Run with `RUSTFLAGS="--cfg stonework_loom" cargo test --release --test interleavings`.
#![cfg(stonework_loom)]

use std::time::Duration;

use loom::thread;
use stonework::base::{Budget, BudgetSettings, Ratio};
use tokio::time::Instant;

/// `reserve` retries, nothing from time, and half a retry from each request.
fn budget(reserve: u32) -> Budget {
    let settings = BudgetSettings::default().floor_per_second(0).ratio(Ratio::percent(50));
    Budget::new(settings.reserve(reserve))
}

/// Whether a retry was granted; it is spent at once.
fn spend(budget: &Budget, now: Instant) -> bool {
    budget.try_withdraw(now, 1).map(|withdrawal| withdrawal.spend()).is_some()
}

fn count(threads: Vec<thread::JoinHandle<bool>>) -> usize {
    threads.into_iter().map(|thread| thread.join().unwrap()).filter(|granted| *granted).count()
}

#[test]
fn three_withdrawals_of_the_last_token_grant_exactly_one() {
    loom::model(|| {
        let (budget, now) = (budget(1), Instant::now());
        let ask = |_| {
            let budget = budget.clone();
            thread::spawn(move || spend(&budget, now))
        };
        let threads: Vec<_> = (0..2).map(ask).collect();
        let own = spend(&budget, now);
        assert_eq!(count(threads) + usize::from(own), 1);
    });
}

#[test]
fn the_floor_is_credited_once_however_many_ask_for_it() {
    loom::model(|| {
        let settings = BudgetSettings::default().reserve(0).floor_per_second(1).ratio(Ratio::ZERO);
        let budget = Budget::new(settings);
        let now = Instant::now() + Duration::from_secs(1);
        let ask = |late| {
            let budget = budget.clone();
            // Their clocks differ a little, as those of two cores that were stopped in between do.
            thread::spawn(move || spend(&budget, now + Duration::from_millis(late)))
        };
        let threads: Vec<_> = (0..2).map(ask).collect();
        let own = spend(&budget, now);
        assert_eq!(count(threads) + usize::from(own), 1);
    });
}

#[test]
fn deposits_that_race_a_withdrawal_are_neither_lost_nor_doubled() {
    loom::model(|| {
        let (budget, now) = (budget(1), Instant::now());
        assert!(spend(&budget, now));
        let threads = (0..2).map(|_| {
            let budget = budget.clone();
            thread::spawn(move || budget.deposit())
        });
        let threads: Vec<_> = threads.collect();
        let early = spend(&budget, now);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let late = spend(&budget, now);
        assert!(early ^ late, "two halves make one retry");
        assert!(!spend(&budget, now));
    });
}

#[test]
fn a_refund_that_races_a_withdrawal_and_a_deposit_gives_back_one_token() {
    loom::model(|| {
        let (budget, now) = (budget(2), Instant::now());
        let held = budget.try_withdraw(now, 1).unwrap();
        assert!(spend(&budget, now));
        let refund = thread::spawn(move || drop(held));
        let other = budget.clone();
        let deposit = thread::spawn(move || other.deposit());
        let early = spend(&budget, now);
        refund.join().unwrap();
        deposit.join().unwrap();
        let late = spend(&budget, now);
        assert!(early ^ late, "one and a half make one retry");
        assert!(!spend(&budget, now));
    });
}

#[test]
fn refunds_and_deposits_at_the_brim_never_overfill() {
    loom::model(|| {
        let (budget, now) = (budget(1), Instant::now());
        let held = budget.try_withdraw(now, 1).unwrap();
        let refund = thread::spawn(move || drop(held));
        let other = budget.clone();
        let deposit = thread::spawn(move || other.deposit());
        budget.deposit();
        refund.join().unwrap();
        deposit.join().unwrap();
        assert!(spend(&budget, now));
        assert!(!spend(&budget, now), "no more than the reserve is saved up");
    });
}
