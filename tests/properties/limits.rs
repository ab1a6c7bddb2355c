//! Limits against what they promise, and nothing else: lists of what was admitted.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stonework::limit::{
    ConcurrencyLimiter, ConcurrencySettings, KeyedRateLimiter, Overloaded, Permit, Quota, RateLimiter,
};
use tokio::time::{Instant, advance};

/// A runtime whose clock stands still.
fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// What was admitted: when, in nanoseconds, and how much.
#[derive(Default)]
struct Admitted(Vec<(u128, u32)>);

#[derive(Clone, Copy, Debug)]
struct Rule {
    interval: u128,
    burst: u32,
    amount: u32,
    per: u128,
    strict: bool,
}

impl Rule {
    fn quota(&self) -> Quota {
        let quota = Quota::new(self.amount, Duration::from_nanos(self.per as u64));
        if self.strict { quota.strict() } else { quota.burst(self.burst) }
    }
}

impl Admitted {
    /// Whether the promise allows `cost` at `now`, on top of what came before: for every stretch of time that ends now.
    fn allows(&self, rule: &Rule, now: u128, cost: u32) -> bool {
        let mut sum = u128::from(cost);
        let mut fits = |since: u128, more: u32| {
            sum += u128::from(more);
            if rule.strict {
                now - since >= rule.per || sum <= u128::from(rule.amount)
            } else {
                sum * rule.interval <= u128::from(rule.burst) * rule.interval + (now - since)
            }
        };
        cost == 0 || (fits(now, 0) && self.0.iter().rev().all(|(at, count)| fits(*at, *count)))
    }
}

prop_compose! {
    fn rule()(amount in 1_u32..20, per_ms in 1_u64..5_000, burst in 1_u32..30, strict in any::<bool>()) -> Rule {
        let per = u128::from(per_ms) * 1_000_000;
        Rule { interval: per.div_ceil(u128::from(amount)), burst, amount, per, strict }
    }
}

/// How long after the one before, which key, what it costs.
fn requests() -> impl Strategy<Value = Vec<(Duration, u8, u32)>> {
    let pause = prop_oneof![
        3 => Just(0_u64),
        4 => 0_u64..400_000_000,
        2 => 0_u64..5_000_000_000,
    ];
    let cost = prop_oneof![6 => Just(1_u32), 2 => 0_u32..6, 1 => 0_u32..40];
    prop::collection::vec((pause.prop_map(Duration::from_nanos), 0_u8..12, cost), 1..80)
}

