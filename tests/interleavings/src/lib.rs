//! Every interleaving of a few threads, explored by loom. A package of its own, so that little is built with these flags.
//!
//! Run with `RUSTFLAGS="--cfg stonework_loom" cargo test --release --package stonework-interleavings`.
#![cfg(all(test, stonework_loom))]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use loom::thread;
use stonework::balance::{Balancer, BalancerSettings, OutlierSettings};
use stonework::base::{Backoff, Budget, BudgetSettings, CircuitState, EndpointState, Outcome, Plain, Ratio};
use stonework::breaker::{Breaker, BreakerSettings};
use stonework::coalesce::{CoalesceFuture, CoalesceLayer};
use stonework::idempotency::{
    AfterCrash, Begun, Final, Fingerprint, Held, MemoryStore as Keys, NewClaim, Owner, Scope, Store,
};
use stonework::limit::{
    AdaptiveThrottle, Admission, Concurrency, ConcurrencyLimitLayer, ConcurrencyLimiter, Gated, Quota,
    RateLimiter, ThrottleSettings,
};
use stonework::pool::{Manage, Pool, PoolSettings, Pooled};
use tokio::time::Instant;
use tower::Layer;

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

// ───────────────────────────────────────────────────────────────────────────── limits

/// Two at once, and no more for an hour.
fn limiter() -> RateLimiter {
    RateLimiter::new(Quota::per_hour(1).burst(2)).unwrap()
}

#[test]
fn three_that_want_the_last_two_of_a_quota_are_two_that_get_it() {
    loom::model(|| {
        let (limiter, now) = (limiter(), Instant::now());
        let ask = |_| {
            let limiter = limiter.clone();
            thread::spawn(move || limiter.try_take_at(now, 1).is_ok())
        };
        let threads: Vec<_> = (0..2).map(ask).collect();
        let own = limiter.try_take_at(now, 1).is_ok();
        assert_eq!(count(threads) + usize::from(own), 2);
    });
}

#[test]
fn a_quota_that_is_given_back_is_there_for_exactly_one_other() {
    loom::model(|| {
        let limiter = limiter();
        let mine = limiter.reserve(1, Duration::ZERO).unwrap();
        assert!(limiter.try_take(1).is_ok());
        let back = thread::spawn(move || drop(mine));
        let other = limiter.clone();
        let early = thread::spawn(move || other.try_take(1).is_ok());
        let early = early.join().unwrap();
        back.join().unwrap();
        let late = limiter.try_take(1).is_ok();
        assert!(early ^ late, "one came back");
    });
}

#[test]
fn a_quota_that_is_changed_under_way_is_never_half_of_one_and_half_of_the_other() {
    loom::model(|| {
        let limiter = RateLimiter::new(Quota::per_hour(1)).unwrap();
        let now = Instant::now();
        let changing = limiter.clone();
        let change = thread::spawn(move || changing.set_quota(Quota::per_second(1)).is_ok());
        let first = limiter.try_take_at(now, 1);
        // Half of one and half of the other would be thousands at once.
        assert!(first.is_ok_and(|allowed| allowed.left() == 0));
        assert!(change.join().unwrap());
        assert!(limiter.try_take_at(now, 1).is_err(), "what was spent stays spent");
    });
}

#[test]
fn what_is_decided_by_the_old_quota_is_not_written_over_the_new_one() {
    loom::model(|| {
        let limiter = RateLimiter::new(Quota::per_hour(1)).unwrap();
        let now = Instant::now();
        let changing = limiter.clone();
        let change = thread::spawn(move || changing.set_quota(Quota::per_second(10)).is_ok());
        assert!(limiter.try_take_at(now, 1).is_ok());
        assert!(change.join().unwrap());
        // By the old quota, the next would have to wait for an hour.
        let later = now + Duration::from_millis(200);
        assert!(limiter.try_take_at(later, 1).is_ok());
    });
}

#[test]
fn what_is_decided_in_the_old_window_counts_in_the_new_quota() {
    loom::model(|| {
        let limiter = RateLimiter::new(Quota::per_hour(1).strict()).unwrap();
        let now = Instant::now();
        let changing = limiter.clone();
        let change = thread::spawn(move || changing.set_quota(Quota::per_hour(1)).is_ok());
        assert!(limiter.try_take_at(now, 1).is_ok());
        assert!(change.join().unwrap());
        assert!(limiter.try_take_at(now, 1).is_err(), "what was spent stays spent");
    });
}

