//! On real sockets, where clients leave and servers are killed. Real time passes here, so limits are short and bounds wide.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use stonework::Body;
use stonework::base::{Detach, Principal};
use stonework::client::ClientSettings;
use stonework::idempotency::{AfterCrash, IdempotencyLayer, IdempotencySettings, MemoryStore};
use stonework::server::{DetachLayer, Server, ServerSettings, ShutdownReport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::ServiceBuilder;
use tower::service_fn;

use super::kit::{Said, said};
use crate::support::{SECOND, read_to_end, read_up_to, soon};

const MS: Duration = Duration::from_millis(1);

/// A shop whose handler says when it begins, waits until it may go on, and counts what it has done.
#[derive(Clone, Default)]
struct Shop {
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
    /// How often it came to its end.
    done: Arc<AtomicUsize>,
}

impl Shop {
    async fn charge(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        self.begun.notify_one();
        self.go_on.notified().await;
        self.done.fetch_add(1, SeqCst);
        Ok(Response::new(Body::from(format!("number {number} for {}", String::from_utf8_lossy(&body)))))
    }

    fn counts(&self) -> (usize, usize) {
        (self.asked.load(SeqCst), self.done.load(SeqCst))
    }

    /// It waits for nobody.
    fn open(&self) {
        let go_on = Arc::clone(&self.go_on);
        tokio::spawn(async move {
            loop {
                go_on.notify_one();
                sleep(MS).await;
            }
        });
    }
}

struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    report: JoinHandle<ShutdownReport>,
}

impl Running {
    /// The shop behind keys; who is asking stands in a header here.
    async fn start(shop: &Shop, layer: IdempotencyLayer<MemoryStore>, drain: Duration) -> Self {
        let settings = ServerSettings::new().drain_timeout(drain);
        let builder = Server::builder().settings(settings).detach(layer.detached().clone());
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let shop = shop.clone();
        let service = ServiceBuilder::new()
            .map_request(|mut request: Request<Body>| {
                let who =
                    request.headers().get("x-who").map(|who| Principal::named(who.to_str().unwrap(), None));
                request.extensions_mut().extend(who.into_iter().fold(
                    http::Extensions::new(),
                    |mut all, who| {
                        all.insert(who);
                        all
                    },
                ));
                request
            })
            .layer(layer)
            .service(service_fn(move |request| shop.clone().charge(request)));
        let report = tokio::spawn(server.serve_until(service, stopped));
        Self { addr, stop, report }
    }

    async fn stop(self) -> ShutdownReport {
        drop(self.stop);
        soon(self.report).await.unwrap()
    }
}

const CHARGE: &[u8] =
    b"POST / HTTP/1.1\r\nhost: x\r\nidempotency-key: \"a\"\r\nconnection: close\r\ncontent-length: 5\r\n\r\n5 EUR";
const PLAIN: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\n5 EUR";

async fn send(addr: SocketAddr, request: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(request).await.unwrap();
    client
}

/// An answer as it came, but for the date.
async fn answer(addr: SocketAddr, request: &[u8]) -> String {
    let read = read_to_end(&mut send(addr, request).await).await;
    read.split_inclusive("\r\n").filter(|line| !line.starts_with("date:")).collect()
}

fn layer() -> IdempotencyLayer<MemoryStore> {
    IdempotencyLayer::new(MemoryStore::new())
}

