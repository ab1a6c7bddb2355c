//! What a queue promises that never gets old: that a burst is served in order, that an overload is over when it is over, and that nothing
//! begins that cannot end in time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use stonework::Deadline;
use stonework::base::{Priority, Rng};
use stonework::limit::{
    AdaptiveSettings, Admission, ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings,
};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{Content, SECOND, request};

const MS: Duration = Duration::from_millis(1);

/// A service that takes so long for each call and notes who came in, behind a queue.
struct Queue {
    limiter: ConcurrencyLimiter,
    came_in: Arc<Mutex<Vec<usize>>>,
    service: BoxCloneSyncService<Request<Content>, StatusCode, Infallible>,
}

#[derive(Clone)]
struct Number(usize);

impl Queue {
    fn new(settings: impl Into<ConcurrencySettings>, work: Duration) -> Self {
        let limiter = ConcurrencyLimiter::new(settings).expect("possible settings");
        let came_in = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&came_in);
        let inner = service_fn(move |request: Request<Content>| {
            let number = request.extensions().get::<Number>().map_or(0, |number| number.0);
            noted.lock().unwrap().push(number);
            async move {
                sleep(work).await;
                Ok::<_, Infallible>(Response::new(Content::default()))
            }
        });
        let layer = ConcurrencyLimitLayer::from(limiter.clone())
            .admission(Admission::Queue)
            .priority(|request: &Request<Content>| Priority::of(request.extensions()))
            .answer();
        // A response is done with when its status is known.
        let service = layer.layer(inner).map_response(|response| response.status());
        Self { limiter, came_in, service: BoxCloneSyncService::new(service) }
    }

    /// A call that is made now, and what became of it after how long.
    fn ask(&self, number: usize, priority: Priority) -> JoinHandle<(StatusCode, Duration)> {
        let (service, asked) = (self.service.clone(), Instant::now());
        tokio::spawn(async move {
            let mut request = request(Method::GET);
            request.extensions_mut().insert(Number(number));
            request.extensions_mut().insert(priority);
            let status = service.oneshot(request).await.unwrap();
            (status, asked.elapsed())
        })
    }

    async fn interactive(&self, number: usize) -> JoinHandle<(StatusCode, Duration)> {
        let asked = self.ask(number, Priority::Interactive);
        tokio::task::yield_now().await;
        asked
    }

    fn came_in(&self) -> Vec<usize> {
        self.came_in.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_served_in_the_order_in_which_it_came() {
    let queue = Queue::new(1, 10 * MS);
    let mut all = Vec::new();
    for number in 1..=6 {
        all.push(queue.interactive(number).await);
    }
    for asked in all {
        assert_eq!(asked.await.unwrap().0, StatusCode::OK);
    }
    assert_eq!(queue.came_in(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn once_it_is_overload_whoever_came_last_is_first_and_nobody_waits_for_long() {
    // Half of the calls, each of which takes 10 ms: it is learnt that a turn is as long, so overload begins after 1.6 s.
    let queue = Queue::new(1, 10 * MS);
    let mut all = Vec::new();
    for number in 1..=1_000 {
        all.push(queue.interactive(number).await);
        sleep(5 * MS).await;
    }
    let mut ended = Vec::new();
    for asked in all {
        ended.push(asked.await.unwrap());
    }
    let late = &ended[500..];
    let answered = late.iter().filter(|(status, _)| *status == StatusCode::OK).count();
    assert!(answered >= 240, "{answered} of 250 that can be served: nothing is lost by refusing");
    // Eight turns and one's own.
    assert!(late.iter().all(|(_, took)| *took <= 91 * MS), "{:?}", late.iter().max_by_key(|(_, took)| *took));
    let came_in = queue.came_in();
    let came_in: Vec<_> = came_in.iter().filter(|number| **number > 500).collect();
    // Those who come in have not waited while others did who came after them.
    let waits = late.iter().filter(|(status, _)| *status == StatusCode::OK).map(|(_, took)| *took - 10 * MS);
    assert!(waits.clone().filter(|wait| *wait <= 10 * MS).count() >= 200, "{:?}", waits.collect::<Vec<_>>());
    assert!(came_in.len() >= 240);
    assert_eq!((queue.limiter.in_flight(), queue.limiter.waiting_count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_can_no_longer_finish_in_time_never_begins() {
    let queue = Queue::new(1, 100 * MS);
    // It is learnt how long a call takes.
    for _ in 0..5 {
        assert_eq!(queue.interactive(0).await.await.unwrap().0, StatusCode::OK);
    }
    let busy = queue.interactive(1).await;
    let within = |time: Duration, number| {
        let service = queue.service.clone();
        Deadline::within(time).bound(async move {
            let mut request = request(Method::GET);
            request.extensions_mut().insert(Number(number));
            service.oneshot(request).await.unwrap()
        })
    };
    let asked = Instant::now();
    assert_eq!(within(99 * MS, 2).await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.elapsed(), Duration::ZERO, "it is no use to wait");
    assert_eq!(within(150 * MS, 3).await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.elapsed(), 50 * MS, "it waited as long as it was of use");
    assert_eq!(within(250 * MS, 4).await.unwrap(), StatusCode::OK);
    assert_eq!(busy.await.unwrap().0, StatusCode::OK);
    assert_eq!(queue.came_in(), [0, 0, 0, 0, 0, 1, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_matters_less_is_refused_first_and_health_never() {
    let settings = ConcurrencySettings::new(1).queue(2);
    let queue = Queue::new(settings, 20 * MS);
    let busy = queue.interactive(1).await;
    let batch = queue.ask(2, Priority::Batch);
    tokio::task::yield_now().await;
    let other_batch = queue.ask(3, Priority::Batch);
    tokio::task::yield_now().await;
    let more_batch = queue.ask(4, Priority::Batch);
    tokio::task::yield_now().await;
    let interactive = queue.interactive(5).await;
    let health = queue.ask(6, Priority::Health);

    assert_eq!(more_batch.await.unwrap(), (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO), "it was full");
    assert_eq!(batch.await.unwrap(), (StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO), "it made room");
    assert_eq!(health.await.unwrap(), (StatusCode::OK, 20 * MS), "it did not wait");
    assert_eq!(busy.await.unwrap().0, StatusCode::OK);
    assert_eq!(interactive.await.unwrap(), (StatusCode::OK, 40 * MS));
    assert_eq!(
        other_batch.await.unwrap(),
        (StatusCode::OK, 60 * MS),
        "after whoever came later and matters more"
    );
    assert_eq!(queue.came_in(), [1, 6, 5, 3]);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_waits_batch_keeps_off_the_last_tenth_of_the_limit() {
    let limiter = ConcurrencyLimiter::new(10).unwrap();
    let layer = ConcurrencyLimitLayer::from(limiter.clone())
        .priority(|request: &Request<Content>| Priority::of(request.extensions()))
        .answer();
    let service = layer.layer(service_fn(async |_: Request<Content>| {
        sleep(SECOND).await;
        Ok::<_, Infallible>(Response::new(Content::default()))
    }));
    let mut all = JoinSet::new();
    for priority in [Priority::Batch, Priority::Interactive] {
        for _ in 0..20 {
            let (service, mut request) = (service.clone(), request(Method::GET));
            request.extensions_mut().insert(priority);
            all.spawn(async move { (priority, service.oneshot(request).await.unwrap().status()) });
            tokio::task::yield_now().await;
        }
    }
    let all = all.join_all().await;
    let came_in = |priority| all.iter().filter(|ended| **ended == (priority, StatusCode::OK)).count();
    assert_eq!((came_in(Priority::Batch), came_in(Priority::Interactive)), (9, 1));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_queue_gives_up_its_place_and_whoever_was_called_passes_it_on() {
    let queue = Queue::new(1, 20 * MS);
    let busy = queue.interactive(1).await;
    let (leaves, stays) = (queue.interactive(2).await, queue.interactive(3).await);
    leaves.abort();
    assert!(leaves.await.unwrap_err().is_cancelled());
    assert_eq!(queue.limiter.waiting_count(), 1);
    assert_eq!(busy.await.unwrap().0, StatusCode::OK);
    assert_eq!(stays.await.unwrap(), (StatusCode::OK, 40 * MS));
    assert_eq!(queue.limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_overwhelmed_is_well_two_seconds_after_whatever_its_clients_do() {
    // Of a database that does 300 queries a second and does not notice when a caller has gone, 280 are wanted.
    for (tries, tells) in [(1, false), (4, false), (4, true)] {
        let database = Arc::new(Semaphore::new(1));
        let stalled = Arc::clone(&database);
        let handler = service_fn(move |_: Request<Content>| {
            let database = Arc::clone(&database);
            async move {
                let query = tokio::spawn(async move {
                    let _turn = database.acquire().await.unwrap();
                    sleep(Duration::from_micros(3_000)).await;
                });
                query.await.unwrap();
                Ok::<_, Infallible>(Response::new(Content::default()))
            }
        });
        let limiter = ConcurrencyLimiter::with_rng(AdaptiveSettings::new(), Rng::seeded(3)).unwrap();
        let service = ConcurrencyLimitLayer::from(limiter).queue().answer().layer(handler);
        let (rng, sent, answered) = (Rng::seeded(5), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let (begin, mut all) = (Instant::now(), JoinSet::new());
        let stall = tokio::spawn(async move {
            sleep(5 * SECOND).await;
            let _turn = stalled.acquire().await.unwrap();
            sleep(10 * SECOND).await;
        });
        while begin.elapsed() < 40 * SECOND {
            sleep(Duration::from_secs_f64(-(1.0 - rng.unit()).ln() / 280.0)).await;
            let is_counted = begin.elapsed() >= 17 * SECOND;
            sent.fetch_add(usize::from(is_counted), Ordering::Relaxed);
            let (service, answered) = (service.clone(), Arc::clone(&answered));
            all.spawn(async move {
                for _ in 0..tries {
                    let call = service.clone().oneshot(request(Method::GET));
                    let status = if tells {
                        Deadline::within(SECOND).bound(call).await.ok().map(|answer| answer.unwrap().status())
                    } else {
                        timeout(SECOND, call).await.ok().map(|answer| answer.unwrap().status())
                    };
                    if status == Some(StatusCode::OK) {
                        answered.fetch_add(usize::from(is_counted), Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
        all.join_all().await;
        stall.await.unwrap();
        let (sent, answered) = (sent.into_inner(), answered.load(Ordering::Relaxed));
        assert!(answered * 100 >= sent * 99, "{tries} tries, told {tells}: {answered} of {sent}");
    }
}