/// A service that waits until there is room, and what its task would be woken by.
struct Waits {
    service: Gated<Nothing, Concurrency<ConcurrencyLimiter>, Plain>,
    woken: std::sync::Arc<Woken>,
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Nothing;

impl tower::Service<()> for Nothing {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<(), std::convert::Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

impl Waits {
    fn on(limiter: &ConcurrencyLimiter) -> Self {
        let layer = ConcurrencyLimitLayer::from(limiter.clone()).admission(Admission::Backpressure).plain();
        Self { service: layer.layer(Nothing), woken: std::sync::Arc::default() }
    }

    fn is_ready(&mut self) -> bool {
        let waker = std::sync::Arc::clone(&self.woken).into();
        tower::Service::poll_ready(&mut self.service, &mut Context::from_waker(&waker)).is_ready()
    }

    fn was_woken(&self) -> bool {
        self.woken.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn who_waits_is_called_when_the_last_permit_comes_back_whenever_that_is() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let permit = limiter.try_acquire().unwrap();
        let leave = thread::spawn(move || drop(permit));
        let mut waits = Waits::on(&limiter);
        let at_once = waits.is_ready();
        leave.join().unwrap();
        assert!(at_once || (waits.was_woken() && waits.is_ready()), "nobody called");
        assert!(limiter.try_acquire().is_none());
        drop(waits);
        assert!(limiter.try_acquire().is_some(), "what was reserved comes back");
    });
}

#[test]
fn a_permit_is_not_lost_when_who_waits_for_it_gives_up() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let permit = limiter.try_acquire().unwrap();
        let (mut first, mut second) = (Waits::on(&limiter), Waits::on(&limiter));
        assert!(!first.is_ready() && !second.is_ready());
        let leave = thread::spawn(move || drop(permit));
        let give_up = thread::spawn(move || drop(first));
        leave.join().unwrap();
        give_up.join().unwrap();
        assert!(second.was_woken() && second.is_ready());
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (1, 0));
    });
}

#[test]
fn two_that_leave_and_one_that_raises_the_limit_let_everybody_in_and_nobody_twice() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let permit = limiter.try_acquire().unwrap();
        let (mut first, mut second) = (Waits::on(&limiter), Waits::on(&limiter));
        assert!(!first.is_ready() && !second.is_ready());
        let leave = thread::spawn(move || drop(permit));
        let raising = limiter.clone();
        let raise = thread::spawn(move || raising.set_limit(2));
        leave.join().unwrap();
        raise.join().unwrap();
        assert!(first.was_woken() && second.was_woken());
        assert!(first.is_ready() && second.is_ready());
        assert_eq!(limiter.in_flight(), 2);
        drop((first, second));
        assert_eq!(limiter.in_flight(), 0);
    });
}

#[test]
fn no_more_than_the_limit_get_in_however_they_race() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let ask = |_| {
            let limiter = limiter.clone();
            thread::spawn(move || {
                let permit = limiter.try_acquire();
                let got = permit.is_some();
                assert!(limiter.in_flight() <= 1);
                drop(permit);
                got
            })
        };
        let threads: Vec<_> = (0..2).map(ask).collect();
        assert!(count(threads) >= 1, "one of them was first");
        assert_eq!(limiter.in_flight(), 0);
    });
}

/// A call that waits in the queue that never gets old, and what its task would be woken by.
struct Queues {
    call: Option<
        Pin<Box<<Gated<Nothing, Concurrency<ConcurrencyLimiter>, Plain> as tower::Service<()>>::Future>>,
    >,
    woken: std::sync::Arc<Woken>,
}

impl Queues {
    fn on(limiter: &ConcurrencyLimiter) -> Self {
        let mut service = ConcurrencyLimitLayer::from(limiter.clone()).queue().plain().layer(Nothing);
        let call = Some(Box::pin(tower::Service::call(&mut service, ())));
        Self { call, woken: std::sync::Arc::default() }
    }

