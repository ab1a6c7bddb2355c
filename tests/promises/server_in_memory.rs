//! A server whose connections are made within the process, on a clock that stands still.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use stonework::Body;
use stonework::base::{BoxError, Rng, WallClock};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{Connector, Target, connect_fn};
use stonework::health::Health;
use stonework::server::{Server, ServerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

#[tokio::test(start_paused = true)]
async fn the_date_of_an_answer_is_that_of_the_clock_that_the_server_was_given_or_the_services_own() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let answer = Response::builder();
        let own = request.uri().path() == "/own";
        let answer = if own { answer.header("date", "Thu, 01 Jan 1970 00:00:00 GMT") } else { answer };
        Ok::<_, Infallible>(answer.body(Body::empty()).unwrap())
    });
    for http2 in [false, true] {
        let (connect, connections) = mpsc::channel(1);
        // The example of RFC 9110, section 5.6.7.
        let clock = WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        let settings = ServerSettings::new().lame_duck(Duration::ZERO).max_request_body(0);
        let server = Server::builder().settings(settings).health(Health::builder().build().unwrap());
        let server = server.rng(Rng::seeded(1)).wall_clock(clock).listen(connections).unwrap();
        let stop = server.handle();
        let serving = tokio::spawn(server.serve(service));
        let client = client(connect, http2);
        let date = async |path: &str| {
            let answer = client.put(format!("http://a.test{path}")).send().await.unwrap();
            let dates: Vec<_> = answer.headers().get_all("date").iter().collect();
            assert_eq!(dates.len(), 1, "{path}");
            dates[0].to_str().unwrap().to_owned()
        };
        assert_eq!(date("/").await, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date("/own").await, "Thu, 01 Jan 1970 00:00:00 GMT");
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(date("/").await, "Sun, 06 Nov 1994 08:49:40 GMT");
        assert_eq!(date("/livez").await, "Sun, 06 Nov 1994 08:49:40 GMT");
        stop.shut_down();
        drop(client);
        assert_eq!(serving.await.unwrap().connections_aborted, 0);
    }
}

/// Asks a server that listens for what is sent to `connections`.
fn client(connections: mpsc::Sender<tokio::io::DuplexStream>, http2: bool) -> Client {
    let pipe = connect_fn(move |_: Target| {
        let connections = connections.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(65536);
            connections.send(theirs).await.expect("the server listens");
            Ok(ours)
        }
    });
    let connector = Connector::builder().transport(pipe).build().unwrap();
    let wire = ClientSettings::new().without_retry();
    let client = Client::builder().settings(if http2 { wire.http2_only() } else { wire });
    client.connector(connector).build().unwrap()
}

/// How a service takes one request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Late,
    Broken,
    PanicsUnready,
    PanicsCalled,
    Well,
}