proptest! {
    #[test]
    fn a_rate_limit_admits_exactly_what_its_bound_allows(rule in rule(), requests in requests()) {
        let _clock = paused();
        let _entered = _clock.enter();
        let limiter = RateLimiter::new(rule.quota()).unwrap();
        let (start, mut now) = (Instant::now(), Instant::now());
        let mut admitted = Admitted::default();
        for (pause, _, cost) in requests {
            now += pause;
            let at = (now - start).as_nanos();
            let allowed = admitted.allows(&rule, at, cost);
            let taken = limiter.try_take_at(now, cost);
            prop_assert_eq!(taken.is_ok(), allowed, "{:?} at {}: {:?}", rule, at, taken);
            if let Err(refused) = taken {
                // It says when: not a nanosecond later than it has to be.
                let most = if rule.strict { rule.amount } else { rule.burst };
                prop_assert_eq!(refused.retry_after().is_none(), cost > most);
                if let Some(wait) = refused.retry_after() {
                    prop_assert!(admitted.allows(&rule, at + wait.as_nanos(), cost));
                    prop_assert!(!admitted.allows(&rule, at + wait.as_nanos() - 1, cost));
                }
                prop_assert!(refused.left() < cost);
            } else {
                admitted.0.push((at, cost));
                let left = taken.unwrap().left();
                prop_assert!(admitted.allows(&rule, at, left) && !admitted.allows(&rule, at, left + 1));
            }
        }
    }

    #[test]
    fn no_key_gets_more_than_its_quota_however_few_are_kept(
        rule in rule(), requests in requests(), max_keys in 1_usize..16,
    ) {
        let _clock = paused();
        let _entered = _clock.enter();
        let limiter = KeyedRateLimiter::new(rule.quota()).unwrap().max_keys(max_keys);
        let (start, mut now) = (Instant::now(), Instant::now());
        let mut admitted: HashMap<u8, Admitted> = HashMap::new();
        for (pause, key, cost) in requests {
            now += pause;
            let at = (now - start).as_nanos();
            let of_key = admitted.entry(key).or_default();
            let allowed = of_key.allows(&rule, at, cost);
            let taken = limiter.try_take_at(now, &key, cost).is_ok();
            prop_assert!(allowed || !taken, "{:?}: {} too much for {} at {}", rule, cost, key, at);
            if max_keys >= 12 {
                prop_assert_eq!(taken, allowed, "there is a place for every key");
            }
            if taken {
                of_key.0.push((at, cost));
            }
            prop_assert!(limiter.len() <= max_keys);
        }
    }

    #[test]
    fn what_is_reserved_and_kept_stays_within_the_bound_and_what_is_dropped_is_there_again(
        rule in rule(), requests in requests(),
    ) {
        let _clock = paused();
        let _entered = _clock.enter();
        let limiter = RateLimiter::new(rule.quota()).unwrap();
        let start = Instant::now();
        let mut kept = Vec::new();
        paused().block_on(async {
            let limiter = RateLimiter::new(rule.quota()).unwrap();
            let start = Instant::now();
            for (pause, keep, cost) in requests {
                advance(pause).await;
                let Ok(mine) = limiter.reserve(cost, Duration::from_secs(3)) else { continue };
                assert!(mine.wait() <= Duration::from_secs(3));
                if keep % 3 > 0 {
                    kept.push(((mine.at() - start).as_nanos(), cost));
                    mine.spend();
                }
            }
            // Whatever was given back, all of it is there again in the end.
            advance(Duration::from_secs(1_000_000)).await;
            let most = if rule.strict { rule.amount } else { rule.burst };
            assert_eq!(limiter.peek().left(), most);
        });
        kept.sort_unstable();
        let mut admitted = Admitted::default();
        for (at, cost) in kept {
            prop_assert!(admitted.allows(&rule, at, cost), "{:?}: {} at {}", rule, cost, at);
            admitted.0.push((at, cost));
        }
        drop((limiter, start));
    }

    #[test]
    fn another_quota_never_admits_more_than_it_would_from_the_start(
        first in rule(), second in rule(), before in requests(), after in requests(),
    ) {
        let runtime = paused();
        runtime.block_on(async {
            let limiter = RateLimiter::new(first.quota()).unwrap();
            let keyed = KeyedRateLimiter::new(first.quota()).unwrap();
            for (pause, _, cost) in before {
                advance(pause).await;
                assert_eq!(limiter.try_take(cost).is_ok(), keyed.try_take(&(), cost).is_ok());
            }
            limiter.set_quota(second.quota()).unwrap();
            keyed.set_quota(second.quota()).unwrap();
            let start = Instant::now();
            let mut admitted = Admitted::default();
            for (pause, _, cost) in after {
                advance(pause).await;
                let at = start.elapsed().as_nanos();
                let taken = limiter.try_take(cost).is_ok();
                assert_eq!(taken, keyed.try_take(&(), cost).is_ok());
                if taken {
                    assert!(admitted.allows(&second, at, cost), "{second:?}: {cost} at {at}");
                    admitted.0.push((at, cost));
                }
            }
        });
    }
}