    /// Whether the call has come in and ended, with a permit that it gave back.
    fn has_ended(&mut self) -> bool {
        // Timers are asked for, and never fire.
        static TIMERS: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
        let timers = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = TIMERS.get_or_init(timers).enter();
        let waker = std::sync::Arc::clone(&self.woken).into();
        let Some(call) = &mut self.call else { return true };
        match call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => false,
            Poll::Ready(answer) => {
                answer.expect("nobody is refused");
                self.call = None;
                true
            }
        }
    }

    fn was_woken(&self) -> bool {
        self.woken.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn who_stands_in_line_is_called_when_the_last_permit_comes_back_whenever_that_is() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let permit = limiter.try_acquire().unwrap();
        let leave = thread::spawn(move || drop(permit));
        let mut queues = Queues::on(&limiter);
        let at_once = queues.has_ended();
        leave.join().unwrap();
        assert!(at_once || (queues.was_woken() && queues.has_ended()), "nobody called");
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
    });
}

#[test]
fn a_permit_is_not_lost_when_who_stands_in_line_for_it_goes() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let permit = limiter.try_acquire().unwrap();
        let (mut first, mut second) = (Queues::on(&limiter), Queues::on(&limiter));
        assert!(!first.has_ended() && !second.has_ended());
        let leave = thread::spawn(move || drop(permit));
        let go = thread::spawn(move || drop(first));
        leave.join().unwrap();
        go.join().unwrap();
        assert!(second.was_woken() && second.has_ended());
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
    });
}

#[test]
fn who_waits_in_turn_and_who_stands_in_line_are_both_let_in_and_nobody_twice() {
    loom::model(|| {
        let limiter = ConcurrencyLimiter::new(1).unwrap();
        let permit = limiter.try_acquire().unwrap();
        let (mut turn, mut line) = (Waits::on(&limiter), Queues::on(&limiter));
        assert!(!turn.is_ready() && !line.has_ended());
        let leave = thread::spawn(move || drop(permit));
        let raising = limiter.clone();
        let raise = thread::spawn(move || raising.set_limit(2));
        leave.join().unwrap();
        raise.join().unwrap();
        assert!(turn.was_woken() && turn.is_ready());
        assert!(line.was_woken() && line.has_ended());
        drop(turn);
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
    });
}

// ───────────────────────────────────────────────────────────────────────────── a pool

