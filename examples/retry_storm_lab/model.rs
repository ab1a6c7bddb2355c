//! A service that fails at random, its clients with the real retry layer, and a clock that is virtual.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use stonework::base::Rng;
use stonework::retry::{HopLayer, RetryLayer, RetrySettings};
use tokio::time::{Instant, sleep, sleep_until};
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

type Content = Full<Bytes>;
type Hop = BoxCloneSyncService<Request<Content>, Response<Content>, Infallible>;

/// So many clients, each with a budget of its own, and how often and how long each calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) clients: u32,
    pub(crate) calls_per_second: u32,
    pub(crate) seconds: u32,
    /// How likely an attempt is to fail, each by itself.
    pub(crate) failures: f64,
    pub(crate) seed: u64,
}

/// What the service and its clients saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) attempts: u64,
    pub(crate) successes: u64,
    /// From the first call to the last answer.
    pub(crate) seconds: f64,
}

impl Outcome {
    /// Requests that reached the service for each call.
    pub(crate) fn load(&self) -> f64 {
        self.attempts as f64 / self.calls as f64
    }

    /// The most load that these budgets allow, each of which one client has: (reserve + floor · t + ratio · calls) more
    /// than one request a call.
    pub(crate) fn bound(&self, clients: u32, reserve: f64, floor: f64, ratio: f64) -> f64 {
        let calls = self.calls as f64 / f64::from(clients);
        1.0 + ratio + (reserve + floor * self.seconds) / calls
    }

    pub(crate) fn success(&self) -> f64 {
        self.successes as f64 / self.calls as f64
    }
}

/// Run `work` to its end on a clock that stands still while there is anything to do, and leaps when there is not.
pub(crate) fn virtually<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}

fn answer(status: u16) -> Response<Content> {
    Response::builder().status(status).body(Content::default()).expect("a valid response")
}

fn get() -> Request<Content> {
    Request::get("http://service.test/item").body(Content::default()).expect("a valid request")
}

impl Storm {
    pub(crate) fn run(self, settings: &RetrySettings) -> Outcome {
        virtually(self.play(settings))
    }

    pub(crate) async fn play(self, settings: &RetrySettings) -> Outcome {
        let (attempts, successes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let chance = Rng::seeded(self.seed);
        let service = service_fn({
            let attempts = Arc::clone(&attempts);
            move |_: Request<Content>| {
                attempts.fetch_add(1, Ordering::Relaxed);
                let fails = chance.unit() < self.failures;
                async move {
                    sleep(Duration::from_millis(5)).await;
                    Ok::<_, Infallible>(answer(if fails { 503 } else { 200 }))
                }
            }
        });
        let start = Instant::now();
        let pause = Duration::from_secs(1) / self.calls_per_second;
        let clients = (0..self.clients).map(|client| {
            // Made from the settings anew, so each client has a budget of its own.
            let layer =
                RetryLayer::from(settings.clone()).rng(Rng::seeded(self.seed ^ u64::from(client) << 32));
            let (client_service, successes) = (layer.layer(service.clone()), Arc::clone(&successes));
            let offset = pause * client / self.clients;
            tokio::spawn(async move {
                let mut calls = tokio::task::JoinSet::new();
                for call in 0..self.calls_per_second * self.seconds {
                    sleep_until(start + offset + pause * call).await;
                    let (service, successes) = (client_service.clone(), Arc::clone(&successes));
                    calls.spawn(async move {
                        let answered = service.oneshot(get()).await.expect("every attempt is answered");
                        successes.fetch_add(u64::from(answered.status() == 200), Ordering::Relaxed);
                    });
                }
                calls.join_all().await;
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.expect("a client does not panic");
        }
        Outcome {
            calls: u64::from(self.clients) * u64::from(self.calls_per_second * self.seconds),
            attempts: attempts.load(Ordering::Relaxed),
            successes: successes.load(Ordering::Relaxed),
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

/// How many requests a dead service sees for one call through so many hops, each with a client of its own that makes
/// three attempts. With `knowing`, each hop has the layer that lets retries know of each other. There are no budgets, so
/// that what is seen is the doing of that layer alone.
pub(crate) fn attempts_at_a_dead_leaf(hops: u32, knowing: bool) -> u64 {
    let settings = RetrySettings::new().attempts(3).without_budget();
    virtually(load_of_a_dead_leaf(hops, knowing, &settings, 1, 0)) as u64
}

/// The same for each of so many calls, one after another, with the settings of each client.
pub(crate) async fn load_of_a_dead_leaf(
    hops: u32,
    knowing: bool,
    settings: &RetrySettings,
    calls: u32,
    seed: u64,
) -> f64 {
    let seen = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&seen);
    let mut server: Hop = BoxCloneSyncService::new(service_fn(move |_: Request<Content>| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(answer(503)) }
    }));
    // Each is the server of the next; the last is who calls.
    for hop in 0..hops {
        let retry = RetryLayer::from(settings.clone());
        let client = retry.rng(Rng::seeded(seed << 8 | u64::from(hop))).layer(network(server));
        let handler = service_fn(move |_: Request<Content>| {
            let call = client.clone().oneshot(get());
            async move { Ok(call.await.map_or(answer(502), |answered| answer(answered.status().as_u16()))) }
        });
        let is_a_server = hop + 1 < hops;
        server = BoxCloneSyncService::new(HopLayer::new().when(knowing && is_a_server).layer(handler));
    }
    for _ in 0..calls {
        let _ = server.clone().oneshot(get()).await;
    }
    seen.load(Ordering::Relaxed) as f64 / f64::from(calls)
}

/// What is behind it runs in a task of its own, as it would in another process: nothing passes but the messages.
fn network(server: Hop) -> Hop {
    BoxCloneSyncService::new(service_fn(move |request| {
        let answered = tokio::spawn(server.clone().oneshot(request));
        async move { answered.await.expect("a server does not panic") }
    }))
}

/// When so many clients, whose first attempts all fail at the same instant, come back: the number of them in each
/// millisecond after it.
pub(crate) fn returns_in_each_millisecond(clients: u32, settings: &RetrySettings) -> Vec<u32> {
    virtually(async {
        let start = Instant::now();
        let returns = Arc::new(Mutex::new(Vec::new()));
        let calls = (0..clients).map(|client| {
            let (returns, first) = (Arc::clone(&returns), Arc::new(AtomicBool::new(true)));
            let service = service_fn(move |_: Request<Content>| {
                let status = if first.swap(false, Ordering::Relaxed) {
                    503
                } else {
                    returns.lock().expect("no panic").push(start.elapsed().as_millis() as usize);
                    200
                };
                async move { Ok::<_, Infallible>(answer(status)) }
            });
            let layer = RetryLayer::from(settings.clone()).rng(Rng::seeded(client.into()));
            tokio::spawn(layer.layer(service).oneshot(get()))
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("a client does not panic").expect("every attempt is answered");
        }
        let returns = returns.lock().expect("no panic");
        let mut bins = vec![0; returns.iter().max().map_or(0, |last| last + 1)];
        for at in returns.iter() {
            bins[*at] += 1;
        }
        bins
    })
}
