//! Every interleaving of a few threads, explored by loom.
//!
//! Run with `RUSTFLAGS="--cfg stonework_loom" cargo test --release --test interleavings`.
#![cfg(stonework_loom)]

use std::time::Duration;

use loom::thread;
use stonework::base::{Backoff, Budget, BudgetSettings, CircuitState, Outcome, Ratio};
use stonework::breaker::{Breaker, BreakerSettings};
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

// ───────────────────────────────────────────────────────────────────────────── a circuit

/// Opens at half of two calls; its open time is over at once; one probe.
fn circuit(window_of_calls: bool) -> Breaker {
    let open_time = Backoff::constant(Duration::from_nanos(1)).unwrap();
    let settings = BreakerSettings::new().min_calls(2).open_time(open_time);
    Breaker::new(if window_of_calls { settings.window_of_calls(2) } else { settings }).unwrap()
}

fn settle(breaker: &Breaker, outcome: Outcome) -> impl FnOnce() -> bool + use<> {
    let permit = breaker.try_acquire().expect("closed");
    move || {
        permit.settle(outcome);
        true
    }
}

#[test]
fn two_calls_that_end_together_open_a_circuit_exactly_once_in_whatever_order() {
    for window_of_calls in [false, true] {
        for other in [Outcome::Failure, Outcome::Success] {
            loom::model(move || {
                let breaker = circuit(window_of_calls);
                let their = breaker.clone();
                // Each counts on its own lane, and sums up both.
                let thread = thread::spawn(move || settle(&their, other)());
                settle(&breaker, Outcome::Failure)();
                thread.join().unwrap();
                assert_eq!((breaker.state(), breaker.stats().opened()), (CircuitState::Open, 1));
            });
        }
    }
}

#[test]
fn a_result_that_races_the_change_of_the_circuit_counts_before_it_or_not_at_all() {
    loom::model(|| {
        let breaker = circuit(false);
        let late = settle(&breaker, Outcome::Failure);
        let thread = thread::spawn(late);
        // As new: what was begun before is of no account.
        breaker.reset();
        thread.join().unwrap();
        assert_eq!(breaker.stats().calls(), 0);
        settle(&breaker, Outcome::Failure)();
        assert_eq!(breaker.state(), CircuitState::Closed, "one call of two");
    });
}

#[test]
fn one_of_two_calls_that_come_together_probes() {
    loom::model(|| {
        let breaker = circuit(false);
        settle(&breaker, Outcome::Failure)();
        settle(&breaker, Outcome::Failure)();
        let other = breaker.clone();
        let ask = thread::spawn(move || other.try_acquire());
        let (own, their) = (breaker.try_acquire(), ask.join().unwrap());
        assert!(own.is_ok() ^ their.is_ok());
        assert_eq!(breaker.stats().probes(), 1);
    });
}

#[test]
fn a_probe_that_goes_away_while_another_call_comes_leaves_a_place() {
    loom::model(|| {
        let breaker = circuit(false);
        settle(&breaker, Outcome::Failure)();
        settle(&breaker, Outcome::Failure)();
        let probe = breaker.try_acquire().expect("its time is over");
        let leave = thread::spawn(move || drop(probe));
        let came = breaker.try_acquire();
        leave.join().unwrap();
        assert!(came.is_ok() ^ breaker.try_acquire().is_ok(), "one place, and it is not lost");
    });
}