/// Counts those that are closed. None is ever connected: there is no runtime, and so nobody who could.
struct Counted(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

struct ByHand;

impl Manage for ByHand {
    type Object = Counted;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<Counted, Self::Error> {
        std::future::pending().await
    }
}

/// A pool of one, which was made elsewhere, with nothing for which a clock would be needed; and how many were closed.
fn pool_of_one() -> (Pool<ByHand>, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let settings = PoolSettings::new().max(1).without_wait_timeout().without_checks();
    let settings = settings.without_idle_timeout().without_lifetime();
    let pool = Pool::builder(ByHand).settings(settings).build().unwrap();
    let closed = std::sync::Arc::default();
    assert!(pool.add(Counted(std::sync::Arc::clone(&closed))).is_ok());
    (pool, closed)
}

type Got = Result<Pooled<ByHand>, stonework::Error>;

/// Somebody who wants one, polled by hand.
struct Gets {
    getting: Pin<Box<dyn Future<Output = Got> + Send>>,
    woken: std::sync::Arc<Woken>,
}

impl Gets {
    fn from(pool: &Pool<ByHand>) -> Self {
        let pool = pool.clone();
        Self { getting: Box::pin(async move { pool.get().await }), woken: std::sync::Arc::default() }
    }

    fn poll(&mut self) -> Option<Got> {
        let waker = std::sync::Arc::clone(&self.woken).into();
        match self.getting.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(got) => Some(got),
            Poll::Pending => None,
        }
    }

    fn was_woken(&self) -> bool {
        self.woken.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn who_asks_while_one_is_put_back_gets_it_at_once_or_is_called() {
    loom::model(|| {
        let (pool, _) = pool_of_one();
        let held = pool.try_get().unwrap();
        let release = thread::spawn(move || held.put_back());
        let mut asks = Gets::from(&pool);
        let at_once = asks.poll();
        release.join().unwrap();
        let got = at_once.or_else(|| if asks.was_woken() { asks.poll() } else { None });
        got.expect("nobody called").unwrap().put_back();
        assert_eq!((pool.stats().idle(), pool.stats().waiting()), (1, 0));
    });
}

#[test]
fn what_is_handed_to_somebody_who_gives_up_goes_to_the_next() {
    loom::model(|| {
        let (pool, _) = pool_of_one();
        let held = pool.try_get().unwrap();
        let (mut first, mut second) = (Gets::from(&pool), Gets::from(&pool));
        assert!(first.poll().is_none() && second.poll().is_none());
        let release = thread::spawn(move || held.put_back());
        let give_up = thread::spawn(move || drop(first));
        release.join().unwrap();
        give_up.join().unwrap();
        assert!(second.was_woken());
        let got = second.poll().expect("its turn").unwrap();
        assert_eq!((pool.stats().in_use(), pool.stats().waiting()), (1, 0));
        got.put_back();
    });
}

#[test]
fn of_two_who_wait_the_first_gets_what_is_put_back_and_then_the_second() {
    loom::model(|| {
        let (pool, _) = pool_of_one();
        let held = pool.try_get().unwrap();
        let (mut first, mut second) = (Gets::from(&pool), Gets::from(&pool));
        assert!(first.poll().is_none() && second.poll().is_none());
        let release = thread::spawn(move || held.put_back());
        // Both look again, woken or not, and somebody comes who does not want to wait.
        let looks = thread::spawn(move || {
            let early = second.poll();
            assert!(early.is_none(), "it overtook");
            second
        });
        assert!(pool.try_get().is_none(), "it overtook");
        let early = first.poll();
        release.join().unwrap();
        let mut second = looks.join().unwrap();
        assert!(early.is_some() || first.was_woken());
        let got = early.or_else(|| first.poll()).expect("its turn").unwrap();
        assert!(!second.was_woken());
        got.put_back();
        assert!(second.was_woken());
        second.poll().expect("its turn").unwrap().put_back();
    });
}

#[test]
fn what_is_put_back_while_the_pool_is_closed_is_closed_once_and_who_waits_is_told() {
    loom::model(|| {
        let (pool, closed) = pool_of_one();
        let held = pool.try_get().unwrap();
        let mut waits = Gets::from(&pool);
        assert!(waits.poll().is_none());
        let release = thread::spawn(move || held.put_back());
        let mut ends = Box::pin(pool.close());
        let woken = std::sync::Arc::new(Woken::default());
        let waker = std::sync::Arc::clone(&woken).into();
        let mut cx = Context::from_waker(&waker);
        let ended = ends.as_mut().poll(&mut cx).is_ready();
        release.join().unwrap();
        assert!(waits.was_woken());
        // It was handed over before the end began, or it is refused.
        drop(waits.poll().expect("it is told"));
        assert!(ended || woken.0.load(std::sync::atomic::Ordering::SeqCst), "nobody told of the end");
        assert!(ended || ends.as_mut().poll(&mut cx).is_ready());
        assert_eq!((closed.load(std::sync::atomic::Ordering::SeqCst), pool.stats().open()), (1, 0));
    });
}

#[test]
fn what_is_put_back_while_the_last_handle_goes_is_closed_once() {
    loom::model(|| {
        let (pool, closed) = pool_of_one();
        let held = pool.try_get().unwrap();
        let release = thread::spawn(move || held.put_back());
        drop(pool);
        release.join().unwrap();
        assert_eq!(closed.load(std::sync::atomic::Ordering::SeqCst), 1);
    });
}

// ───────────────────────────────────────────────────────────────────────────── idempotency keys

const KEY: Scope = Scope::from_bytes([1; 32]);

/// By this owner, whose lease is over at once.
fn claim(owner: u8) -> NewClaim {
    NewClaim {
        fingerprint: Fingerprint::from_bytes([2; 32]),
        owner: Owner::from_bytes([owner; 16]),
        lease: Duration::ZERO,
        keep: Duration::from_secs(3600),
        after_crash: AfterCrash::Rerun,
    }
}

/// By this owner, for as long as a model takes.
fn lasting(owner: u8) -> NewClaim {
    NewClaim { lease: Duration::from_secs(3600), ..claim(owner) }
}

/// A store in memory answers at once.
fn now<T>(asked: impl Future<Output = Result<T, stonework::base::BoxError>>) -> T {
    let mut asked = std::pin::pin!(asked);
    match asked.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(answer) => answer.expect("it is there"),
        Poll::Pending => panic!("it waits"),
    }
}

fn done() -> Final {
    Final::Record("done".into())
}

#[test]
fn of_three_who_begin_at_once_one_runs() {
    loom::model(|| {
        let store = Keys::new();
        let begin = |owner| {
            let store = store.clone();
            thread::spawn(move || now(store.begin(KEY, &lasting(owner))) == Begun::Run { fence: 1 })
        };
        let threads: Vec<_> = (1..3).map(begin).collect();
        let own = now(store.begin(KEY, &lasting(3))) == Begun::Run { fence: 1 };
        assert_eq!(count(threads) + usize::from(own), 1);
    });
}

#[test]
fn who_comes_late_and_who_takes_over_are_never_both_told_that_it_is_theirs() {
    loom::model(|| {
        let store = Keys::new();
        assert_eq!(now(store.begin(KEY, &claim(1))), Begun::Run { fence: 1 });
        let late = store.clone();
        let late = thread::spawn(move || now(late.complete(&claim(1).won(KEY, 1), &done())));
        let renews = store.clone();
        let renews = thread::spawn(move || now(renews.renew(&claim(1).won(KEY, 1))));
        let taken = now(store.begin(KEY, &claim(2)));
        let (late, renewed) = (late.join().unwrap(), renews.join().unwrap());
        match taken {
            Begun::Run { fence: 2 } => assert_eq!(late, Held::Lost),
            Begun::Ended(end) => assert_eq!((end, late), (done(), Held::Yes)),
            other => panic!("{other:?}"),
        }
        assert!(renewed != Held::Ended || late == Held::Yes);
    });
}

#[test]
fn whoever_waits_for_a_key_that_ends_meanwhile_is_woken_or_sees_it() {
    loom::model(|| {
        let store = Keys::new();
        assert_eq!(now(store.begin(KEY, &lasting(1))), Begun::Run { fence: 1 });
        let mut waits = Box::pin(store.ended(KEY));
        let ends = store.clone();
        let ends = thread::spawn(move || now(ends.complete(&lasting(1).won(KEY, 1), &done())));
        let other = store.clone();
        let gone = thread::spawn(move || {
            let mut gives_up = Box::pin(other.ended(KEY));
            let _ = gives_up.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        });
        let woken = std::sync::Arc::new(Woken::default());
        let waker = std::sync::Arc::clone(&woken).into();
        let early = waits.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        assert_eq!(ends.join().unwrap(), Held::Yes);
        gone.join().unwrap();
        let was_woken = woken.0.load(std::sync::atomic::Ordering::SeqCst);
        assert!(early || was_woken, "nobody told it");
        assert!(early || waits.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    });
}

// ───────────────────────────────────────────────────────────────────────────── a balancer

/// Answers with its name, or fails.
#[derive(Clone)]
struct Named(std::sync::Arc<str>);

impl tower::Service<bool> for Named {
    type Response = std::sync::Arc<str>;
    type Error = stonework::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, fails: bool) -> Self::Future {
        let error = || stonework::Error::new(stonework::base::Kind::Transport, "on purpose");
        std::future::ready(if fails { Err(error()) } else { Ok(self.0.clone()) })
    }
}

/// One failure is enough to be left out, if it may be.
fn balancer(names: &[&str]) -> Balancer<Named> {
    let outliers = OutlierSettings::new().consecutive_failures(1);
    let settings =
        BalancerSettings::new().outliers(outliers).without_wait_for_endpoint().without_slow_start();
    let settings = settings.pick(stonework::balance::Pick::WeightedRoundRobin);
    let builder = Balancer::builder(|id| Named(id.as_str().into())).members(names.iter().copied());
    builder.settings(settings).rng(stonework::base::Rng::seeded(1)).build().unwrap()
}

/// Who answered, at once.
fn ask(balancer: &Balancer<Named>, fails: bool) -> Option<std::sync::Arc<str>> {
    let judge = |result: Result<&std::sync::Arc<str>, &stonework::Error>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    let mut service = balancer.service().classify(judge).plain();
    let mut call = std::pin::pin!(tower::Service::call(&mut service, fails));
    match call.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(answer) => answer.ok(),
        Poll::Pending => panic!("it is ready at once"),
    }
}

