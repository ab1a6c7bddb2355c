//! What limits promise to those who come over real connections: real time passes here.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use stonework::base::{Event, Outcome};
use stonework::client::{Client, ClientSettings};
use stonework::limit::{ConcurrencyLimitLayer, ConcurrencyLimiter, Quota, RateLimitLayer};
use stonework::server::Server;
use stonework::testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::support::{SECOND, delays, read_to_end, read_up_to, soon};

struct Running {
    addr: std::net::SocketAddr,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(router: Router) -> Self {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let serving = tokio::spawn(async move {
            let _ = server.serve(router).await;
        });
        Self { addr, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    fn uri(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const ASK_ONCE: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// The status of the answer to the next request on this connection, which has a body of known length.
async fn status(connection: &mut TcpStream) -> u16 {
    connection.write_all(ASK).await.unwrap();
    let head = read_up_to_head(connection).await;
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    soon(connection.read_exact(&mut body)).await.unwrap();
    head[9..12].parse().unwrap()
}

async fn read_up_to_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(connection.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn until(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_many_connections_no_more_come_in_than_the_burst_and_what_was_earned_meanwhile() {
    const RATE: u32 = 50;
    let layer = RateLimitLayer::new(Quota::per_second(RATE)).unwrap().answer();
    let server = Running::start(Router::new().route("/", get(|| async { "hello" })).layer(layer)).await;
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for _ in 0..200 {
        let mut connection = server.connect().await;
        all.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..10 {
                statuses.push(status(&mut connection).await);
            }
            statuses
        });
    }
    let statuses: Vec<_> = all.join_all().await.into_iter().flatten().collect();
    let elapsed = begun.elapsed();
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(
        (statuses.len(), accepted + statuses.iter().filter(|status| **status == 429).count()),
        (2_000, 2_000)
    );
    let most = f64::from(RATE) + elapsed.as_secs_f64() * f64::from(RATE);
    assert!(accepted >= 50 && accepted as f64 <= most, "{accepted} in {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_at_once_ten_are_served_and_ninety_are_told_to_come_back() {
    let limiter = ConcurrencyLimiter::new(10).unwrap();
    let (decided, wait) = watch::channel(false);
    let blocks = move || {
        let mut wait = wait.clone();
        async move { wait.wait_for(|decided| *decided).await.map(|_| "hello").unwrap_or("nobody is there") }
    };
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).answer();
    let server = Running::start(Router::new().route("/", get(blocks)).layer(layer)).await;
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let mut connection = server.connect().await;
        all.spawn(async move { status(&mut connection).await });
    }
    let mut statuses = Vec::new();
    for _ in 0..90 {
        statuses.push(soon(all.join_next()).await.unwrap().unwrap());
    }
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert_eq!((limiter.in_flight(), limiter.refused()), (10, 90));
    decided.send(true).unwrap();
    assert_eq!(soon(all.join_all()).await, [200; 10]);
    until(|| limiter.in_flight() == 0).await;
}

/// A stream of events that begins at once and goes on until the sender says so.
fn events(end: &watch::Sender<bool>) -> Router {
    let end = end.clone();
    let handler = move || {
        let mut end = end.subscribe();
        async move {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("data: first\n\n"))]);
            let last = futures_util::stream::once(async move {
                let _ = end.changed().await;
                Ok(Bytes::from("data: last\n\n"))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(first.chain(last)))
        }
    };
    Router::new().route("/", get(handler))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_in_flight_until_it_has_ended_or_its_client_is_gone() {
    let limiter = ConcurrencyLimiter::new(2).unwrap();
    let end = watch::Sender::new(false);
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).answer();
    let server = Running::start(events(&end).layer(layer)).await;
    let open = async || {
        let mut connection = server.connect().await;
        connection.write_all(ASK_ONCE).await.unwrap();
        read_up_to(&mut connection, "data: first\n\n\r\n").await;
        connection
    };
    let refused = async || {
        let mut connection = server.connect().await;
        connection.write_all(ASK_ONCE).await.unwrap();
        let answer = read_to_end(&mut connection).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    };
    let (mut one, two) = (open().await, open().await);
    assert_eq!(limiter.in_flight(), 2);
    refused().await;

    drop(two);
    until(|| limiter.in_flight() == 1).await;
    let mut three = open().await;
    refused().await;

    end.send_replace(true);
    for connection in [&mut one, &mut three] {
        assert!(read_to_end(connection).await.contains("data: last"));
    }
    until(|| limiter.in_flight() == 0).await;
    drop(open().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_reads_our_429_as_overload_comes_back_when_it_says_and_is_served() {
    let layer = RateLimitLayer::new(Quota::new(1, Duration::from_millis(900))).unwrap().answer();
    let server = Running::start(Router::new().route("/", get(|| async { "hello" })).layer(layer)).await;
    let recorder = Recorder::new();
    let client = Client::builder().observer(recorder.clone()).build().unwrap();
    let first = soon(client.get(server.uri()).send()).await.unwrap();
    assert_eq!(first.attempts(), 1);
    assert_eq!(first.headers()["ratelimit"], "\"default\";r=0;t=1");
    let _ = recorder.take();

    let second = soon(client.get(server.uri()).send()).await.unwrap();
    assert_eq!((second.status(), second.attempts()), (StatusCode::OK, 2));
    let outcome = |event: &Event| match event {
        Event::AttemptEnded { outcome, .. } => Some(*outcome),
        _ => None,
    };
    let outcomes: Vec<_> = recorder.events().iter().filter_map(outcome).collect();
    assert_eq!(outcomes, [Outcome::Overload, Outcome::Success]);
    assert!(delays(&recorder).iter().all(|delay| *delay >= SECOND));

    let once = Client::builder().settings(ClientSettings::new().without_retry()).build().unwrap();
    let refused = soon(once.get(server.uri()).send()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.retry_after(), Some(SECOND));
    let error = refused.error_for_status().unwrap_err();
    assert!(error.is_overload());
    assert_eq!(error.retry_after(), Some(SECOND));
}
