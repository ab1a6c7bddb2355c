//! What a server does with clients that do not keep to the rules: in memory, on a paused clock.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use stonework::Body;
use stonework::base::{ClientAddress, CloseReason, Network};
use stonework::health::Health;
use stonework::limit::{ConcurrencySettings, KeyedRateLimiter, Quota};
use stonework::server::{Server, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;

use crate::connections::{Running, ask, get, read_to_end};
use crate::requests::Lines;
use crate::server_ends::tunnels;
use crate::support::{SECOND, subscriber};

/// A client of HTTP/2 that does with frames what it likes: to pings that follow a GOAWAY it says nothing.
struct Raw {
    stream: DuplexStream,
    next: u32,
    told: bool,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

impl Raw {
    async fn connect(server: &Running) -> Self {
        let mut stream = server.connect();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut raw = Self { stream, next: 1, told: false };
        raw.write(SETTINGS, 0, 0, b"").await;
        raw
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[..], &[kind, flags], &stream.to_be_bytes()].concat();
        let _ = self.stream.write_all(&[&head, payload].concat()).await;
    }

    /// Asks for this, without a table that would have to be kept (RFC 7541, section 6.2.2).
    async fn get(&mut self, path: &str) -> u32 {
        let stream = self.next;
        self.next += 2;
        let length = u8::try_from(path.len()).unwrap();
        // GET, http, a path, and an authority.
        let head = [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 1, b'x']].concat();
        self.write(HEADERS, 4 | END_STREAM, stream, &head).await;
        stream
    }

    /// The next frame that is an answer: which, of what stream, and its payload. Nothing, when the connection is over.
    async fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, b"").await,
                PING if !self.told => self.write(PING, ACK, 0, &payload).await,
                GOAWAY => self.told = true,
                HEADERS | DATA | RST_STREAM => return Some((kind, u32::from_be_bytes(stream), payload)),
                _ => {}
            }
        }
    }

    /// What becomes of a request: its answer, or why its stream was reset.
    async fn ask(&mut self, path: &str) -> Option<Result<(), u32>> {
        let asked = self.get(path).await;
        loop {
            match self.frame().await? {
                (RST_STREAM, stream, why) if stream == asked => {
                    return Some(Err(u32::from_be_bytes(why.try_into().unwrap())));
                }
                (DATA, stream, payload) if stream == asked && payload == b"hello" => return Some(Ok(())),
                _ => {}
            }
        }
    }
}

