//! What a review of the limits found.

use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use stonework::limit::{
    ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings, KeyedRateLimiter, MemoryStore, Quota,
    RateLimiter, SharedRateLimiter,
};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn clocks_of_two_threads_that_differ_a_little_cost_nobody_a_refusal() {
    let now = Instant::now() + SECOND;
    let earlier = now - Duration::from_nanos(40);
    let one = RateLimiter::new(Quota::per_second(100).strict()).unwrap();
    let keyed = KeyedRateLimiter::new(Quota::per_second(100).strict()).unwrap();
    one.try_take_at(now, 1).unwrap();
    keyed.try_take_at(now, &(), 1).unwrap();
    assert_eq!(one.try_take_at(earlier, 1).map(|allowed| allowed.left()), Ok(98));
    assert_eq!(keyed.try_take_at(earlier, &(), 1).map(|allowed| allowed.left()), Ok(98));
}

#[tokio::test(start_paused = true)]
async fn a_full_window_of_many_is_refused_about_as_fast_as_one_of_few() {
    let time = |amount: u32| {
        let limiter = RateLimiter::new(Quota::per_hour(amount).strict()).unwrap();
        let start = Instant::now();
        for nanos in 0..amount {
            limiter.try_take_at(start + Duration::from_nanos(nanos.into()), 1).unwrap();
        }
        let (later, began) = (start + SECOND, std::time::Instant::now());
        for _ in 0..1_000 {
            limiter.try_take_at(later, 1).unwrap_err();
        }
        began.elapsed()
    };
    let few = time(100).max(Duration::from_micros(500));
    let many = time(20_000);
    assert!(many < 20 * few, "{many:?} for many, {few:?} for few");
}

/// Pending once, then broken.
#[derive(Clone)]
struct Breaks(Arc<AtomicBool>);

impl Service<()> for Breaks {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if self.0.swap(true, Ordering::Relaxed) {
            return Poll::Ready(Err("broken"));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_free_when_the_call_has_failed_and_not_when_its_future_goes() {
    let limiter = ConcurrencyLimiter::new(1).unwrap();
    let mut service =
        ConcurrencyLimitLayer::from(limiter.clone()).plain().layer(Breaks(Arc::new(AtomicBool::new(false))));
    let mut call = pin!(service.ready().await.unwrap().call(()));
    call.as_mut().await.unwrap_err();
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_had_to_share_takes_along_what_was_spent_when_there_is_a_place_again() {
    let store = Arc::new(MemoryStore::with_most(1));
    let limiter = SharedRateLimiter::new(Arc::clone(&store), [Quota::per_minute(60)]).unwrap();
    limiter.take("first", 1).await.unwrap();
    limiter.take("shares", 60).await.unwrap();
    assert!(limiter.take("shares", 1).await.is_err());
    advance(2 * SECOND).await;
    let more = limiter.take("shares", 60).await;
    assert!(more.is_err(), "two were earned, not sixty: {more:?}");
    limiter.take("shares", 2).await.unwrap();
}

#[test]
fn a_waker_with_which_a_task_and_its_place_go_is_no_deadlock() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let limiter = ConcurrencyLimiter::new(ConcurrencySettings::new(1).queue(9)).unwrap();
        let permit = limiter.try_acquire();
        let nobody = &mut Context::from_waker(Waker::noop());
        for is_moved in [false, true] {
            let (waits, mine) = (limiter.clone(), limiter.clone());
            let mut work: Work = Box::pin(async move { drop(mine.acquire(SECOND).await) });
            assert!(work.as_mut().poll(nobody).is_pending());
            let task = Waker::from(Arc::new(Task(Mutex::new(Some(work)))));
            let mut place = Box::pin(waits.acquire(SECOND));
            assert!(place.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
            // From now on nothing but its waker holds the task, and with it another place in the same queue.
            drop(task);
            if is_moved {
                assert!(place.as_mut().poll(nobody).is_pending());
            }
        }
        drop(permit);
        done.send((limiter.in_flight(), limiter.waiting_count())).unwrap();
    });
    assert_eq!(is_done.recv_timeout(10 * SECOND), Ok((0, 0)));
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that lives as long as somebody may wake it.
struct Task(#[expect(dead_code, reason = "it is only held")] Mutex<Option<Work>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}