fn settings() -> IdempotencySettings {
    IdempotencySettings::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_equal_requests_at_once_one_is_done_and_all_are_answered_the_same() {
    let shop = Shop::default();
    let waits = layer().settings(settings().wait_up_to(10 * SECOND)).unwrap();
    let server = Running::start(&shop, waits, SECOND).await;
    let clients = join_all((0..200).map(|_| send(server.addr, CHARGE))).await;
    shop.begun.notified().await;
    shop.go_on.notify_one();
    let answers =
        join_all(clients.into_iter().map(|mut client| async move { read_to_end(&mut client).await })).await;
    let replayed = answers.iter().filter(|answer| answer.contains("idempotency-replayed: true")).count();
    assert_eq!(replayed, 199);
    for answer in answers {
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nnumber 1 for 5 EUR"),
            "{answer}"
        );
    }
    assert_eq!(shop.counts(), (1, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_after_its_keyed_request_finds_it_done_and_others_are_dropped() {
    let shop = Shop::default();
    let server = Running::start(&shop, layer(), SECOND).await;
    for request in [PLAIN, CHARGE] {
        let client = send(server.addr, request).await;
        shop.begun.notified().await;
        drop(client);
        // It takes a moment until the server sees that.
        sleep(100 * MS).await;
    }
    // The plain one is not there any more to take it.
    shop.go_on.notify_one();
    let again = soon(async {
        loop {
            let said = answer(server.addr, CHARGE).await;
            if said.starts_with("HTTP/1.1 200") {
                return said;
            }
            assert!(said.starts_with("HTTP/1.1 409"), "{said}");
            sleep(MS).await;
        }
    });
    let again = again.await;
    assert!(again.contains("idempotency-replayed: true") && again.ends_with("number 2 for 5 EUR"), "{again}");
    assert_eq!(shop.counts(), (2, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_keyed_work_whose_client_has_gone() {
    let shop = Shop::default();
    let server = Running::start(&shop, layer(), 10 * SECOND).await;
    let client = send(server.addr, CHARGE).await;
    shop.begun.notified().await;
    drop(client);
    let go_on = Arc::clone(&shop.go_on);
    tokio::spawn(async move {
        sleep(200 * MS).await;
        go_on.notify_one();
    });
    let report = server.stop().await;
    assert_eq!((shop.counts(), report.detached), ((1, 1), 0));
    assert!(report.took >= 200 * MS && report.took < 5 * SECOND, "{report:?}");
}

#[tokio::test]
async fn keyed_work_that_does_not_end_in_time_is_counted_and_goes_on() {
    let shop = Shop::default();
    let server = Running::start(&shop, layer(), 200 * MS).await;
    let client = send(server.addr, CHARGE).await;
    shop.begun.notified().await;
    let report = server.stop().await;
    drop(client);
    assert_eq!((shop.counts(), report.detached, report.aborted), ((1, 0), 1, 1));
    shop.go_on.notify_one();
    soon(async {
        while shop.counts().1 == 0 {
            sleep(MS).await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_tenants_with_one_key_are_two() {
    let shop = Shop::default();
    shop.open();
    let server = Running::start(&shop, layer(), SECOND).await;
    let as_one = |who: &str| {
        let head = format!("POST / HTTP/1.1\r\nx-who: {who}\r\n");
        CHARGE.strip_prefix(b"POST / HTTP/1.1\r\n").map(|rest| [head.as_bytes(), rest].concat()).unwrap()
    };
    for (number, who) in [(1, "alice"), (2, "bob")] {
        for replayed in [false, true] {
            let said = answer(server.addr, &as_one(who)).await;
            assert!(said.ends_with(&format!("number {number} for 5 EUR")), "{said}");
            assert_eq!(said.contains("idempotency-replayed"), replayed);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn each_refusal_has_its_status_on_the_wire() {
    let shop = Shop::default();
    let strict = layer().settings(settings().required(true).max_request_body(100)).unwrap();
    let server = Running::start(&shop, strict, SECOND).await;
    let running = send(server.addr, CHARGE).await;
    shop.begun.notified().await;
    let in_flight = answer(server.addr, CHARGE).await;
    assert!(in_flight.starts_with("HTTP/1.1 409") && in_flight.contains("retry-after: 1\r\n"), "{in_flight}");
    assert!(in_flight.contains("application/problem+json"));
    let other = String::from_utf8(CHARGE.to_vec()).unwrap().replace("5 EUR", "6 EUR");
    assert!(answer(server.addr, other.as_bytes()).await.starts_with("HTTP/1.1 422"));
    assert!(answer(server.addr, PLAIN).await.starts_with("HTTP/1.1 400"));
    let long = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nidempotency-key: b\r\nconnection: close\r\ncontent-length: 101\r\n\r\n{}",
        "x".repeat(101)
    );
    assert!(answer(server.addr, long.as_bytes()).await.starts_with("HTTP/1.1 413"));
    shop.go_on.notify_one();
    let mut running = running;
    assert!(read_to_end(&mut running).await.ends_with("number 1 for 5 EUR"));
    assert_eq!(shop.counts(), (1, 1));
    server.stop().await;
}

// ───────────────────────────────────────────────────────────────────────────── byte for byte

/// The answer of each name, once over each version.
async fn speaks(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    let frames = [
        Frame::data(Bytes::from_static(b"before ")),
        Frame::data(Bytes::from_static(b"the end")),
        Frame::trailers(trailers),
    ];
    let frames = frames.map(Ok::<_, Infallible>);
    Ok(match request.uri().path() {
        "/binary" => Response::new(Body::from((0..=u8::MAX).collect::<Vec<u8>>())),
        "/trailers" => {
            let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
            Response::builder().header("trailer", "x-sum").body(body).unwrap()
        }
        "/created" => Response::builder().status(201).header("location", "/7").body(Body::empty()).unwrap(),
        _ => Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap(),
    })
}

#[tokio::test]
async fn binary_bodies_trailers_and_empty_answers_are_the_same_again_over_http_1_and_http_2() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    let service = ServiceBuilder::new().layer(layer()).service(service_fn(speaks));
    let serving = tokio::spawn(server.serve(service));
    for http2 in [false, true] {
        let client: Client<_, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        for path in ["/binary", "/trailers", "/created", "/none"] {
            let ask = async || -> Said {
                let request = Request::post(format!("http://{addr}{path}"))
                    .header("idempotency-key", format!("key-{http2}"))
                    .header("te", "trailers");
                let request = request.body(Full::default()).unwrap();
                let mut said = said(soon(client.request(request)).await.unwrap()).await;
                // Those of the request, not of the answer that was kept.
                said.headers.remove("date");
                said.headers.remove("x-request-id");
                said
            };
            let first = ask().await;
            let mut again = ask().await;
            assert!(!first.replayed() && again.replayed(), "{path}");
            again.headers.remove("idempotency-replayed");
            assert_eq!(first, again, "{path} {http2}");
            assert_eq!(first.trailers.is_some(), path == "/trailers");
            assert_eq!(
                first.body.len(),
                match path {
                    "/binary" => 256,
                    "/trailers" => 14,
                    _ => 0,
                }
            );
        }
    }
    serving.abort();
}

// ───────────────────────────────────────────────────────────────────────────── crashes

/// A server in a runtime of its own, which dies with it: as a process that is killed.
struct Killable {
    addr: SocketAddr,
    kill: mpsc::Sender<()>,
    dead: thread::JoinHandle<()>,
}

impl Killable {
    fn start(shop: &Shop, store: &MemoryStore, settings: &IdempotencySettings) -> Self {
        let (shop, layer) =
            (shop.clone(), IdempotencyLayer::new(store.clone()).settings(settings.clone()).unwrap());
        let (kill, killed) = mpsc::channel();
        let (bound, addr) = mpsc::channel();
        let dead = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let running = runtime.block_on(Running::start(&shop, layer, SECOND));
            bound.send(running.addr).unwrap();
            let _ = killed.recv();
            runtime.shutdown_timeout(10 * SECOND);
        });
        Self { addr: addr.recv().unwrap(), kill, dead }
    }

    fn kill(self) {
        drop(self.kill);
        self.dead.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_was_at_when_it_was_killed_is_not_done_again_by_the_next_one() {
    for (after_crash, again) in
        [(AfterCrash::FailClosed, "HTTP/1.1 409"), (AfterCrash::Rerun, "HTTP/1.1 200")]
    {
        let (shop, store) = (Shop::default(), MemoryStore::new());
        let settings = settings().lease(300 * MS).after_crash(after_crash);
        let first = Killable::start(&shop, &store, &settings);
        let mut client = send(first.addr, CHARGE).await;
        shop.begun.notified().await;
        tokio::task::spawn_blocking(|| first.kill()).await.unwrap();
        assert!(read_to_end(&mut client).await.is_empty());
        shop.open();
        let second = Killable::start(&shop, &store, &settings);
        sleep(400 * MS).await;
        for _ in 0..3 {
            let said = answer(second.addr, CHARGE).await;
            assert!(said.starts_with(again), "{said}");
            assert_eq!(
                said.contains("KeyedFault.html#variant.Indeterminate"),
                after_crash == AfterCrash::FailClosed
            );
        }
        let done = usize::from(after_crash == AfterCrash::Rerun);
        assert_eq!(shop.counts(), (1 + done, done));
        tokio::task::spawn_blocking(|| second.kill()).await.unwrap();
    }
}

#[tokio::test]
async fn our_client_that_gives_up_and_tries_again_with_its_key_is_answered_once_it_is_done() {
    let shop = Shop::default();
    let waits = layer().settings(settings().wait_up_to(10 * SECOND)).unwrap();
    let server = Running::start(&shop, waits, SECOND).await;
    let client = stonework::client::Client::builder()
        .settings(ClientSettings::new().attempt_timeout(300 * MS))
        .build()
        .unwrap();
    let go_on = Arc::clone(&shop.go_on);
    tokio::spawn(async move {
        sleep(450 * MS).await;
        go_on.notify_one();
    });
    let response =
        client.post(format!("http://{}/", server.addr)).body("5 EUR").keyed().send().await.unwrap();
    assert_eq!(response.headers()["idempotency-replayed"], "true");
    assert_eq!(response.text().await.unwrap(), "number 1 for 5 EUR");
    assert_eq!(shop.counts(), (1, 1));
    server.stop().await;
}

// ───────────────────────────────────────────────────────────────────────────── without keys

async fn panics() -> StatusCode {
    panic!("on purpose")
}

#[tokio::test]
async fn detached_routes_of_a_router_come_to_their_end_and_others_are_dropped_with_their_clients() {
    let shop = Shop::default();
    let route = |shop: &Shop| {
        let shop = shop.clone();
        post(move |body: Bytes| async move {
            shop.charge(Request::new(Body::from(body))).await.unwrap_or_default().into_parts();
        })
    };
    let detach = Detach::new(1);
    let router = Router::new()
        .route("/detached", route(&shop).layer(DetachLayer::new(detach.clone()).answer()))
        .route("/panic", post(panics).layer(DetachLayer::new(detach.clone()).answer()))
        .route("/attached", route(&shop))
        .route("/keyed", post(|| async { "keyed" }).layer(layer()));
    let server = Server::builder().detach(detach.clone()).bind("127.0.0.1:0").await.unwrap();
    let (addr, handle) = (server.local_addr(), server.handle());
    let serving = tokio::spawn(server.serve(router));
    let to = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nidempotency-key: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
    };
    assert!(answer(addr, to("/panic").as_bytes()).await.starts_with("HTTP/1.1 500"));
    for path in ["/attached", "/detached"] {
        let client = send(addr, to(path).as_bytes()).await;
        shop.begun.notified().await;
        drop(client);
        sleep(100 * MS).await;
    }
    assert_eq!(detach.running(), 1);
    let full = answer(addr, to("/detached").as_bytes()).await;
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("retry-after: 1\r\n"), "{full}");
    for replayed in [false, true] {
        let said = answer(addr, to("/keyed").as_bytes()).await;
        assert!(said.ends_with("keyed"), "{said}");
        assert_eq!(said.contains("idempotency-replayed: true"), replayed);
    }
    handle.shut_down();
    sleep(50 * MS).await;
    assert!(!serving.is_finished(), "it waits");
    shop.go_on.notify_one();
    assert_eq!(soon(serving).await.unwrap().detached, 0);
    assert_eq!(shop.counts(), (2, 1));
}

#[tokio::test]
async fn servers_that_share_what_is_detached_stop_one_by_one() {
    let detach = Detach::new(9);
    let router = Router::new()
        .route("/", post(|| async { "charged" }))
        .layer(DetachLayer::new(detach.clone()).answer());
    let mut servers = Vec::new();
    for _ in 0..2 {
        let server = Server::builder().detach(detach.clone()).bind("127.0.0.1:0").await.unwrap();
        servers.push((server.local_addr(), server.handle(), tokio::spawn(server.serve(router.clone()))));
    }
    let ask = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    while let Some((addr, handle, serving)) = servers.pop() {
        assert!(answer(addr, ask).await.ends_with("charged"), "{} others go on", servers.len());
        handle.shut_down();
        assert_eq!(soon(serving).await.unwrap().detached, 0);
    }
    assert!(detach.spawn(async {}).is_err(), "nobody takes calls any more");
}

#[tokio::test]
async fn a_client_that_stays_is_answered_by_detached_work_as_by_any_other() {
    let shop = Shop::default();
    shop.open();
    let detach = Detach::new(10);
    let serves = shop.clone();
    let service = ServiceBuilder::new()
        .layer(DetachLayer::new(detach))
        .service(service_fn(move |request| serves.clone().charge(request)));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    let serving = tokio::spawn(server.serve(service));
    let mut client = send(addr, PLAIN).await;
    assert!(read_up_to(&mut client, "number 1 for 5 EUR").await.starts_with("HTTP/1.1 200"));
    serving.abort();
}