#[test]
fn a_pick_that_races_a_removal_meets_one_that_is_there_and_nothing_stays_under_way() {
    loom::model(|| {
        let balancer = balancer(&["a", "b"]);
        let other = balancer.clone();
        let removal = thread::spawn(move || other.set(["b", "c"]));
        let picked = ask(&balancer, false).expect("somebody is there all the time");
        assert!(["a", "b", "c"].contains(&&*picked));
        removal.join().unwrap();
        for _ in 0..3 {
            assert_ne!(&*ask(&balancer, false).unwrap(), "a", "it was gone before");
        }
        assert!(balancer.stats().endpoints().iter().all(|one| one.in_flight() == 0));
    });
}

#[test]
fn of_two_endpoints_that_fail_at_once_one_is_left_out_and_one_is_not() {
    loom::model(|| {
        let balancer = balancer(&["a", "b"]);
        let other = balancer.clone();
        let failing = thread::spawn(move || ask(&other, true));
        assert!(ask(&balancer, true).is_none());
        assert!(failing.join().unwrap().is_none());
        let stats = balancer.stats();
        let left_out = stats.endpoints().iter().filter(|one| one.state() == EndpointState::Ejected).count();
        assert_eq!(left_out, 1);
    });
}

#[test]
fn what_threads_ask_of_a_throttle_at_once_is_counted_once_each() {
    loom::model(|| {
        let settings = ThrottleSettings::new().min_requests(0).max_rejection(Ratio::percent(99));
        let throttle = AdaptiveThrottle::new(settings).unwrap();
        // Whether it is sent or held back, nobody takes it.
        let refused = |throttle: &AdaptiveThrottle| {
            if let Ok(sent) = throttle.try_send() {
                sent.settle(Outcome::Overload);
            }
        };
        let other = throttle.clone();
        let thread = thread::spawn(move || refused(&other));
        // One that was taken back, as if it had not been.
        drop(throttle.try_send());
        refused(&throttle);
        thread.join().unwrap();
        let all = [2.0 / 3.0, 3.0 / 4.0].map(|share| Ratio::try_from(share).unwrap());
        assert!(all.contains(&throttle.chance()), "{}", throttle.chance());
    });
}

