//! What the assembled server promises, on real sockets: real time passes here, so limits are short and bounds wide.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get, post};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use stonework::Body;
use stonework::base::Event;
use stonework::server::{Server, ServerSettings, ShutdownReport};
use stonework::testing::Recorder;
use stonework::timeout::TimeoutLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::{Service, service_fn};

use crate::support::{Everything, read_to_end, read_up_to, soon};

/// A limit that is meant to run out in a test.
const SHORT: Duration = Duration::from_millis(100);

struct Running {
    addr: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    report: JoinHandle<ShutdownReport>,
}

impl Running {
    async fn start(settings: ServerSettings, router: Router) -> Self {
        let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let report = tokio::spawn(server.serve_until(router, stopped));
        Self { addr, stop, report }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    async fn stop(self) -> ShutdownReport {
        drop(self.stop);
        soon(self.report).await.unwrap()
    }
}

fn echo() -> Router {
    Router::new().route("/", get(|| async { "hello" })).route("/echo", post(|body: Bytes| async { body }))
}

#[tokio::test]
async fn an_axum_router_is_served_over_http_1_and_http_2() {
    let server = Running::start(ServerSettings::new(), echo()).await;
    for http2 in [false, true] {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let request = Request::post(format!("http://{}/echo", server.addr))
            .body(Full::<Bytes>::from("a body"))
            .unwrap();
        let response = soon(client.request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "a body");
    }
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test]
async fn any_service_is_made_ready_before_it_is_called() {
    use stonework::testing::Strict;

    let answer = |request: Request<Body>| async move {
        let body = request.into_body().collect_up_to(100).await?;
        Ok::<_, stonework::base::BoxError>(Response::new(Body::from(body)))
    };
    // Panics when it is called and was not made ready.
    let service = Strict::new(service_fn(answer)).pending_first(1);
    let ledger = service.ledger();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
    let serving = tokio::spawn(server.serve(service));
    client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    assert!(read_up_to(&mut client, "\r\n\r\nhi").await.starts_with("HTTP/1.1 200"));
    serving.abort();
    let _ = serving.await;
    ledger.assert_settled();
}

/// A body and a service that may move between threads and not be shared by them.
#[derive(Clone, Default)]
struct Unshared(PhantomData<Cell<u32>>);

impl http_body::Body for Unshared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

#[tokio::test]
async fn neither_the_service_nor_its_bodies_need_to_be_sync() {
    let unshared = Unshared::default();
    let service = service_fn(move |_: Request<Body>| {
        let body = unshared.clone();
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(server.local_addr()).await.unwrap();
    let serving = tokio::spawn(server.serve(service));
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut client).await.starts_with("HTTP/1.0 200 OK"));
    serving.abort();
}

#[tokio::test]
async fn whoever_does_not_finish_a_head_in_time_is_closed_and_others_are_served() {
    // A quick client has all of this time to say what it wants, on a busy machine, too.
    let settings = ServerSettings::new().header_read_timeout(Duration::from_secs(1));
    let server = Running::start(settings, echo()).await;
    // Nothing at all, half a line, a head without its end, and half of what an HTTP/2 client begins with.
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nslow: ", "PRI * HTTP"] {
        let mut slow = server.connect().await;
        slow.write_all(begun.as_bytes()).await.unwrap();

        let mut quick = server.connect().await;
        quick.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(read_up_to(&mut quick, "hello").await.starts_with("HTTP/1.1 200"));

        let answer = read_to_end(&mut slow).await;
        assert!(!answer.contains("200"), "{begun:?} was answered with {answer:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_http_2_client_that_no_longer_answers_is_closed_also_in_the_middle_of_a_head() {
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // A head of 16 bytes of which one comes, and a head that says that there is more of it.
    const CUT: &[u8] = b"\0\0\x10\x01\x04\0\0\0\x01\x82";
    const CONTINUED: &[u8] = b"\0\0\x01\x01\0\0\0\0\x01\x82";
    let settings = ServerSettings::new().ping_interval(SHORT).ping_timeout(SHORT);
    let server = Running::start(settings, echo()).await;
    for head in [&b""[..], CUT, CONTINUED] {
        let mut client = server.connect().await;
        client.write_all(&[BEGIN, head].concat()).await.unwrap();
        let mut read = Vec::new();
        let _ = soon(client.read_to_end(&mut read)).await;
        assert!(!read.is_empty(), "it was taken for HTTP/2");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let settings = ServerSettings::new().keep_alive_timeout(SHORT);
    let server = Running::start(settings, echo()).await;
    let mut client = server.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_up_to(&mut client, "hello").await;
    read_to_end(&mut client).await;
    server.stop().await;
}

#[tokio::test]
async fn limits_beyond_what_a_clock_can_count_are_no_limits_and_break_nothing() {
    let settings = ServerSettings::new()
        .header_read_timeout(Duration::MAX)
        .ping_interval(Duration::MAX)
        .ping_timeout(Duration::MAX)
        .drain_timeout(Duration::MAX);
    let server = Running::start(settings, echo()).await;
    for http2 in [false, true] {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let request =
            Request::get(format!("http://{}/", server.addr)).body(Full::<Bytes>::default()).unwrap();
        assert_eq!(soon(client.request(request)).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(server.stop().await.aborted, 0);
}

/// A route whose answer waits to be told, and says when it was reached.
#[derive(Clone, Default)]
struct Gate {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    fn route(&self) -> Router {
        let gate = self.clone();
        let wait = move || async move {
            gate.reached.notify_one();
            gate.open.notified().await;
            "finished"
        };
        echo().route("/wait", any(wait))
    }
}

const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_request_in_flight_at_shutdown_gets_its_answer_and_idle_connections_are_closed() {
    let gate = Gate::default();
    let server = Running::start(ServerSettings::new(), gate.route()).await;
    let (mut busy, mut idle, mut silent) =
        (server.connect().await, server.connect().await, server.connect().await);
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_up_to(&mut idle, "hello").await;
    busy.write_all(WAIT).await.unwrap();
    soon(gate.reached.notified()).await;

    let addr = server.addr;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut silent).await, "");
    // The port is closed at the same time.
    soon(async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;

    gate.open.notify_one();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.ends_with("finished") && answer.contains("connection: close"), "{answer}");
    assert_eq!(soon(stopping).await.unwrap().aborted, 0);
}

#[tokio::test]
async fn a_request_in_flight_over_http_2_gets_its_answer_at_shutdown() {
    let gate = Gate::default();
    let server = Running::start(ServerSettings::new(), gate.route()).await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request =
        Request::get(format!("http://{}/wait", server.addr)).body(Full::<Bytes>::default()).unwrap();
    let answer = tokio::spawn(client.request(request));
    soon(gate.reached.notified()).await;
    let stopping = tokio::spawn(server.stop());
    gate.open.notify_one();
    let body = soon(answer).await.unwrap().unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "finished");
    assert_eq!(soon(stopping).await.unwrap().aborted, 0);
}

#[tokio::test]
async fn what_is_not_done_when_the_drain_is_over_is_dropped_and_counted() {
    let gate = Gate::default();
    let server = Running::start(ServerSettings::new().drain_timeout(SHORT), gate.route()).await;
    let mut busy = server.connect().await;
    busy.write_all(WAIT).await.unwrap();
    soon(gate.reached.notified()).await;
    let start = Instant::now();
    assert_eq!(server.stop().await.aborted, 1);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(read_to_end(&mut busy).await, "");
}

/// Says when it is dropped.
struct Tell(Option<oneshot::Sender<()>>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.take().map(|tell| tell.send(()));
    }
}

/// A service that never answers, says when it was called, and says when its first call is dropped.
fn never() -> (
    impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send,
    Arc<Notify>,
    oneshot::Receiver<()>,
) {
    let reached = Arc::new(Notify::new());
    let (tell, dropped) = oneshot::channel();
    let tell = Arc::new(std::sync::Mutex::new(Some(Tell(Some(tell)))));
    let handler_reached = Arc::clone(&reached);
    let never = service_fn(move |_: Request<Body>| {
        let tell = tell.lock().unwrap().take();
        let reached = Arc::clone(&handler_reached);
        async move {
            let _tell = tell;
            reached.notify_one();
            pending::<Result<Response<Body>, Infallible>>().await
        }
    });
    (never, reached, dropped)
}

#[tokio::test]
async fn dropping_the_server_closes_its_connections_and_drops_its_handlers() {
    for http2 in [false, true] {
        let (never, reached, dropped) = never();
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let uri = format!("http://{}/", server.local_addr());
        let serving = tokio::spawn(server.serve(never));
        let answer = tokio::spawn(client.request(Request::get(uri).body(Full::<Bytes>::default()).unwrap()));
        soon(reached.notified()).await;
        serving.abort();
        soon(dropped).await.expect("the handler is dropped");
        assert!(soon(answer).await.unwrap().is_err(), "the client hears of it");
    }
}

#[tokio::test]
async fn the_handler_of_a_client_that_left_is_dropped() {
    for http2 in [false, true] {
        let (never, reached, dropped) = never();
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let uri = format!("http://{}/", server.local_addr());
        let serving = tokio::spawn(server.serve(never));
        let call = tokio::spawn(client.request(Request::get(uri).body(Full::<Bytes>::default()).unwrap()));
        soon(reached.notified()).await;
        call.abort();
        soon(dropped).await.expect("the handler is dropped");
        serving.abort();
    }
}

fn panicking() -> Router {
    let panic = || async {
        if true {
            panic!("on purpose")
        }
    };
    echo().route("/panic", get(panic))
}

#[tokio::test]
async fn a_panic_in_a_handler_is_answered_with_500_and_told_and_the_connection_goes_on() {
    for http2 in [false, true] {
        let written = Everything::default();
        let _guard = crate::support::subscriber::set_default(written.clone());
        let told = Recorder::new();
        let server = Server::builder().observer(told.clone()).bind("127.0.0.1:0").await.unwrap();
        let (addr, handle) = (server.local_addr(), server.handle());
        let serving = tokio::spawn(server.serve(panicking()));
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        for (path, status) in [("/panic", StatusCode::INTERNAL_SERVER_ERROR), ("/", StatusCode::OK)] {
            let request =
                Request::get(format!("http://{addr}{path}")).body(Full::<Bytes>::default()).unwrap();
            let response = soon(client.request(request)).await.unwrap();
            assert_eq!(response.status(), status);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            // What the panic said is none of the client's business.
            assert!(!body.windows(7).any(|window| window == b"purpose"), "{body:?}");
            assert_eq!(handle.connections(), 1, "no connection was lost");
        }
        assert!(written.text().contains("on purpose"), "it is told");
        assert!(
            matches!(&told.events()[..], [Event::HandlerPanicked { message, .. }] if &**message == "on purpose")
        );
        handle.shut_down();
        assert_eq!(soon(serving).await.unwrap().aborted, 0);
    }
}

#[tokio::test]
async fn a_timeout_is_answered_with_a_problem_and_the_connection_serves_the_next_request() {
    let slow = echo().route("/wait", any(pending::<&'static str>));
    let server = Running::start(ServerSettings::new(), slow.layer(TimeoutLayer::new(SHORT).answer())).await;
    let mut client = server.connect().await;

    client.write_all(WAIT).await.unwrap();
    let refusal = read_up_to(&mut client, "}").await;
    assert!(refusal.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{refusal}");
    assert!(refusal.contains("content-type: application/problem+json\r\n"), "{refusal}");
    assert!(refusal.contains(r#""status":504"#), "{refusal}");

    // No body after the refusal of a HEAD: the next answer follows its head at once.
    client.write_all(b"HEAD /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let refusal = read_up_to(&mut client, "\r\n\r\n").await;
    assert!(refusal.starts_with("HTTP/1.1 504"), "{refusal}");

    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = read_up_to(&mut client, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    server.stop().await;
}

/// Slow clients are many in one process here, which has to have as many files open: `ulimit -n 4096` is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_drip_are_closed_and_one_that_does_not_is_served_as_before() {
    const LIMIT: Duration = Duration::from_secs(2);
    let server = Running::start(ServerSettings::new().header_read_timeout(LIMIT), echo()).await;
    let mut quick = server.connect().await;
    let mut slowest = async |seconds: Duration| {
        let (start, mut slowest) = (Instant::now(), Duration::ZERO);
        while start.elapsed() < seconds {
            let asked = Instant::now();
            quick.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            read_up_to(&mut quick, "hello").await;
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest
    };
    let alone = slowest(Duration::from_millis(300)).await;

    let addr = server.addr;
    let mut drips = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        drips.spawn(async move {
            let mut slow = TcpStream::connect(addr).await.expect("a socket: see `ulimit -n`");
            let start = Instant::now();
            for byte in b"GET / HTTP/1.1\r\nhost: a.name.that.takes.its.time.example\r\n\r\n" {
                if slow.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            let answer = read_to_end(&mut slow).await;
            (answer, start.elapsed())
        });
    }
    let among_many = slowest(LIMIT + Duration::from_secs(1)).await;
    for (answer, took) in soon(drips.join_all()).await {
        assert_eq!(answer, "");
        // It notices with the byte after.
        assert!((LIMIT..5 * LIMIT).contains(&took), "{took:?}");
    }
    assert!(
        among_many < 10 * alone.max(Duration::from_millis(100)),
        "{alone:?} alone, {among_many:?} among many"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_of_axum_is_upgraded_and_stays() {
    use axum::extract::ws::WebSocketUpgrade;

    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    let settings = ServerSettings::new().header_read_timeout(SHORT).keep_alive_timeout(SHORT).max_age(SHORT);
    let server = Running::start(settings, Router::new().route("/", any(echo))).await;
    let mut client = server.connect().await;
    let handshake = "GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(handshake.as_bytes()).await.unwrap();
    let head = read_up_to(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    // The example of RFC 6455, section 1.3.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    // Limits on requests are none of its business.
    tokio::time::sleep(3 * SHORT).await;
    // "Hello", masked and not: RFC 6455, section 5.7.
    client.write_all(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).await.unwrap();
    let mut frame = [0; 7];
    soon(client.read_exact(&mut frame)).await.unwrap();
    assert_eq!(&frame, b"\x81\x05Hello");
    drop(client);
    assert_eq!(server.stop().await.upgraded, 0);
}

#[tokio::test]
async fn a_client_that_is_refused_in_the_middle_of_its_upload_gets_the_answer() {
    const SIZE: usize = 16 * 1024 * 1024;
    let refuse = || async { (StatusCode::PAYLOAD_TOO_LARGE, "too large") };
    let server = Running::start(ServerSettings::new(), Router::new().route("/", any(refuse))).await;
    for _ in 0..20 {
        let client = server.connect().await;
        let (mut read, mut write) = client.into_split();
        let upload = tokio::spawn(async move {
            let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {SIZE}\r\n\r\n");
            let mut sent = write.write_all(head.as_bytes()).await;
            // It is not in a hurry to look whether there is an answer.
            for _ in 0..SIZE / 65_536 {
                sent = sent.and(write.write_all(&[b'x'; 65_536]).await);
            }
            sent
        });
        // Who is reset here, as many clients are, looks no further.
        soon(upload).await.unwrap().expect("no reset");
        let mut answer = String::new();
        soon(read.read_to_string(&mut answer)).await.expect("no reset");
        assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too large"), "{answer}");
    }
    server.stop().await;
}
