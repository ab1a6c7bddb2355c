//! What a limit promises that nobody has told a number: that it finds it, keeps it through what goes wrong, and forgets nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use stonework::base::Rng;
use stonework::limit::{
    AdaptiveSettings, Admission, Algorithm, ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings,
    InvalidConcurrency, KeyedConcurrencyLimiter,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Content, SECOND, request};

const MS: Duration = Duration::from_millis(1);

fn limiter(settings: impl Into<ConcurrencySettings>) -> ConcurrencyLimiter {
    ConcurrencyLimiter::with_rng(settings, Rng::seeded(1)).expect("possible settings")
}

/// So many workers, each of whom takes about so long for a call; what it answers can be changed.
#[derive(Clone)]
struct Server {
    workers: Arc<Semaphore>,
    work: Duration,
    status: Arc<AtomicU16>,
    rng: Rng,
}

impl Server {
    fn new(workers: usize, work: Duration) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        Self { workers: Arc::new(Semaphore::new(workers)), work, status, rng: Rng::seeded(7) }
    }

    fn service(
        &self,
    ) -> impl Service<Request<Content>, Response = Response<Content>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let this = self.clone();
        service_fn(move |_: Request<Content>| {
            let this = this.clone();
            async move {
                let status = StatusCode::from_u16(this.status.load(Ordering::Relaxed)).unwrap();
                if matches!(status.as_u16(), 503 | 504) {
                    sleep(this.work).await;
                } else if !status.is_success() {
                    sleep(MS).await;
                } else {
                    let _worker = this.workers.acquire().await.unwrap();
                    sleep(this.work.mul_f64(0.5 + this.rng.unit())).await;
                }
                let response = Response::builder().status(status).body(Content::default());
                Ok(response.unwrap())
            }
        })
    }
}

/// So many callers, each of whom calls again as soon as it is answered, or after a moment if it is refused, and waits for so long. Says how
/// many calls were answered with 200.
async fn press<S>(service: &S, callers: usize, patience: Duration, time: Duration) -> usize
where
    S: Service<Request<Content>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    S::Response: HasStatus + Send,
{
    let (end, answered) = (Instant::now() + time, Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..callers {
        let (service, answered) = (service.clone(), Arc::clone(&answered));
        all.spawn(async move {
            while Instant::now() < end {
                match timeout(patience, service.clone().oneshot(request(Method::GET))).await {
                    Ok(Ok(response)) if response.status() == StatusCode::OK => {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => sleep(20 * MS).await,
                }
            }
        });
    }
    all.join_all().await;
    answered.load(Ordering::Relaxed)
}

trait HasStatus {
    fn status(&self) -> StatusCode;
}

impl<B> HasStatus for Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }
}

#[tokio::test(start_paused = true)]
async fn it_finds_what_a_service_can_do_at_once_and_keeps_calls_as_fast_as_they_can_be() {
    let (server, limiter) = (Server::new(20, 50 * MS), limiter(AdaptiveSettings::new()));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(server.service());
    press(&service, 200, SECOND, 5 * SECOND).await;
    let answered = press(&service, 200, SECOND, 20 * SECOND).await;
    assert!(answered >= 7_800, "{answered} of 8 000 that 20 workers can do");
    assert!((20..=60).contains(&limiter.limit()), "{limiter:?}");
    assert_eq!(limiter.in_flight(), 0);
    assert!(limiter.refused() > 1_000);
}