/// `REFUSED_STREAM` (RFC 9113, section 7): it was not processed, and may be sent elsewhere.
const REFUSED: u32 = 7;

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_after_being_told_that_a_connection_is_over_is_refused_and_then_cut_off() {
    for by_age in [true, false] {
        let settings = ServerSettings::new().max_age(100 * SECOND).drain_timeout(1_000 * SECOND);
        let server = Running::start(settings);
        let mut client = Raw::connect(&server).await;
        let mut told = None;
        let mut refused = 0;
        if !by_age {
            sleep(SECOND).await;
            server.handle.shut_down();
        }
        loop {
            sleep(SECOND / 10).await;
            match client.ask("/").await {
                None => break,
                Some(Ok(())) => {
                    assert_eq!(refused, 0, "one that was refused is not followed by one that is not")
                }
                Some(Err(why)) => {
                    assert_eq!(why, REFUSED);
                    refused += 1;
                }
            }
            if client.told && told.is_none() {
                told = Some(Instant::now());
            }
            assert!(told.is_none_or(|told| told.elapsed() < 20 * SECOND), "by age: {by_age}");
        }
        let took = told.expect("it was told").elapsed();
        // What was under way when it was told may come for a while, and is answered.
        assert!((5 * SECOND..=11 * SECOND).contains(&took), "by age: {by_age}, {took:?}");
        assert!(refused > 0, "by age: {by_age}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_before_a_connection_was_over_ends_although_its_client_asks_for_more() {
    let settings = ServerSettings::new().max_age(100 * SECOND);
    let server = Running::start(settings);
    let mut client = Raw::connect(&server).await;
    let slow = client.get("/slow").await;
    let start = Instant::now();
    let mut refused = 0;
    // It takes a thousand seconds.
    let ended = loop {
        client.get("/").await;
        let mut ended = false;
        while let Ok(frame) = timeout(SECOND, client.frame()).await {
            let (kind, stream, payload) =
                frame.unwrap_or_else(|| panic!("cut off after {:?}", start.elapsed()));
            refused += u32::from(kind == RST_STREAM);
            ended |= (kind, stream) == (DATA, slow) && payload == b"hello";
        }
        if ended {
            break start.elapsed();
        }
    };
    assert!((1_000 * SECOND..1_003 * SECOND).contains(&ended), "{ended:?}");
    assert!(refused > 500, "{refused}");
    // And then it is over, however much is asked.
    while client.ask("/").await.is_some() {
        sleep(SECOND / 10).await;
    }
    let took = start.elapsed().checked_sub(ended).unwrap();
    assert!(took <= 7 * SECOND, "{took:?}");
    assert_eq!(server.closed(), [CloseReason::Old, CloseReason::Idle]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_say_whom_it_is_for_is_refused() {
    let lines = Lines::default();
    let _here = subscriber::set_default(lines.clone());
    let health = Health::builder().build().unwrap();
    let server = Running::run(Server::builder().settings(ServerSettings::new().access_log()).health(health));
    for (request, detail) in [
        ("GET / HTTP/1.1\r\n\r\n", "the request names no host"),
        ("GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n", "the request names more than one host"),
        ("GET /livez HTTP/1.1\r\nhost: a b\r\n\r\n", "what the request says of its host is none"),
        ("GET /livez HTTP/1.1\r\n\r\n", "the request names no host"),
        ("GET http://u:p@a/ HTTP/1.1\r\nhost: a\r\n\r\n", "what the request says of its host is none"),
        ("POST /echo HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello", "the request names no host"),
    ] {
        let mut client = server.connect();
        client.write_all(request.as_bytes()).await.unwrap();
        client.write_all(&get("/")).await.unwrap();
        let (answer, took) = read_to_end(&mut client, Instant::now()).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{request}: {answer}");
        assert!(answer.contains(&format!(r#""detail":"{detail}""#)), "{request}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{request}: {answer}");
        // It has a name, and is written down, unless it is a probe.
        let is_probe = usize::from(request.contains("/livez"));
        let written: Vec<_> =
            lines.take().iter().map(|line| line["http.response.status_code"].clone()).collect();
        assert_eq!((written.len(), answer.matches("x-request-id: ").count()), (1 - is_probe, 1 - is_probe));
        assert!(written.iter().all(|status| status == "400"), "{written:?}");
        // Nothing that came behind it is taken for a request.
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request}: {answer}");
        assert!(took <= 6 * SECOND, "{took:?}");
    }
    let mut client = server.connect();
    assert!(ask(&mut client, b"GET / HTTP/1.0\r\n\r\n", "hello").await.starts_with("HTTP/1.0 200 "));

    let mut send = server.h2().await.ready().await.unwrap();
    for (host, status) in [("b.test", StatusCode::BAD_REQUEST), ("A.test:80", StatusCode::OK)] {
        let request = Request::get("http://a.test/").version(Version::HTTP_2).header("host", host);
        let (answer, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn over_http_2_a_request_that_does_not_say_whom_it_is_for_is_refused() {
    let server = Running::start(ServerSettings::new());
    // GET, http and `/`; then `:authority` and `host` (RFC 7541, section 6.2.2).
    let request: &[u8] = &[0x82, 0x86, 0x84];
    for (fields, served) in [
        ([&b""[..], b""], false),
        ([b"", b"\x0f\x17\x00"], false),
        ([b"\x01\x00", b""], false),
        ([b"\x01\x08u@a.test", b""], false),
        ([b"\x01\x08u@a.test", b"\x0f\x17\x06a.test"], false),
        ([b"\x01\x06a.test", b""], true),
        ([b"", b"\x0f\x17\x06a.test"], true),
    ] {
        let mut client = Raw::connect(&server).await;
        client.write(HEADERS, 4 | END_STREAM, 1, &[request, &fields.concat()].concat()).await;
        let (kind, _, payload) = client.frame().await.unwrap();
        // The first field of an answer is its status, of which the table has these two.
        let was_served = match (kind, payload[0]) {
            (HEADERS, 0x88) => true,
            (HEADERS, 0x8c) | (RST_STREAM, _) => false,
            other => panic!("{other:?}"),
        };
        assert_eq!(was_served, served, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_was_asked_for_before_a_connection_was_over_goes_on_whenever_it_was_answered() {
    for answered in [SECOND, 150 * SECOND] {
        let service = service_fn(move |request: Request<Body>| async move {
            if request.method() != Method::CONNECT {
                return Ok(Response::new(Body::from("hello")));
            }
            sleep(answered).await;
            tunnels(request).await
        });
        let settings = ServerSettings::new().max_age(100 * SECOND);
        let server = Running::serve(Server::builder().settings(settings), service);
        let mut client = Raw::connect(&server).await;
        // CONNECT, and an authority.
        client.write(HEADERS, 4, 1, b"\x02\x07CONNECT\x01\x04x:80").await;
        client.next = 3;
        let start = Instant::now();
        let mut echoes = 0;
        while start.elapsed() < 300 * SECOND {
            client.get("/").await;
            if start.elapsed() > answered {
                client.write(DATA, 0, 1, b"hello").await;
            }
            while let Ok(frame) = timeout(SECOND, client.frame()).await {
                let (kind, stream, payload) =
                    frame.unwrap_or_else(|| panic!("{:?} after {:?}", server.closed(), start.elapsed()));
                echoes += u32::from((kind, stream, &payload[..]) == (DATA, 1, b"hello"));
            }
        }
        assert!(client.told && echoes > 100, "{echoes} echoes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_begins_in_one_piece_with_the_request_before_it_has_no_more_time_than_any() {
    let server = Running::start(ServerSettings::new());
    let mut client = server.connect();
    let start = Instant::now();
    ask(&mut client, &[&get("/"), &b"GET / HT"[..]].concat(), "hello").await;
    let (rest, took) = read_to_end(&mut client, start).await;
    assert_eq!(rest, "");
    // The second that it takes to see that the client has stopped, and the ten of any head.
    assert_eq!(took, 11 * SECOND);
    assert_eq!(server.closed(), [CloseReason::Head]);

    // It is a request when the rest comes.
    let mut client = server.connect();
    ask(&mut client, &[&get("/"), &b"GET / HT"[..]].concat(), "hello").await;
    sleep(8 * SECOND).await;
    ask(&mut client, b"TP/1.1\r\nhost: x\r\n\r\n", "hello").await;
    sleep(60 * SECOND).await;
    ask(&mut client, &get("/"), "hello").await;
}

#[tokio::test(start_paused = true)]
async fn over_http_2_too_a_head_has_no_more_fields_than_there_is_room_for() {
    let server = Running::start(ServerSettings::new().max_head_size(4 * 1024 * 1024));
    // Each counts as 32 bytes more than it has.
    for (fields, status) in [(4_900, StatusCode::OK), (6_000, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let request = Request::get("http://x/");
        let request = (0..fields).fold(request, |request, index| request.header(format!("a{index}"), "1"));
        let mut send = server.h2().await.ready().await.unwrap();
        let (answer, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{fields} fields");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_quota_left_takes_no_place_in_the_queue_and_whoever_waits_in_vain_gets_his_back() {
    let rates = KeyedRateLimiter::<Network>::new(Quota::per_hour(3)).unwrap();
    let settings = ServerSettings::new().concurrency(ConcurrencySettings::new(1).queue(3));
    let builder = Server::builder().settings(settings.queue_timeout(60 * SECOND)).rate_limiter(rates.clone());
    let server = Running::run(builder);
    let asks = |from: &str| {
        let mut client = server.connect_from(from);
        tokio::spawn(async move {
            client.write_all(&get("/slow")).await.unwrap();
            let start = Instant::now();
            let mut status = [0; 12];
            client.read_exact(&mut status).await.unwrap();
            (String::from_utf8(status[9..].to_vec()).unwrap(), start.elapsed())
        })
    };
    let served = asks("192.0.2.1:1");
    sleep(SECOND).await;
    let mut more = Vec::new();
    for port in 2..10 {
        more.push(asks(&format!("192.0.2.1:{port}")));
    }
    sleep(SECOND).await;
    let other = asks("192.0.2.9:1");
    let mut told = Vec::new();
    for asked in more {
        told.push(asked.await.unwrap());
    }
    told.sort();
    let refused = |status: &str, after| (status.to_owned(), after);
    // Two wait for the place, and that is all of the quota.
    assert_eq!(told[..6], vec![refused("429", Duration::ZERO); 6]);
    assert_eq!(told[6..], vec![refused("503", 60 * SECOND); 2]);
    assert_eq!(other.await.unwrap(), refused("503", 60 * SECOND), "there was a place for another client");
    let left =
        |address: &str| rates.peek(&ClientAddress::from(address.parse::<IpAddr>().unwrap()).network()).left();
    assert_eq!((left("192.0.2.1"), left("192.0.2.9")), (2, 3), "nothing was done for them");
    assert_eq!(served.await.unwrap(), refused("200", 1_000 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_with_the_deadline_spends_nothing() {
    let rates = KeyedRateLimiter::<Network>::new(Quota::per_hour(3)).unwrap();
    let settings = ServerSettings::new().concurrency(ConcurrencySettings::new(1).queue(3));
    let settings = settings.queue_timeout(100 * SECOND).deadline(60 * SECOND);
    let server = Running::run(Server::builder().settings(settings).rate_limiter(rates.clone()));
    let mut clients = Vec::new();
    for host in 1..=3 {
        let mut client = server.connect_from(&format!("192.0.2.{host}:1"));
        client.write_all(&get("/slow")).await.unwrap();
        clients.push(client);
        tokio::task::yield_now().await;
    }
    let mut told = Vec::new();
    for mut client in clients {
        let mut status = [0; 12];
        client.read_exact(&mut status).await.unwrap();
        told.push(String::from_utf8(status[9..].to_vec()).unwrap());
    }
    let left = |host: u8| {
        let address = ClientAddress::from(IpAddr::from([192, 0, 2, host]));
        rates.peek(&address.network()).left()
    };
    assert_eq!((left(1), left(2), left(3)), (2, 3, 3), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_connections_than_there_may_be_when_a_server_stops_either() {
    let server = Running::start(ServerSettings::new().max_connections(2).drain_timeout(9 * SECOND));
    let mut kept = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect();
        client.write_all(&get("/slow")).await.unwrap();
        kept.push(client);
    }
    sleep(SECOND).await;
    assert_eq!(server.handle.connections(), 2);
    server.handle.shut_down();
    sleep(SECOND).await;
    assert_eq!(server.handle.connections(), 2);
    assert_eq!(server.report.await.unwrap().connections_aborted, 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_the_health_of_a_server_is_sent_away_when_the_connection_is_old() {
    let settings = ServerSettings::new().max_age(100 * SECOND);
    let health = Health::builder().build().unwrap();
    let server = Running::run(Server::builder().settings(settings).health(health));
    let mut send = server.h2().await.ready().await.unwrap();
    let request =
        Request::post("http://x/grpc.health.v1.Health/Watch").header("content-type", "application/grpc");
    let (answer, mut asks) = send.send_request(request.body(()).unwrap(), false).unwrap();
    asks.send_data(vec![0; 5].into(), true).unwrap();
    let start = Instant::now();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap()[..], [0, 0, 0, 0, 2, 8, 1]);
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14", "UNAVAILABLE");
    assert!((89 * SECOND..=111 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
}