// ───────────────────────────────────────────────────────────────────────────── one call for all

type Asked = http::Request<http_body_util::Empty<bytes::Bytes>>;
type Answer = http::Response<http_body_util::Empty<bytes::Bytes>>;
type Call =
    CoalesceFuture<WhenTold, http_body_util::Empty<bytes::Bytes>, http_body_util::Empty<bytes::Bytes>>;

/// A service that answers when it is told to.
#[derive(Clone, Default)]
struct WhenTold(std::sync::Arc<loom::sync::Mutex<(bool, Option<std::task::Waker>)>>);

impl WhenTold {
    fn tell(&self) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            state.1.take()
        };
        waker.into_iter().for_each(std::task::Waker::wake);
    }
}

impl tower::Service<Asked> for WhenTold {
    type Response = Answer;
    type Error = std::convert::Infallible;
    type Future = Self;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Asked) -> Self {
        self.clone()
    }
}

impl Future for WhenTold {
    type Output = Result<Answer, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(Ok(Answer::default()));
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One who asks, and what their task would be woken by.
struct Asks {
    call: Pin<Box<Call>>,
    woken: std::sync::Arc<Woken>,
}

impl Asks {
    fn of(service: &mut impl tower::Service<Asked, Future = Call>) -> Self {
        Self { call: Box::pin(service.call(Asked::default())), woken: std::sync::Arc::default() }
    }

    /// Whether the answer is there.
    fn poll(&mut self) -> bool {
        self.woken.0.store(false, std::sync::atomic::Ordering::SeqCst);
        let waker = std::sync::Arc::clone(&self.woken).into();
        match self.call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => answer.map(|answer| assert_eq!(answer.status(), 200)).is_ok(),
            Poll::Pending => false,
        }
    }

    fn was_woken(&self) -> bool {
        self.woken.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn who_shares_a_call_is_told_of_its_answer_although_another_drives_it_and_leaves_at_any_moment() {
    loom::model(|| {
        let told = WhenTold::default();
        let mut service = CoalesceLayer::new().layer(told.clone());
        let (mut one, mut other) = (Asks::of(&mut service), Asks::of(&mut service));
        let leaves = thread::spawn(move || {
            one.poll();
            drop(one);
        });
        let tells = thread::spawn(move || told.tell());
        let mut answered = other.poll();
        leaves.join().unwrap();
        tells.join().unwrap();
        if !answered {
            assert!(other.was_woken(), "nobody else is left");
            answered = other.poll();
        }
        assert!(answered);
    });
}