#[tokio::test(start_paused = true)]
async fn vegas_finds_it_too() {
    let settings = AdaptiveSettings::new().algorithm(Algorithm::Vegas);
    let (server, limiter) = (Server::new(20, 50 * MS), limiter(settings));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(server.service());
    press(&service, 200, SECOND, 5 * SECOND).await;
    let answered = press(&service, 200, SECOND, 20 * SECOND).await;
    assert!(answered >= 7_000, "{answered} of 8 000 that 20 workers can do");
    assert!((10..=60).contains(&limiter.limit()), "{limiter:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_asked_less_and_less_and_found_again_when_it_is_back() {
    let (server, limiter) = (Server::new(20, 50 * MS), limiter(AdaptiveSettings::new()));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(server.service());
    press(&service, 200, 300 * MS, 5 * SECOND).await;
    let workers = server.workers.acquire_many(20).await.unwrap();
    let before = limiter.limit();
    // Every call takes as long as every other: exactly as long as its caller waits.
    assert_eq!(press(&service, 200, 300 * MS, 20 * SECOND).await, 0);
    assert!(limiter.limit() <= before / 2, "{} after {before}", limiter.limit());
    drop(workers);
    press(&service, 200, 300 * MS, 10 * SECOND).await;
    let answered = press(&service, 200, 300 * MS, 10 * SECOND).await;
    assert!(answered >= 3_800, "{answered} of 4 000");
}

/// Each of its calls takes exactly as long as any other, so that no dip of the limit differs by chance.
#[tokio::test(start_paused = true)]
async fn a_service_that_has_become_slower_for_good_is_asked_for_as_much_as_before() {
    for algorithm in [Algorithm::Gradient2, Algorithm::Vegas] {
        let limiter = limiter(AdaptiveSettings::new().algorithm(algorithm));
        let millis = Arc::new(AtomicU16::new(2));
        let takes = Arc::clone(&millis);
        let exact = service_fn(move |_: Request<Content>| {
            let takes = u32::from(takes.load(Ordering::Relaxed)) * MS;
            async move {
                sleep(takes).await;
                Ok::<_, Infallible>(Response::new(Content::default()))
            }
        });
        let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(exact);
        press(&service, 1, SECOND, SECOND).await;
        millis.store(20, Ordering::Relaxed);
        // As long as a few dips take.
        press(&service, 10, SECOND, 120 * SECOND).await;
        let answered = press(&service, 10, SECOND, 20 * SECOND).await;
        assert!(answered >= 9_500, "{algorithm:?}: {answered} of 10 000, {limiter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_tells_of_overload_lowers_it() {
    // What the service answers, and whether the limit falls.
    for (status, falls) in [(503, true), (504, true), (500, false), (502, false), (429, false)] {
        let (server, limiter) = (Server::new(20, 50 * MS), limiter(AdaptiveSettings::new()));
        let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(server.service());
        press(&service, 100, SECOND, 3 * SECOND).await;
        server.status.store(status, Ordering::Relaxed);
        // No limit dips before it is known what there is to learn.
        let before = limiter.limit();
        press(&service, 100, SECOND, SECOND).await;
        let after = limiter.limit();
        assert_eq!(after < before * 2 / 3, falls, "{status}: {after} after {before}");
        // And what fails at once is not taken for fast.
        server.status.store(200, Ordering::Relaxed);
        press(&service, 100, SECOND, 10 * SECOND).await;
        let answered = press(&service, 100, SECOND, 5 * SECOND).await;
        assert!(answered >= 1_900, "{status}: {answered} of 2 000");
    }
}

#[tokio::test(start_paused = true)]
async fn it_stays_while_few_are_in_flight_however_fast_they_are() {
    let (server, limiter) = (Server::new(20, 10 * MS), limiter(AdaptiveSettings::new().initial(50)));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(server.service());
    press(&service, 10, SECOND, 60 * SECOND).await;
    assert_eq!(limiter.limit(), 50);
}

#[tokio::test(start_paused = true)]
async fn callers_who_leave_early_say_nothing_and_those_who_leave_late_say_that_it_is_slow() {
    let (server, limiter) = (Server::new(100, 100 * MS), limiter(AdaptiveSettings::new()));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(server.service());
    press(&service, 40, SECOND, 3 * SECOND).await;
    let before = limiter.limit();
    press(&service, 200, 10 * MS, SECOND).await;
    assert_eq!(limiter.limit(), before, "nobody waited as long as a call takes");
    server.workers.forget_permits(100);
    press(&service, 200, 300 * MS, 3 * SECOND).await;
    assert!(limiter.limit() < before, "{} after {before}", limiter.limit());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stays_open_takes_nobodys_place() {
    let limiter = limiter(AdaptiveSettings::new().max(20));
    let service = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(service_fn(
        async |_: Request<Content>| {
            let body = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
            Ok::<_, Infallible>(Response::new(body))
        },
    ));
    let mut open = Vec::new();
    for _ in 0..100 {
        let response = service.clone().oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_permit_is_lost_however_calls_are_dropped() {
    for seed in 0..20 {
        let (server, rng) = (Server::new(5, 10 * MS), Rng::seeded(seed));
        let limiter = limiter(AdaptiveSettings::new().min(3));
        let layer = ConcurrencyLimitLayer::from(limiter.clone()).queue().answer();
        let service = layer.layer(server.service());
        let mut all = JoinSet::new();
        for _ in 0..500 {
            let (service, patience) = (service.clone(), rng.below(60) as u32 * MS);
            all.spawn(timeout(patience, service.oneshot(request(Method::GET))));
            if rng.below(3) == 0 {
                sleep(rng.below(20) as u32 * MS).await;
            }
            if rng.below(20) == 0 {
                all.abort_all();
            }
        }
        while all.join_next().await.is_some() {}
        assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0), "seed {seed}");
        let limit = limiter.limit();
        let permits: Vec<_> = std::iter::from_fn(|| limiter.try_acquire()).collect();
        assert_eq!(permits.len(), limit, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_between_readiness_and_a_call_is_not_taken_for_the_calls() {
    let limiter = limiter(AdaptiveSettings::new().initial(10).max(10));
    let server = Server::new(10, 10 * MS);
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).admission(Admission::Backpressure).plain();
    let service = layer.layer(server.service());
    for idle in [Duration::ZERO, SECOND] {
        for _ in 0..60 {
            let mut all = JoinSet::new();
            for number in 0..10 {
                let mut service = service.clone();
                all.spawn(async move {
                    service.ready().await.unwrap();
                    sleep(idle).await;
                    // One of ten thinks better of it.
                    if number > 0 {
                        service.call(request(Method::GET)).await.unwrap();
                    }
                });
            }
            all.join_all().await;
        }
        // A dip leaves three fifths.
        assert!(limiter.limit() >= 6, "idle for {idle:?}: {limiter:?}");
    }
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_permit_is_lost_between_threads() {
    let limiter = limiter(AdaptiveSettings::new().initial(5).min(3).max(50));
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).queue().answer();
    let service = layer.layer(service_fn(async |request: Request<Content>| {
        for _ in 0..request.uri().path().len() {
            tokio::task::yield_now().await;
        }
        Ok::<_, Infallible>(Response::new(Content::default()))
    }));
    let rng = Rng::seeded(2);
    let mut all = JoinSet::new();
    for _ in 0..20_000 {
        let (service, rng) = (service.clone(), rng.clone());
        let task = all.spawn(async move { service.oneshot(request(Method::GET)).await.unwrap().status() });
        if rng.below(4) == 0 {
            task.abort();
        }
        if rng.below(50) == 0 {
            limiter.set_limit(3 + rng.below(20) as usize);
            tokio::task::yield_now().await;
        }
    }
    while all.join_next().await.is_some() {}
    assert_eq!((limiter.in_flight(), limiter.waiting_count()), (0, 0));
    let limit = limiter.limit();
    assert_eq!(std::iter::from_fn(|| limiter.try_acquire()).take(100).collect::<Vec<_>>().len(), limit);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_permits_by_hand_says_how_it_went() {
    let limiter = limiter(AdaptiveSettings::new().initial(10));
    let pass = async |work: Duration, says: fn(&mut stonework::limit::Permit)| {
        let mut permits: Vec<_> = std::iter::from_fn(|| limiter.try_acquire()).collect();
        sleep(work).await;
        permits.iter_mut().for_each(says);
    };
    for _ in 0..10 {
        pass(50 * MS, stonework::limit::Permit::answered).await;
    }
    let most = limiter.limit();
    assert!(most > 10, "{limiter:?}");
    for _ in 0..30 {
        pass(50 * MS, stonework::limit::Permit::timed_out).await;
    }
    assert!(limiter.limit() < most, "{limiter:?}");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit_of_its_own() {
    let settings = ConcurrencySettings::adaptive(AdaptiveSettings::new().initial(2).max(2));
    let limiter = KeyedConcurrencyLimiter::new(settings).unwrap();
    let permits: Vec<_> = ["a", "a", "a", "b"].iter().map(|key| limiter.try_acquire(key)).collect();
    assert_eq!(permits.iter().flatten().count(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_of_a_key_is_kept_for_a_minute_and_what_was_not_is_forgotten_at_once() {
    let settings = ConcurrencySettings::adaptive(AdaptiveSettings::new().initial(5));
    let limiter = KeyedConcurrencyLimiter::new(settings).unwrap();
    let others = |from: u32| {
        for number in from..from + 10_000 {
            drop(limiter.try_acquire(&number.to_string()).expect("it is alone"));
        }
    };
    let ann = "ann".to_owned();
    for _ in 0..40 {
        let permits: Vec<_> = std::iter::from_fn(|| limiter.try_acquire(&ann)).collect();
        sleep(50 * MS).await;
        permits.into_iter().for_each(|mut permit| permit.answered());
    }
    let learned = limiter.get(&ann).limit();
    assert!(learned > 5, "{learned}");
    others(0);
    sleep(59 * SECOND).await;
    others(10_000);
    assert_eq!(limiter.get(&ann).limit(), learned);
    sleep(2 * SECOND).await;
    others(20_000);
    assert_eq!(limiter.get(&ann).limit(), 5, "that was long ago");
    assert!(limiter.len() < 1_000, "{}", limiter.len());
}

#[test]
fn bounds_that_cannot_be_are_errors_that_say_which() {
    let error = |settings: AdaptiveSettings| ConcurrencyLimiter::new(settings).map(|_| ()).unwrap_err();
    let settings = AdaptiveSettings::new;
    assert_eq!(error(settings().min(0)), InvalidConcurrency::ZeroMin);
    assert_eq!(error(settings().min(21)), InvalidConcurrency::OutOfOrder);
    assert_eq!(error(settings().max(19)), InvalidConcurrency::OutOfOrder);
    assert_eq!(error(settings().max(usize::MAX)), InvalidConcurrency::TooManyMax);
    assert_eq!(settings().to_string(), "1 to 1000 at once, as latency allows");
}

#[cfg(feature = "serde")]
#[test]
fn it_is_read_from_a_file_in_the_place_of_a_number() {
    let read = |text: &str| serde_json::from_str::<ConcurrencySettings>(text);
    let adaptive = AdaptiveSettings::new();
    assert_eq!(read(r#"{"limit": "adaptive"}"#).unwrap(), adaptive.into());
    let all = r#"{"limit": {"algorithm": "vegas", "initial": 10, "max": 50, "min": 5}, "queue": 7}"#;
    let settings = adaptive.algorithm(Algorithm::Vegas).initial(10).max(50).min(5);
    assert_eq!(read(all).unwrap(), ConcurrencySettings::adaptive(settings).queue(7));
    assert_eq!(read(r#"{"limit": 5}"#).unwrap(), ConcurrencySettings::new(5));
    for settings in [ConcurrencySettings::new(5), adaptive.into(), ConcurrencySettings::adaptive(settings)] {
        assert_eq!(read(&serde_json::to_string(&settings).unwrap()).unwrap(), settings);
    }
    for (text, says) in [
        (r#"{"limit": {"min": 0}}"#, "`min` is zero"),
        (r#"{"limit": {"initial": 5000}}"#, "`initial` is not between"),
        (r#"{"limit": {"maximum": 5}}"#, "unknown field `maximum`"),
        (r#"{"limit": "adaptiv"}"#, "adaptive"),
        (r#"{"limit": -1}"#, "-1"),
        (r#"{"limit": 0}"#, "`limit` is zero"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}
