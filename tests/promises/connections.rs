//! What the server promises about time and number of connections: in memory, on a paused clock.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use stonework::Body;
use stonework::base::{CloseReason, Error, Event, Kind, Observer, Peer, ServerPhase};
use stonework::health::{Health, Impact};
use stonework::server::{Listener, Server, ServerBuilder, ServerHandle, ServerSettings, ShutdownReport};
use stonework::testing::Recorder;
use stonework::timeout::BodyLimits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, service_fn};

use crate::support::SECOND;

/// Connections within the process.
#[derive(Debug)]
struct InMemory(mpsc::UnboundedReceiver<(DuplexStream, SocketAddr)>);

impl Listener for InMemory {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some((stream, from)) => Ok((stream, Some(from))),
            None => pending().await,
        }
    }
}

/// A server that runs, and how to connect to it.
pub(crate) struct Running {
    connect: mpsc::UnboundedSender<(DuplexStream, SocketAddr)>,
    pub(crate) handle: ServerHandle,
    told: Recorder,
    pub(crate) report: JoinHandle<ShutdownReport>,
}

/// What the socket of a client holds before somebody reads it.
const SOCKET: usize = 4 * 1024;

impl Running {
    pub(crate) fn start(settings: ServerSettings) -> Self {
        Self::run(Server::builder().settings(settings))
    }

    pub(crate) fn run(builder: ServerBuilder) -> Self {
        Self::serve(builder, service_fn(handler))
    }

    pub(crate) fn serve<S>(builder: ServerBuilder, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>,
        S: Clone + Send + 'static,
    {
        let (connect, connections) = mpsc::unbounded_channel();
        let told = Recorder::new();
        let server = builder.observer(told.clone()).listen(InMemory(connections)).unwrap();
        let handle = server.handle();
        let report = tokio::spawn(server.serve(service));
        Self { connect, handle, told, report }
    }

    pub(crate) fn connect(&self) -> DuplexStream {
        self.connect_from("192.0.2.1:1")
    }

    pub(crate) fn connect_from(&self, from: &str) -> DuplexStream {
        let (client, server) = duplex(SOCKET);
        self.connect.send((server, from.parse().unwrap())).expect("it runs");
        client
    }

    pub(crate) async fn h2(&self) -> h2::client::SendRequest<Bytes> {
        let mut builder = h2::client::Builder::new();
        // As clients do: one stream cannot use up what all of them may send.
        builder.initial_connection_window_size(1024 * 1024);
        let (send, connection) = builder.handshake(self.connect()).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        send
    }

    /// Why connections were closed.
    pub(crate) fn closed(&self) -> Vec<CloseReason> {
        let why = |event| match event {
            Event::ConnectionClosed { why, .. } => Some(why),
            _ => None,
        };
        self.told.events().into_iter().filter_map(why).collect()
    }

    pub(crate) async fn stop(self) -> ShutdownReport {
        self.handle.shut_down();
        self.report.await.unwrap()
    }
}

pub(crate) async fn handler(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let respond = |body: Body| Ok(Response::new(body));
    match request.uri().path() {
        "/echo" => match request.into_body().collect().await {
            Ok(body) => respond(Body::from(body.to_bytes())),
            // As the extractors of frameworks do.
            Err(_) => {
                let mut response = Response::new(Body::from("cannot read it"));
                *response.status_mut() = StatusCode::BAD_REQUEST;
                Ok(response)
            }
        },
        // As a call of gRPC with a stream in either direction.
        "/grpc" => {
            let mut response = Response::new(request.into_body());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            Ok(response)
        }
        "/ignore" => respond(Body::from("hello")),
        "/large" => respond(Body::from(vec![b'x'; 1024 * 1024])),
        "/in-pieces" => respond(in_pieces(1024, Duration::ZERO)),
        "/in-two" => {
            let halves = [vec![b'x'; 512 * 1024], vec![b'y'; 512 * 1024]];
            let frames = halves.map(|half| Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(half))));
            respond(Body::new(StreamBody::new(futures_util::stream::iter(frames))))
        }
        // Answers at once, and begins to read after a while.
        "/later" => {
            tokio::spawn(async move {
                sleep(3 * SECOND).await;
                let read = request.into_body().collect().await.map(|body| body.to_bytes().len());
                tracing::info!(?read, "read what came later");
            });
            respond(Body::from("hello"))
        }
        "/slow" => {
            sleep(1_000 * SECOND).await;
            respond(Body::from("hello"))
        }
        // Server-sent events: an hour of heartbeats.
        "/events" => respond(in_pieces(240, 15 * SECOND)),
        "/peer" => respond(Body::from(format!("{:?}", Peer::of(request.extensions()).addr()))),
        "/204" | "/304" => {
            let mut response = Response::new(Body::from("no content at all"));
            *response.status_mut() = request.uri().path()[1..].parse().unwrap();
            Ok(response)
        }
        _ => respond(Body::from("hello")),
    }
}

