//! Can a server be replaced in the middle of its traffic without anybody noticing?
//!
//! *The problem:* a server that is told to stop has requests in flight, clients that keep connections open, streams that never
//! end, and a load balancer that has not heard of it yet. Stop at once, and all of them fail; wait for all of them, and it never
//! stops.
//!
//! *What to look at:* [`replica`], which is what a user writes: a registry of health, signals, a handler that listens for the end.
//! Two replicas serve; a small load balancer asks `/readyz` of both and sends each request to one that is ready. In the middle of it
//! the first replica gets a SIGTERM.
//!
//! *What it shows:* the phases and their times, what everybody got, and the server's own report. No request fails, and none is
//! tried twice: the client of this example does not retry.
//!
//!     cargo run --example graceful_server
//!
//! It takes about three seconds, and ends with exit code 0 if every claim held.

mod kit;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use stonework::base::{Event, Observer, ServerPhase};
use stonework::client::{Client, ClientSettings};
use stonework::health::{Health, HealthSettings, Impact};
use stonework::server::{Server, ServerHandle, ServerSettings, Shutdown, ShutdownReport};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::kit::Verdict;

const LAME_DUCK: Duration = Duration::from_millis(500);
const DRAIN: Duration = Duration::from_secs(5);
/// How often the load balancer asks who is ready.
const PROBE: Duration = Duration::from_millis(50);
const CALLERS: usize = 16;

/// A server as it would stand in a container: it stops by itself when it gets a signal.
async fn replica(name: &'static str, signals: bool, observer: impl Observer + 'static) -> Replica {
    let health = Health::builder()
        .settings(
            HealthSettings::new().interval(Duration::from_millis(200)).timeout(Duration::from_millis(100)),
        )
        .readiness("itself", Impact::Hard, || async { true })
        .build()
        .expect("valid checks");
    let router = Router::new()
        .route("/price", get(|| async { sleep(Duration::from_millis(10)).await }))
        .route("/order", post(|order: Bytes| async move { format!("{} bytes", order.len()) }))
        .route("/slow", get(|| async { sleep(Duration::from_millis(1_200)).await }))
        .route("/events", get(|Extension(shutdown): Extension<Shutdown>| async { events(shutdown) }));
    let settings = ServerSettings::new().lame_duck(LAME_DUCK).drain_timeout(DRAIN);
    let mut builder = Server::builder().settings(settings).health(health.clone()).observer(observer);
    if signals {
        builder = builder.stop_on_signals();
    }
    let server = builder.bind("127.0.0.1:0").await.expect("a free port");
    assert!(health.wait_ready().await, "{name} does not become ready");
    let (addr, handle) = (server.local_addr(), server.handle());
    Replica { addr, handle, report: tokio::spawn(server.serve(router)) }
}

struct Replica {
    addr: SocketAddr,
    handle: ServerHandle,
    report: JoinHandle<ShutdownReport>,
}

/// Server-sent events that would go on for ever, and say goodbye when the server stops.
fn events(shutdown: Shutdown) -> impl IntoResponse {
    let (send, mut receive) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while !shutdown.is_requested() {
            if send.send("data: tick\n\n").await.is_err() {
                return;
            }
            let _ = timeout(Duration::from_millis(100), shutdown.requested()).await;
        }
        let _ = send.send("data: bye\n\n").await;
    });
    let frames = futures_util::stream::poll_fn(move |cx| {
        let data = |event: &'static str| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(event)));
        receive.poll_recv(cx).map(|event| event.map(data))
    });
    ([("content-type", "text/event-stream")], axum::body::Body::new(StreamBody::new(frames)))
}

/// Tells when each phase began.
#[derive(Clone)]
struct Story(Arc<Mutex<Vec<(Instant, ServerPhase)>>>);

impl Observer for Story {
    fn observe(&self, event: &Event) {
        if let Event::ServerPhaseChanged { to, .. } = event {
            self.0.lock().unwrap().push((Instant::now(), *to));
        }
    }
}

/// The addresses of those who said that they are ready.
#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Vec<SocketAddr>>>, Arc<AtomicU64>);

impl Ready {
    async fn ask(self, client: Client, replicas: [SocketAddr; 2]) {
        loop {
            let mut ready = Vec::new();
            for addr in replicas {
                let answer = client.get(format!("http://{addr}/readyz")).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    ready.push(addr);
                }
            }
            *self.0.lock().unwrap() = ready;
            sleep(PROBE).await;
        }
    }

    /// The next one in turn.
    fn pick(&self) -> Option<SocketAddr> {
        let ready = self.0.lock().unwrap();
        let turn = self.1.fetch_add(1, Ordering::Relaxed);
        ready.get(usize::try_from(turn % ready.len().max(1) as u64).expect("small")).copied()
    }
}