struct Moody {
    moods: Arc<Mutex<VecDeque<Mood>>>,
    /// Of the request that this clone is for.
    mood: Option<Mood>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Clone for Moody {
    fn clone(&self) -> Self {
        Self { moods: Arc::clone(&self.moods), mood: None, wait: None }
    }
}

impl Service<Request<Body>> for Moody {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mood = *self.mood.get_or_insert_with(|| self.moods.lock().unwrap().pop_front().expect("a mood"));
        match mood {
            Mood::Late => {
                let wait = self.wait.get_or_insert_with(|| Box::pin(sleep(Duration::from_secs(1))));
                wait.as_mut().poll(cx).map(Ok)
            }
            Mood::Broken => Poll::Ready(Err("out of handles".into())),
            Mood::PanicsUnready => panic!("not ready, on purpose"),
            Mood::PanicsCalled | Mood::Well => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert_ne!(self.mood.take(), Some(Mood::PanicsCalled), "on purpose");
        ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_late_is_waited_for_and_one_that_breaks_or_panics_costs_one_request_alone() {
    for http2 in [false, true] {
        let (connect, connections) = mpsc::channel(1);
        let server = Server::builder().settings(ServerSettings::new().lame_duck(Duration::ZERO));
        let server = server.listen(connections).unwrap();
        let stop = server.handle();
        let moods = Arc::new(Mutex::new(VecDeque::new()));
        let serving = tokio::spawn(server.serve(Moody { moods: Arc::clone(&moods), mood: None, wait: None }));
        let client = client(connect, http2);
        let asks = async |mood| {
            moods.lock().unwrap().push_back(mood);
            let begin = Instant::now();
            let status =
                client.get("http://a.test/").send().await.ok().map(|answer| answer.status().as_u16());
            (status, begin.elapsed())
        };
        for (mood, status, took) in [
            (Mood::Late, Some(200), Duration::from_secs(1)),
            (Mood::PanicsUnready, Some(500), Duration::ZERO),
            (Mood::PanicsCalled, Some(500), Duration::ZERO),
            (Mood::Broken, None, Duration::ZERO),
            (Mood::Well, Some(200), Duration::ZERO),
        ] {
            assert_eq!(asks(mood).await, (status, took), "{mood:?}, http2: {http2}");
        }
        stop.shut_down();
        drop(client);
        assert_eq!(serving.await.unwrap().connections_aborted, 0);
    }
}

/// Says whether it was dropped while its thread panicked.
struct Sees(mpsc::UnboundedSender<bool>);

impl Drop for Sees {
    fn drop(&mut self) {
        self.0.send(std::thread::panicking()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_holds_sees_that_it_panicked() {
    for http2 in [false, true] {
        let (connect, connections) = mpsc::channel(1);
        let server = Server::builder().listen(connections).unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        // No block of statements, which drops what it holds of itself.
        tokio::spawn(server.serve(tower::service_fn(move |_: Request<Body>| {
            let held = Sees(tell.clone());
            std::future::poll_fn(move |_| -> Poll<Result<Response<Body>, Infallible>> {
                panic!("on purpose, with {:?}", &raw const held)
            })
        })));
        let answer = client(connect, http2).get("http://a.test/").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), told.recv().await), (500, Some(true)), "http2: {http2}");
    }
}

/// The first byte of each field of a block of them, which says what becomes of the field (RFC 7541, section 6).
fn written(mut block: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    while let Some(first) = block.first().copied() {
        written.push(first);
        if first & 0x80 != 0 {
            integer(&mut block, 7);
            continue;
        }
        let name = integer(&mut block, if first & 0x40 != 0 { 6 } else { 4 });
        for _ in 0..if name == 0 { 2 } else { 1 } {
            let length = integer(&mut block, 7);
            block = &block[length..];
        }
    }
    written
}

/// With so many bits of its first byte (RFC 7541, section 5.1).
fn integer(block: &mut &[u8], bits: u32) -> usize {
    let mut next = || block.split_off_first().copied().map(usize::from).expect("one more byte");
    let most = (1 << bits) - 1;
    let mut number = next() & most;
    if number == most {
        for shift in (0..).step_by(7) {
            let byte = next();
            number += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    number
}

#[tokio::test(start_paused = true)]
async fn over_http2_the_name_of_a_request_is_not_put_in_the_table_in_place_of_what_comes_again() {
    // GET http://x/, after settings that change nothing.
    const ASKED: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";
    const HEADERS: u8 = 1;
    let (connect, connections) = mpsc::channel(1);
    let server = Server::builder()
        .settings(ServerSettings::new().lame_duck(Duration::ZERO))
        .listen(connections)
        .unwrap();
    let stop = server.handle();
    let serving = tokio::spawn(server.serve(tower::service_fn(|_: Request<Body>| async {
        let answer = Response::builder().header("x-shop", "books");
        Ok::<_, Infallible>(answer.body(Body::from("hello")).unwrap())
    })));
    let (mut client, far) = tokio::io::duplex(65536);
    connect.send(far).await.unwrap();
    client.write_all(ASKED).await.unwrap();
    let block = loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]).try_into().unwrap()];
        client.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            break payload;
        }
    };
    let written = written(&block);
    // Two have a name that is in no table: what the service says comes again, the name of the request does not.
    assert_eq!(written.iter().filter(|first| **first == 0x40).count(), 1, "{written:x?}");
    assert_eq!(written.iter().filter(|first| **first == 0x10).count(), 1, "{written:x?}");
    stop.shut_down();
    drop(client);
    serving.await.unwrap();
}