/// A body of so many pieces of a kilobyte, each some time after the one before.
fn in_pieces(count: usize, pause: Duration) -> Body {
    let (send, mut pieces) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for _ in 0..count {
            sleep(pause).await;
            if send.send(vec![b'x'; 1024].into()).await.is_err() {
                return;
            }
        }
    });
    let frames = futures_util::stream::poll_fn(move |cx| {
        pieces.poll_recv(cx).map(|piece| piece.map(|data| Ok::<_, Infallible>(http_body::Frame::data(data))))
    });
    Body::new(StreamBody::new(frames))
}

pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

/// Sends this and reads an answer that ends like that.
pub(crate) async fn ask(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    end: &str,
) -> String {
    client.write_all(request).await.unwrap();
    client.flush().await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let more = timeout(100 * SECOND, client.read_buf(&mut read)).await.expect("an answer").unwrap();
        assert_ne!(more, 0, "closed after {:?}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

/// What is left to read, and when the connection was closed.
pub(crate) async fn read_to_end(client: &mut DuplexStream, since: Instant) -> (String, Duration) {
    let mut read = Vec::new();
    let _ = client.read_to_end(&mut read).await;
    (String::from_utf8(read).unwrap(), since.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_off_at_its_limit_also_that_of_a_later_request() {
    let server = Running::start(ServerSettings::new());
    let drip = |mut client: DuplexStream| async move {
        for byte in b"GET / HTTP/1.1\r\nhost: a.name.that.takes.its.time.example" {
            if client.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(SECOND).await;
        }
        panic!("it was never closed");
    };
    let start = Instant::now();
    let first = server.connect();
    drip(first).await;
    // It notices with the byte after.
    assert!(start.elapsed() <= 11 * SECOND, "{:?}", start.elapsed());

    let mut later = server.connect();
    ask(&mut later, &get("/"), "hello").await;
    sleep(40 * SECOND).await;
    let start = Instant::now();
    drip(later).await;
    assert!(start.elapsed() <= 11 * SECOND, "{:?}", start.elapsed());
    assert_eq!(server.closed(), [CloseReason::Head, CloseReason::Head]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_idle_between_requests_longer_than_within_a_head() {
    let server = Running::start(ServerSettings::new());
    let mut client = server.connect();
    // With and without a wait in which it gives its buffers back, and with a request in pieces after it.
    for pause in [0, 500, 1_500, 74_000, 74_000] {
        sleep(Duration::from_millis(pause)).await;
        ask(&mut client, &get("/"), "hello").await;
        client.write_all(b"GET /ign").await.unwrap();
        sleep(9 * SECOND).await;
        ask(&mut client, b"ore HTTP/1.1\r\nhost: x\r\n\r\n", "hello").await;
    }
    let start = Instant::now();
    assert_eq!(read_to_end(&mut client, start).await, (String::new(), 75 * SECOND));
    assert_eq!(server.closed(), [CloseReason::Idle]);

    let mut silent = server.connect();
    assert_eq!(read_to_end(&mut silent, Instant::now()).await, (String::new(), 10 * SECOND));
    assert_eq!(server.closed(), [CloseReason::Idle, CloseReason::Head]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_ahead_of_their_turn_are_kept_while_a_connection_rests() {
    let server = Running::start(ServerSettings::new());
    let mut client = server.connect();
    // The second one is not whole; no byte of it may be lost, and it has come, so it has to end.
    ask(&mut client, &[get("/"), b"GET /ignore HT".to_vec()].concat(), "hello").await;
    sleep(5 * SECOND).await;
    ask(&mut client, b"TP/1.1\r\nhost: x\r\n\r\n", "hello").await;
    sleep(5 * SECOND).await;
    // An empty line or two before a request are nothing (RFC 9112, section 2.2).
    ask(&mut client, &[get("/"), b"\r\n".to_vec()].concat(), "hello").await;
    sleep(5 * SECOND).await;
    ask(&mut client, &get("/"), "hello").await;

    // However much of it has come.
    let half = format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}", "x".repeat(100));
    ask(&mut client, &[get("/"), half.into_bytes()].concat(), "hello").await;
    sleep(5 * SECOND).await;
    ask(&mut client, b"x\r\n\r\n", "hello").await;

    // A body that its handler did not read is no request, whatever it looks like.
    let smuggled = b"POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 34\r\n\r\n";
    ask(&mut client, smuggled, "hello").await;
    sleep(5 * SECOND).await;
    let _ = client.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n....").await;
    let (answer, _) = read_to_end(&mut client, Instant::now()).await;
    assert!(!answer.contains("192.0.2.1"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_after_the_answer_is_waited_for_and_is_no_request() {
    let server = Running::start(ServerSettings::new());
    // Slower than any head may be, and over HTTP/2 for longer than a connection may be idle.
    let mut client = server.connect();
    let start = Instant::now();
    ask(&mut client, b"POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n", "hello").await;
    for _ in 0..100 {
        sleep(SECOND).await;
        client
            .write_all(b"x")
            .await
            .unwrap_or_else(|_| panic!("closed after {:?}: {:?}", start.elapsed(), server.closed()));
    }
    ask(&mut client, &get("/"), "hello").await;

    let mut send = server.h2().await.ready().await.unwrap();
    let request = Request::post("http://x/later").body(()).unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    for _ in 0..100 {
        sleep(SECOND).await;
        body.send_data("x".into(), false).unwrap_or_else(|error| panic!("{error}: {:?}", server.closed()));
    }
    body.send_data("x".into(), true).unwrap();

    // The first body was there at once, and is read when the second has not come yet.
    let mut client = server.connect();
    let first = b"POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
    ask(&mut client, first, "hello").await;
    sleep(SECOND * 5 / 2).await;
    let second = b"POST /later HTTP/1.1\r\nhost: x\r\ncontent-length: 34\r\n\r\n";
    ask(&mut client, second, "hello").await;
    sleep(SECOND * 2).await;
    let _ = client.write_all(b"GET /peer HTTP/1.1\r\nhost: x\r\n\r\n....").await;
    let (answer, _) = read_to_end(&mut client, Instant::now()).await;
    assert_eq!(answer, "");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_its_answer_is_closed() {
    for path in ["/large", "/in-pieces"] {
        let server = Running::start(ServerSettings::new());
        let mut client = server.connect();
        client.write_all(&get(path)).await.unwrap();
        sleep(29 * SECOND).await;
        assert_eq!(server.handle.connections(), 1);
        sleep(2 * SECOND).await;
        assert_eq!((server.handle.connections(), server.closed()), (0, vec![CloseReason::Stalled]), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_slowly_gets_all_of_it() {
    for path in ["/large", "/in-pieces"] {
        let server = Running::start(ServerSettings::new());
        let mut client = server.connect();
        client.write_all(&get(path)).await.unwrap();
        let mut read = 0;
        while read < 1024 * 1024 {
            sleep(SECOND).await;
            let more = client.read(&mut [0; 16 * 1024]).await.unwrap();
            assert_ne!(more, 0, "{path}: closed after {read} bytes: {:?}", server.closed());
            read += more;
        }
        assert_eq!(server.closed(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_2_an_answer_that_is_not_taken_is_cut_off_alone() {
    // However the handler has cut it, the last piece included.
    for path in ["/in-pieces", "/in-two", "/large"] {
        let server = Running::start(ServerSettings::new());
        let mut send = server.h2().await.ready().await.unwrap();
        let request = |path: &str| Request::get(format!("http://x{path}")).body(()).unwrap();
        let (stuck, _) = send.send_request(request(path), true).unwrap();
        let mut stuck = stuck.await.unwrap().into_body();
        sleep(29 * SECOND).await;
        // Its window holds 64 KiB; none of it was given back, so the server cannot go on.
        let (other, _) = send.send_request(request("/"), true).unwrap();
        assert_eq!(other.await.unwrap().into_body().data().await.unwrap().unwrap(), "hello");
        sleep(2 * SECOND).await;
        let reset = async {
            loop {
                match stuck.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return error.is_reset(),
                    None => return false,
                }
            }
        };
        assert_eq!(timeout(SECOND, reset).await, Ok(true), "{path}");
        let (other, _) = send.send_request(request("/"), true).unwrap();
        assert_eq!(other.await.unwrap().status(), 200, "the connection is as good as before");
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_2_an_answer_in_large_pieces_may_be_taken_slowly() {
    const HALF_A_WINDOW: usize = 32 * 1024;
    let server = Running::start(ServerSettings::new());
    for path in ["/in-two", "/large"] {
        let mut send = server.h2().await.ready().await.unwrap();
        let request = Request::get(format!("http://x{path}")).body(()).unwrap();
        let mut body = send.send_request(request, true).unwrap().0.await.unwrap().into_body();
        let (mut read, mut given_back) = (0, 0);
        while let Some(data) = body.data().await {
            read += data.unwrap_or_else(|error| panic!("{path}: {error} after {read} bytes")).len();
            // Half a minute would be too long for the whole, but not for a part.
            if read - given_back >= HALF_A_WINDOW {
                sleep(20 * SECOND).await;
                body.flow_control().release_capacity(read - given_back).unwrap();
                given_back = read;
            }
        }
        assert_eq!(read, 1024 * 1024, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_stops_coming_is_answered_with_408() {
    let server = Running::start(ServerSettings::new());
    let post = |kind: &str| {
        format!("POST /echo HTTP/1.1\r\nhost: x\r\n{kind}content-length: 9\r\n\r\nhalf").into_bytes()
    };
    let mut client = server.connect();
    let start = Instant::now();
    client.write_all(&post("")).await.unwrap();
    let (answer, took) = read_to_end(&mut client, start).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.contains("connection: close") && answer.contains(r#""status":408"#), "{answer}");
    assert!(answer.contains(r#""detail":"the body took too long""#), "{answer}");
    assert_eq!(took, 30 * SECOND);

    // It may be as slow as it likes, as long as something comes; and the connection goes on.
    let mut client = server.connect();
    client.write_all(&post("")).await.unwrap();
    for byte in b"-body" {
        sleep(25 * SECOND).await;
        client.write_all(&[*byte]).await.unwrap();
    }
    ask(&mut client, b"", "half-body").await;
    ask(&mut client, &get("/"), "hello").await;

    // And so may all be with these settings.
    let streaming = Running::start(ServerSettings::streaming());
    let mut patient = streaming.connect();
    patient.write_all(&post("")).await.unwrap();
    sleep(3_000 * SECOND).await;
    ask(&mut patient, b"-body", "half-body").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_may_be_silent_in_a_stream_of_grpc_if_the_service_says_that_it_is_one() {
    let limits = BodyLimits::new().min_rate(1, 10 * SECOND).total(4_000 * SECOND);
    let server = Running::start(ServerSettings::new().request_body(limits).without_max_age());
    let mut send = server.h2().await.ready().await.unwrap();
    let mut call = |path: &str| {
        let request = Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
        let (answer, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data("half".into(), false).unwrap();
        (answer, body)
    };
    let (answer, mut body) = call("/grpc");
    let mut answer = answer.await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "half");
    sleep(3_000 * SECOND).await;
    body.send_data("-body".into(), false).unwrap();
    assert_eq!(answer.data().await.unwrap().unwrap(), "-body");
    let start = Instant::now();
    assert!(answer.data().await.is_none_or(|data| data.is_err()), "it has the other limits that were set");
    assert!((990 * SECOND..=1_000 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());

    // That its client alone says so, is no reason to wait for it.
    let start = Instant::now();
    let (answer, _body) = call("/echo");
    let answer = answer.await.unwrap();
    assert_eq!((answer.status(), start.elapsed()), (StatusCode::OK, 10 * SECOND));
    assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
}

#[tokio::test(start_paused = true)]
async fn a_body_has_the_limits_that_were_set() {
    let limits = BodyLimits::none().total(60 * SECOND);
    let server = Running::start(ServerSettings::new().request_body(limits));
    let mut client = server.connect();
    let start = Instant::now();
    client.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = tokio::io::split(client);
    let drip = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            sleep(SECOND).await;
        }
    });
    let mut answer = String::new();
    read.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(start.elapsed() <= 62 * SECOND, "{:?}", start.elapsed());
    // What it still sends is read for a while, so that it is not reset before it has read the answer.
    drip.await.unwrap();
    assert!(start.elapsed() <= 67 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_goes_on_for_as_long_as_it_likes() {
    let server = Running::start(ServerSettings::streaming());
    let mut client = server.connect();
    client.write_all(&get("/events")).await.unwrap();
    let start = Instant::now();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n0\r\n\r\n") {
        assert_ne!(client.read_buf(&mut read).await.unwrap(), 0);
    }
    assert_eq!(start.elapsed(), 240 * 15 * SECOND);
    assert_eq!(server.closed(), []);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_takes_on_nothing_more_and_finishes_what_it_has() {
    let server = Running::start(ServerSettings::new().max_age(100 * SECOND).keep_alive_timeout(300 * SECOND));
    let (mut idle, mut busy) = (server.connect(), server.connect());
    ask(&mut idle, &get("/"), "hello").await;
    busy.write_all(&get("/slow")).await.unwrap();
    let start = Instant::now();
    let (_, took) = read_to_end(&mut idle, start).await;
    assert!((89 * SECOND..=111 * SECOND).contains(&took), "{took:?}");
    let (answer, took) = read_to_end(&mut busy, start).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("hello"), "{answer}");
    assert_eq!(took, 1_000 * SECOND);

    let mut send = server.h2().await.ready().await.unwrap();
    let (slow, _) = send.send_request(Request::get("http://x/slow").body(()).unwrap(), true).unwrap();
    sleep(120 * SECOND).await;
    assert!(send.clone().ready().await.is_err(), "it was told that the connection is over");
    assert_eq!(slow.await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_coming_when_its_connection_grows_old_is_answered() {
    let settings = ServerSettings::new().max_age(100 * SECOND).header_read_timeout(60 * SECOND);
    let server = Running::start(settings.keep_alive_timeout(300 * SECOND));
    let mut client = server.connect();
    ask(&mut client, &get("/"), "hello").await;
    // From before it can be old until after it must be.
    sleep(80 * SECOND).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    sleep(40 * SECOND).await;
    let answer = ask(&mut client, b"host: x\r\n\r\n", "hello").await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(read_to_end(&mut client, Instant::now()).await, (String::new(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn no_two_connections_grow_old_together() {
    let server =
        Running::start(ServerSettings::new().max_age(1_000 * SECOND).keep_alive_timeout(9_000 * SECOND));
    let start = Instant::now();
    let mut ages = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect();
        ask(&mut client, &get("/"), "hello").await;
        ages.push(tokio::spawn(async move { read_to_end(&mut client, start).await.1 }));
    }
    let mut ended = std::collections::BTreeSet::new();
    for age in ages {
        let age = age.await.unwrap();
        assert!((899 * SECOND..=1_101 * SECOND).contains(&age), "{age:?}");
        ended.insert(age);
    }
    assert!(ended.len() > 15, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_old_connection_has_begun_may_have_a_limit() {
    let settings = ServerSettings::new().max_age(100 * SECOND).age_grace(10 * SECOND);
    let server = Running::start(settings);
    let mut busy = server.connect();
    busy.write_all(&get("/slow")).await.unwrap();
    let (answer, took) = read_to_end(&mut busy, Instant::now()).await;
    assert_eq!(answer, "");
    assert!((99 * SECOND..=121 * SECOND).contains(&took), "{took:?}");
    assert_eq!(server.closed(), [CloseReason::Old, CloseReason::Old]);
}

#[tokio::test(start_paused = true)]
async fn an_http_2_connection_without_requests_is_told_that_it_is_over() {
    let server = Running::start(ServerSettings::new());
    let mut send = server.h2().await.ready().await.unwrap();
    let request = || Request::get("http://x/").body(()).unwrap();
    assert_eq!(send.send_request(request(), true).unwrap().0.await.unwrap().status(), 200);
    sleep(74 * SECOND).await;
    assert_eq!(send.send_request(request(), true).unwrap().0.await.unwrap().status(), 200);
    sleep(76 * SECOND).await;
    assert_eq!((server.handle.connections(), server.closed()), (0, vec![CloseReason::Idle]));
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_connections_and_the_next_one_waits() {
    let server = Running::start(ServerSettings::new().max_connections(2));
    let (mut one, mut two, mut three) = (server.connect(), server.connect(), server.connect());
    ask(&mut one, &get("/"), "hello").await;
    ask(&mut two, &get("/"), "hello").await;
    three.write_all(&get("/")).await.unwrap();
    let unanswered = timeout(5 * SECOND, three.read_u8()).await;
    assert!(unanswered.is_err() && server.handle.connections() == 2);
    drop(one);
    ask(&mut three, b"", "hello").await;
    assert_eq!(server.closed(), []);
    assert_eq!(server.stop().await.aborted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_is_taken_to_its_end_and_one_without_end_is_not() {
    let (connect, connections) = mpsc::unbounded_channel();
    let server = Server::builder().listen(InMemory(connections)).unwrap();
    let mut queued = Vec::new();
    // More than Tokio hands out before it wants somebody else to have a turn.
    for _ in 0..200 {
        let (mut client, socket) = duplex(SOCKET);
        client.write_all(&get("/")).await.unwrap();
        connect.send((socket, "192.0.2.1:1".parse().unwrap())).unwrap();
        queued.push(client);
    }
    server.handle().shut_down();
    let report = tokio::spawn(server.serve(service_fn(handler)));
    for (place, mut client) in queued.into_iter().enumerate() {
        let (answer, _) = read_to_end(&mut client, Instant::now()).await;
        assert!(answer.ends_with("hello"), "number {place}: {answer}");
    }
    assert_eq!(report.await.unwrap().finished, 200);

    /// Somebody connects all the time, and some have left before they are taken.
    struct Endless(u32);
    impl Listener for Endless {
        type Io = DuplexStream;
        async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
            self.0 += 1;
            if self.0.is_multiple_of(2) {
                Ok((duplex(1).1, None))
            } else {
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }
    let server = Server::builder().listen(Endless(0)).unwrap();
    server.handle().shut_down();
    assert_eq!(server.serve(service_fn(handler)).await.aborted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_keeps_what_it_is_given_is_taken_from_when_it_is_flushed() {
    /// As a user's own encryption may be.
    struct Buffered(Option<DuplexStream>);
    impl Listener for Buffered {
        type Io = tokio::io::BufWriter<DuplexStream>;
        async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
            match self.0.take() {
                Some(socket) => Ok((tokio::io::BufWriter::with_capacity(64 * 1024, socket), None)),
                None => pending().await,
            }
        }
    }
    let (mut client, socket) = duplex(1024);
    let server = Server::builder().listen(Buffered(Some(socket))).unwrap();
    let _serving = tokio::spawn(server.serve(service_fn(handler)));
    let body = "x".repeat(4 * 1024);
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    for _ in 0..2 {
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(body.as_bytes()).await.unwrap();
        sleep(10 * SECOND).await;
        ask(&mut client, b"", &body).await;
        // Longer than it may take nothing, and shorter than it may be idle.
        sleep(60 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_address_has_only_so_many_connections_and_others_are_served() {
    let server = Running::start(ServerSettings::new().max_connections_per_address(2));
    let mut kept: Vec<_> = (0..2).map(|port| server.connect_from(&format!("[2001:db8::{port}]:1"))).collect();
    for client in &mut kept {
        ask(client, &get("/"), "hello").await;
    }
    // The same network of 64 bits.
    let mut refused = server.connect_from("[2001:db8::9]:1");
    assert_eq!(read_to_end(&mut refused, Instant::now()).await, (String::new(), Duration::ZERO));
    assert_eq!(server.closed(), [CloseReason::Crowded]);
    ask(&mut server.connect_from("[2001:db8:0:1::9]:1"), &get("/"), "hello").await;
    kept.pop();
    sleep(SECOND).await;
    ask(&mut server.connect_from("[2001:db8::9]:1"), &get("/"), "hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_who_is_at_the_other_end() {
    let server = Running::start(ServerSettings::new());
    let answer = ask(&mut server.connect_from("192.0.2.7:4711"), &get("/peer"), ")").await;
    assert!(answer.ends_with("Some(192.0.2.7:4711)"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_have_no_content_have_none_whatever_the_handler_says() {
    let server = Running::start(ServerSettings::new());
    let mut client = server.connect();
    let mut send = server.h2().await.ready().await.unwrap();
    for (method, path, length) in [
        (Method::HEAD, "/", Some("5")),
        (Method::HEAD, "/in-pieces", None),
        (Method::GET, "/204", None),
        (Method::GET, "/304", None),
    ] {
        let request = Request::builder().method(&method).uri(format!("http://x{path}")).body(()).unwrap();
        let response = send.send_request(request, true).unwrap().0.await.unwrap();
        let declared = response.headers().get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
        assert_eq!(declared, length, "{method} {path}");
        assert!(response.into_body().data().await.is_none(), "{method} {path}");

        // Over HTTP/1 the next answer would be read wrongly.
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = ask(&mut client, request.as_bytes(), "\r\n\r\n").await;
        assert_eq!(answer.contains("content-length: 5\r\n"), length.is_some(), "{answer}");
        ask(&mut client, &get("/"), "hello").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let server = Running::start(ServerSettings::new().max_headers(3).max_head_size(1024));
    for fields in ["a: 1\r\nb: 2\r\nc: 3\r\n".to_owned(), format!("long: {}\r\n", "x".repeat(2_000))] {
        let mut client = server.connect();
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (answer, _) = read_to_end(&mut client, Instant::now()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    let (usual, many) = (Running::start(ServerSettings::new()), "a: 1\r\n".repeat(101));
    for (fields, status) in [(&many[6 * 3..], "200"), (&many[6 * 2..], "431")] {
        let mut client = usual.connect();
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}connection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (answer, _) = read_to_end(&mut client, Instant::now()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let mut send = server.h2().await.ready().await.unwrap();
    let request = Request::get("http://x/").header("long", "x".repeat(2_000)).body(()).unwrap();
    assert_eq!(send.send_request(request, true).unwrap().0.await.unwrap().status(), 431);
}

#[tokio::test(start_paused = true)]
async fn a_head_may_have_as_many_fields_as_one_can_hold_and_a_limit_beyond_that_is_refused() {
    const MOST: usize = 6_000;
    for more in [MOST + 1, usize::MAX] {
        let builder = Server::builder().settings(ServerSettings::new().max_headers(more));
        let refused = builder.listen(InMemory(mpsc::unbounded_channel().1)).unwrap_err();
        assert_eq!(refused.to_string(), format!("`max_headers` is too large: at most {MOST}"));
    }
    let server = Running::start(ServerSettings::new().max_headers(MOST).max_head_size(1024 * 1024));
    for (fields, status) in [(MOST, "200"), (MOST + 1, "431")] {
        let others: String = (1..fields).map(|number| format!("a{number}: x\r\n")).collect();
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{others}\r\n");
        let end = if status == "200" { "hello" } else { "\r\n\r\n" };
        let answer = ask(&mut server.connect(), request.as_bytes(), end).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_request_that_has_begun_is_one_however_little_of_it_has_come() {
    let head = "OST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    // It begins just before its connection has been idle for too long, or before the server stops.
    for stops in [false, true] {
        let server = Running::start(ServerSettings::new().lame_duck(Duration::ZERO));
        let mut client = server.connect();
        ask(&mut client, &get("/"), "hello").await;
        sleep(if stops { SECOND * 2 } else { SECOND * 75 - SECOND / 10 }).await;
        client.write_all(b"P").await.unwrap();
        sleep(SECOND / 100).await;
        if stops {
            server.handle.shut_down();
        }
        sleep(SECOND).await;
        let answer = ask(&mut client, head.as_bytes(), "hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{stops}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let server = Running::start(ServerSettings::new());
    let mut other = server.connect();
    let mut send = server.h2().await.ready().await.unwrap();
    let mut sent = 0;
    while sent < 10_000 {
        let Ok(ready) = send.clone().ready().await else { break };
        send = ready;
        let Ok((answer, mut stream)) =
            send.send_request(Request::get("http://x/slow").body(()).unwrap(), false)
        else {
            break;
        };
        // A stream that was never sent need not be reset.
        tokio::task::yield_now().await;
        stream.send_reset(h2::Reason::CANCEL);
        tokio::task::yield_now().await;
        drop(answer);
        sent += 1;
    }
    assert!(sent < 1_000, "it was never closed: {sent}");
    assert_eq!(server.closed(), [CloseReason::Flood]);
    ask(&mut other, &get("/"), "hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_is_reset_before_its_end_is_not_whole_though_that_is_called_no_error() {
    let (connect, connections) = mpsc::unbounded_channel();
    let server = Server::builder().listen(InMemory(connections)).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let reading = service_fn(move |request: Request<Body>| {
        let tell = tell.clone();
        async move {
            let read = request.into_body().collect().await;
            let read = read.map_err(|error| Error::wrap(error).kind());
            tell.send(read.map(|read| read.to_bytes())).unwrap();
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    tokio::spawn(server.serve(reading));
    let (near, far) = tokio::io::duplex(64 * 1024);
    connect.send((far, SocketAddr::from(([127, 0, 0, 1], 1)))).unwrap();
    let (mut send, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    for (whole, expected) in [(false, Err(Kind::Body)), (true, Ok(Bytes::from("he")))] {
        let (answer, mut body) =
            send.send_request(Request::post("http://x/").body(()).unwrap(), false).unwrap();
        body.send_data("he".into(), whole).unwrap();
        tokio::task::yield_now().await;
        if !whole {
            body.send_reset(h2::Reason::NO_ERROR);
        }
        assert_eq!(told.recv().await, Some(expected));
        drop(answer);
        send = send.ready().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_at_the_server_is_no_flood_of_its_client() {
    let (connect, connections) = mpsc::unbounded_channel();
    let server = Server::builder().listen(InMemory(connections)).unwrap();
    let failing = service_fn(|request: Request<Body>| async move {
        let panics = match request.uri().path() {
            "/body" => false,
            "/panic" => true,
            _ => return Err("no answer"),
        };
        let broken = futures_util::stream::poll_fn(move |_| {
            assert!(!panics, "on purpose");
            Poll::Ready(Some(Err::<http_body::Frame<Bytes>, _>("broken")))
        });
        Ok(Response::new(Body::new(StreamBody::new(broken))))
    });
    let _serving = tokio::spawn(server.serve(failing));
    let (client, socket) = duplex(SOCKET);
    connect.send((socket, "192.0.2.1:1".parse().unwrap())).unwrap();
    let (mut send, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    // Five hundred of one kind would be enough for a flood.
    for number in 0..900 {
        send = send.ready().await.unwrap_or_else(|error| panic!("closed after {number}: {error}"));
        let path = ["/", "/body", "/panic", "/panic", "/panic", "/panic"][number % 6];
        let request = Request::get(format!("http://x{path}")).body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        match answer.await {
            Ok(answer) => assert!(answer.into_body().data().await.unwrap().is_err()),
            Err(error) => assert!(error.is_reset(), "{number}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_any_kind_that_is_sent_while_another_waits_is_read() {
    // Two requests at once over HTTP/2, of which each has a body.
    let server = Running::start(ServerSettings::new());
    let mut send = server.h2().await.ready().await.unwrap();
    let post = || Request::post("http://x/echo").body(()).unwrap();
    let (one, mut first) = send.send_request(post(), false).unwrap();
    let (two, mut second) = send.send_request(post(), false).unwrap();
    second.send_data("second".into(), true).unwrap();
    let read = |response: Response<h2::RecvStream>| async move {
        let mut body = response.into_body();
        body.data().await.unwrap().unwrap()
    };
    assert_eq!(read(two.await.unwrap()).await, "second");
    first.send_data("first".into(), true).unwrap();
    assert_eq!(read(one.await.unwrap()).await, "first");
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_does_not_stop_a_server() {
    struct Panics;
    impl Observer for Panics {
        fn observe(&self, event: &Event) {
            panic!("told of {event:?}");
        }
    }
    let (connect, connections) = mpsc::unbounded_channel();
    let builder =
        Server::builder().settings(ServerSettings::new().max_connections_per_address(1)).observer(Panics);
    let server = builder.listen(InMemory(connections)).unwrap();
    let handle = server.handle();
    let report = tokio::spawn(server.serve(service_fn(handler)));
    let running = Running { connect, handle, told: Recorder::new(), report };
    let mut client = running.connect();
    ask(&mut client, &get("/"), "hello").await;
    let (answer, _) = read_to_end(&mut running.connect(), Instant::now()).await;
    assert_eq!(answer, "", "one too many");
    ask(&mut client, &get("/"), "hello").await;
    assert_eq!(running.stop().await.aborted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_the_time_of_the_lame_duck_and_at_most_that_of_the_drain() {
    for (path, drained) in [("/", Duration::ZERO), ("/slow", 7 * SECOND)] {
        let health = Health::builder().readiness("self", Impact::Hard, || async { true }).build().unwrap();
        assert!(health.wait_ready().await);
        let (connect, connections) = mpsc::unbounded_channel();
        let settings = ServerSettings::new().lame_duck(3 * SECOND).drain_timeout(7 * SECOND);
        let builder = Server::builder().settings(settings).health(health.clone());
        let server = builder.listen(InMemory(connections)).unwrap();
        let handle = server.handle();
        let report = tokio::spawn(server.serve(service_fn(handler)));
        let running = Running { connect, handle, told: Recorder::new(), report };
        let mut client = running.connect();
        client.write_all(&get(path)).await.unwrap();
        sleep(SECOND).await;
        running.handle.shut_down();
        sleep(2 * SECOND).await;
        assert!(!health.ready() && running.handle.phase() == ServerPhase::LameDuck);
        // Whoever comes all the same is served.
        ask(&mut running.connect(), &get("/"), "hello").await;
        let report = running.report.await.unwrap();
        assert_eq!(report.took, 3 * SECOND + drained);
        assert_eq!(report.aborted, u64::from(path == "/slow"));
    }
}