/// What the callers got.
#[derive(Clone, Default)]
struct Counts {
    good: Arc<AtomicU64>,
    bad: Arc<Mutex<Vec<String>>>,
}

/// Calls as fast as the answers come, an order every fourth time.
async fn call(client: Client, ready: Ready, counts: Counts, until: impl Fn() -> bool) {
    let mut number = 0_u64;
    while !until() {
        let Some(addr) = ready.pick() else {
            sleep(PROBE).await;
            continue;
        };
        number += 1;
        let answer = if number.is_multiple_of(4) {
            client.post(format!("http://{addr}/order")).body("three chairs").send().await
        } else {
            client.get(format!("http://{addr}/price")).send().await
        };
        match answer {
            Ok(answer) if answer.status().is_success() => {
                counts.good.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => counts.bad.lock().unwrap().push(answer.status().to_string()),
            Err(error) => counts.bad.lock().unwrap().push(format!("{error:#}")),
        }
    }
}

#[cfg(unix)]
fn send_sigterm(_: &ServerHandle) {
    let own = std::process::id().to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &own]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal was not sent");
}

/// There is no such signal.
#[cfg(not(unix))]
fn send_sigterm(handle: &ServerHandle) {
    handle.shut_down();
}

#[tokio::main]
async fn main() -> ExitCode {
    let story = Story(Arc::default());
    let first = replica("the first", true, story.clone()).await;
    let second = replica("the second", false, Story(Arc::default())).await;
    // Nothing is tried twice: what fails, fails.
    let client =
        Client::builder().settings(ClientSettings::new().without_retry()).build().expect("valid settings");

    let (ready, counts) = (Ready::default(), Counts::default());
    let prober = tokio::spawn(ready.clone().ask(client.clone(), [first.addr, second.addr]));
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let over = Arc::clone(&over);
            let until = move || over.load(Ordering::Relaxed);
            tokio::spawn(call(client.clone(), ready.clone(), counts.clone(), until))
        })
        .collect();
    let get = |path: &str| client.get(format!("http://{}{path}", first.addr)).send();
    let stream = get("/events").await.expect("a stream").into_body();

    sleep(Duration::from_millis(700)).await;
    // It takes longer than the lame duck: the drain waits for it.
    let slow = tokio::spawn(get("/slow"));
    sleep(Duration::from_millis(100)).await;
    let (before, signal) = (counts.good.load(Ordering::Relaxed), Instant::now());
    send_sigterm(&first.handle);

    let events = stream.collect().await.map(|body| body.to_bytes());
    let slow = slow.await.expect("no panic");
    let report = first.report.await.expect("no panic");
    sleep(Duration::from_millis(500)).await;
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }
    prober.abort();
    second.handle.shut_down();
    second.handle.shut_down();
    let _ = second.report.await;

    println!("the first replica, after SIGTERM:");
    for (at, phase) in story.0.lock().unwrap().iter() {
        println!("  {:>5} ms  {phase:?}", (*at - signal).as_millis());
    }
    println!("its report: {report:?}");
    let good = counts.good.load(Ordering::Relaxed);
    println!("{CALLERS} callers: {before} answers before the signal, {} after it", good - before);

    let bad = counts.bad.lock().unwrap().clone();
    let said_goodbye = events.is_ok_and(|events| events.ends_with(b"data: bye\n\n"));
    let took = report.took;
    let slow = slow.is_ok_and(|slow| slow.status().is_success());
    let whole = report.aborted == 0 && report.connections_aborted == 0;
    println!();
    let mut verdict = Verdict::default();
    verdict.claim(bad.is_empty(), format!("no request failed: {bad:?}"));
    verdict.claim(good - before > 100, format!("traffic went on all the time: {} answers", good - before));
    verdict.claim(slow, "the slow request got its answer");
    verdict.claim(said_goodbye, "the stream of events was told, and ended with its last word");
    verdict.claim(whole, format!("nothing was cut off: {report:?}"));
    verdict.claim(report.finished > 0, format!("what was begun was finished: {} answers", report.finished));
    verdict.claim(
        took >= LAME_DUCK && took < LAME_DUCK + DRAIN,
        format!("it ended within its bounds: {took:?}"),
    );
    verdict.end()
}