#[test]
fn threads_that_take_as_fast_as_they_can_get_what_the_bound_allows_and_no_less() {
    for strict in [false, true] {
        let _clock = paused();
        let _entered = _clock.enter();
        let quota = Quota::per_second(1_000);
        let limiter = RateLimiter::new(if strict { quota.strict() } else { quota }).unwrap();
        let keyed = KeyedRateLimiter::new(limiter.quota()).unwrap();
        let start = Instant::now();
        let (one, other) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for micros in 0..20_000 {
                        let now = start + Duration::from_micros(micros);
                        one.fetch_add(limiter.try_take_at(now, 1).is_ok().into(), Ordering::Relaxed);
                        other.fetch_add(keyed.try_take_at(now, &7, 1).is_ok().into(), Ordering::Relaxed);
                    }
                });
            }
        });
        let expected = if strict { 1_000 } else { 1_000 + 19 };
        for (admitted, what) in [(one, "one"), (other, "keyed")] {
            assert_eq!(admitted.load(Ordering::Relaxed), expected, "{what} strict={strict}");
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── how many at once

#[derive(Clone, Debug)]
enum Step {
    TryAcquire,
    /// Begin to wait.
    Wait,
    /// Stop waiting: one of those that wait.
    GiveUp(usize),
    /// Give a permit back.
    Leave(usize),
    SetLimit(usize),
    /// Look who was called.
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::TryAcquire),
        4 => Just(Step::Wait),
        2 => any::<usize>().prop_map(Step::GiveUp),
        5 => any::<usize>().prop_map(Step::Leave),
        1 => (0_usize..6).prop_map(Step::SetLimit),
        3 => Just(Step::Poll),
    ];
    prop::collection::vec(step, 1..150)
}

type Wish = Pin<Box<dyn Future<Output = Result<Permit, Overloaded>>>>;

proptest! {
    #[test]
    fn never_more_than_the_limit_are_in_flight_and_nobody_is_overtaken_or_forgotten(
        limit in 1_usize..5, queue in 0_usize..6, steps in steps(),
    ) {
        let runtime = paused();
        let _entered = runtime.enter();
        let mut cx = Context::from_waker(Waker::noop());
        let limiter = ConcurrencyLimiter::new(ConcurrencySettings::new(limit).queue(queue)).unwrap();
        let (mut limit, mut held) = (limit, Vec::new());
        // In the order of arrival.
        let mut waiting: Vec<Wish> = Vec::new();
        for step in steps {
            // Those called first come first, so nobody behind one who still waits is through.
            let mut poll = |waiting: &mut Vec<Wish>, held: &mut Vec<Permit>| {
                let mut still = Vec::new();
                for mut wish in waiting.drain(..) {
                    match wish.as_mut().poll(&mut cx) {
                        Poll::Ready(permit) => {
                            assert!(still.is_empty(), "overtook somebody");
                            held.push(permit.expect("there is time"));
                        }
                        Poll::Pending => still.push(wish),
                    }
                }
                *waiting = still;
            };
            match step {
                Step::TryAcquire => {
                    poll(&mut waiting, &mut held);
                    let permit = limiter.try_acquire();
                    prop_assert_eq!(permit.is_some(), held.len() < limit && waiting.is_empty());
                    held.extend(permit);
                }
                Step::Wait => {
                    poll(&mut waiting, &mut held);
                    let of_it = limiter.clone();
                    let mut wish: Wish =
                        Box::pin(async move { of_it.acquire(Duration::from_secs(1)).await });
                    match wish.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(Ok(permit)) => {
                            prop_assert!(held.len() < limit && waiting.is_empty());
                            held.push(permit);
                        }
                        Poll::Ready(Err(_)) => prop_assert_eq!(waiting.len(), queue),
                        Poll::Pending => {
                            prop_assert!(waiting.len() < queue);
                            waiting.push(wish);
                        }
                    }
                }
                Step::GiveUp(at) if !waiting.is_empty() => {
                    drop(waiting.remove(at % waiting.len()));
                }
                Step::Leave(at) if !held.is_empty() => {
                    drop(held.swap_remove(at % held.len()));
                }
                Step::SetLimit(to) => {
                    limit = to;
                    limiter.set_limit(to);
                }
                Step::GiveUp(_) | Step::Leave(_) => {}
                Step::Poll => poll(&mut waiting, &mut held),
            }
            prop_assert_eq!(limiter.limit(), limit);
        }
        // All that wait get in when those before them leave.
        limiter.set_limit(2);
        for _ in 0..=held.len() + waiting.len() {
            let mut still = Vec::new();
            for mut wish in waiting.drain(..) {
                match wish.as_mut().poll(&mut cx) {
                    Poll::Ready(permit) => held.push(permit.expect("there is time")),
                    Poll::Pending => still.push(wish),
                }
            }
            waiting = still;
            prop_assert!(!held.is_empty() || waiting.is_empty(), "somebody was forgotten");
            held.pop();
        }
        prop_assert!(held.is_empty() && waiting.is_empty());
        prop_assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
    }
}
