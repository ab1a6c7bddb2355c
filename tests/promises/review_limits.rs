//! What a review of the limits found.

use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use stonework::client::{Client, ClientSettings};
use stonework::limit::{
    ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings, KeyedRateLimiter, MemoryStore, Quota,
    RateLimitLayer, RateLimiter, SharedRateLimiter,
};
use stonework::retry::ResumeSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::soon;

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

// Outside of a runtime, tokio's clock is the real one.
#[test]
fn a_full_window_of_many_is_refused_about_as_fast_as_one_of_few() {
    let time = |amount: u32| {
        let limiter = RateLimiter::new(Quota::per_hour(amount).strict()).unwrap();
        let start = Instant::now();
        for nanos in 0..amount {
            limiter.try_take_at(start + Duration::from_nanos(nanos.into()), 1).unwrap();
        }
        let (later, began) = (start + SECOND, Instant::now());
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

#[tokio::test(start_paused = true)]
async fn what_was_held_until_it_was_earned_again_is_not_there_a_second_time() {
    for strict in [false, true] {
        let quota = Quota::per_second(3);
        let limiter = RateLimiter::new(if strict { quota.strict() } else { quota }).unwrap();
        let held = limiter.reserve(3, SECOND).unwrap();
        advance(10 * SECOND).await;
        limiter.try_take(3).unwrap();
        drop(held);
        assert!(limiter.try_take(1).is_err(), "three in this second already, strict={strict}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_last_in_the_queue_leaves_no_gap() {
    for strict in [false, true] {
        let quota = Quota::per_second(1);
        let limiter = RateLimiter::new(if strict { quota.strict() } else { quota }).unwrap();
        limiter.try_take(1).unwrap();
        let waiting: Vec<_> = (0..5).map(|_| limiter.reserve(1, 60 * SECOND).unwrap()).collect();
        waiting.into_iter().rev().for_each(drop);
        assert_eq!(limiter.try_take(1).unwrap_err().retry_after(), Some(SECOND), "strict={strict}");
    }
}

/// Answers these, each on a connection of its own, which it then closes.
async fn answers(all: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in all {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(peer.read_u8().await.unwrap());
            }
            let _ = peer.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{addr}/")
}

#[tokio::test]
async fn another_attempt_or_the_rest_of_a_body_finds_the_only_place_free() {
    let settings = ClientSettings::new().concurrency(ConcurrencySettings::new(1)).without_queue();
    let large = "x".repeat(1 << 20);
    let refused =
        format!("HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\n\r\n{large}", large.len());
    let fine = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned();
    let uri = answers(vec![refused, fine]).await;
    let client = Client::builder().settings(settings.clone()).build().unwrap();
    let answer = soon(client.get(uri).send()).await.unwrap();
    assert_eq!(soon(answer.text()).await.unwrap(), "ok");

    let broken = "HTTP/1.1 200 OK\r\netag: \"1\"\r\naccept-ranges: bytes\r\ncontent-length: 10\r\n\r\n01234";
    let rest = "HTTP/1.1 206 Partial Content\r\netag: \"1\"\r\ncontent-range: bytes 5-9/10\r\ncontent-length: 5\r\nconnection: close\r\n\r\n56789";
    let uri = answers(vec![broken.to_owned(), rest.to_owned()]).await;
    let client = Client::builder().settings(settings.resume(ResumeSettings::new())).build().unwrap();
    let answer = soon(client.get(uri).send()).await.unwrap();
    assert_eq!(soon(answer.text()).await.unwrap(), "0123456789");
}

#[test]
fn of_several_limits_none_is_spent_by_what_another_refuses_however_many_ask_at_once() {
    let all = RateLimiter::named("all", Quota::per_hour(1_000)).unwrap();
    let clients = KeyedRateLimiter::named("client", Quota::per_hour(1)).unwrap();
    let layer = RateLimitLayer::keyed(clients, |(): &()| 7).and(all.clone()).plain();
    let service = layer.layer(service_fn(|(): ()| ready(Ok::<_, &'static str>(()))));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut service = service.clone();
                let nobody = &mut Context::from_waker(Waker::noop());
                for _ in 0..5_000 {
                    let _ = pin!(service.call(())).poll(nobody);
                }
            });
        }
    });
    assert_eq!(all.peek().left(), 999);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_in_the_middle_of_a_queue_does_not_starve_those_who_come_next() {
    let limiter = RateLimiter::new(Quota::per_second(10).burst(1)).unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let limiter = limiter.clone();
        callers.spawn(async move { matches!(timeout(SECOND, limiter.take(1, 5 * SECOND)).await, Ok(Ok(_))) });
        sleep(Duration::from_millis(50)).await;
    }
    let served = callers.join_all().await.into_iter().filter(|served| *served).count();
    assert!(served >= 450, "{served} of 500 that there were");
}
