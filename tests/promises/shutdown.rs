//! What the server promises about its end, on real sockets: bounds are wide, and what matters is who got what.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use stonework::Body;
use stonework::base::{Event, ServerPhase};
use stonework::health::{Health, HealthSettings, Impact};
use stonework::server::{Server, ServerHandle, ServerSettings, Shutdown, ShutdownReport};
use stonework::testing::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::service_fn;

use crate::support::{PATIENCE, read_to_end, read_up_to, soon};

struct Running {
    addr: std::net::SocketAddr,
    handle: ServerHandle,
    told: Recorder,
    report: JoinHandle<ShutdownReport>,
}

/// A registry that is ready once it was asked.
async fn health() -> Health {
    let settings =
        HealthSettings::new().interval(Duration::from_millis(100)).timeout(Duration::from_millis(50));
    let health =
        Health::builder().settings(settings).readiness("self", Impact::Hard, || async { true }).build();
    let health = health.unwrap();
    assert!(soon(health.wait_ready()).await);
    health
}

impl Running {
    async fn start(settings: ServerSettings, health: Option<Health>) -> Self {
        let told = Recorder::new();
        let mut builder = Server::builder().settings(settings).observer(told.clone());
        if let Some(health) = health {
            builder = builder.health(health);
        }
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        let (addr, handle) = (server.local_addr(), server.handle());
        let report = tokio::spawn(server.serve(service_fn(handler)));
        Self { addr, handle, told, report }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    async fn phase(&self, phase: ServerPhase) {
        soon(async {
            while self.handle.phase() < phase {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    fn phases(&self) -> Vec<ServerPhase> {
        let phase = |event| match event {
            Event::ServerPhaseChanged { to, .. } => Some(to),
            _ => None,
        };
        self.told.events().into_iter().filter_map(phase).collect()
    }
}

async fn handler(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let body = match request.uri().path() {
        "/upload" => match request.into_body().collect().await {
            Ok(body) => Body::from(format!("{} bytes\n", body.to_bytes().len())),
            Err(_) => Body::from("cut off\n"),
        },
        "/events" => {
            let shutdown = request.extensions().get::<Shutdown>().unwrap().clone();
            events(shutdown)
        }
        "/never" => std::future::pending().await,
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut request);
            let shutdown = request.extensions().get::<Shutdown>().unwrap().clone();
            tokio::spawn(async move {
                let mut socket = TokioIo::new(upgrade.await.unwrap());
                let mut byte = [0];
                loop {
                    tokio::select! {
                        read = socket.read_exact(&mut byte) => match read {
                            Ok(_) => socket.write_all(&byte).await.unwrap(),
                            Err(_) => return,
                        },
                        () = shutdown.requested() => {
                            socket.write_all(b"bye").await.unwrap();
                            return;
                        }
                    }
                }
            });
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
            response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
            return Ok(response);
        }
        _ => Body::from("hello\n"),
    };
    Ok(Response::new(body))
}

/// Events until the server says that it stops, and then a last one.
fn events(shutdown: Shutdown) -> Body {
    let (send, mut receive) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let say = async |event: &'static str| send.send(Bytes::from(event)).await.is_ok();
        while !shutdown.is_requested() && say("data: tick\n\n").await {
            let _ = timeout(Duration::from_millis(5), shutdown.requested()).await;
        }
        say("data: bye\n\n").await;
    });
    let frames = futures_util::stream::poll_fn(move |cx| {
        receive.poll_recv(cx).map(|event| event.map(|data| Ok::<_, Infallible>(http_body::Frame::data(data))))
    });
    Body::new(StreamBody::new(frames))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// How often a race is tried: `STONEWORK_ROUNDS`, else 50.
fn rounds() -> usize {
    std::env::var("STONEWORK_ROUNDS").map_or(50, |rounds| rounds.parse().expect("a number of rounds"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_in_time_and_everybody_gets_what_was_begun() {
    let health = health().await;
    for round in 0..rounds() {
        let settings = ServerSettings::new().lame_duck(PATIENCE).drain_timeout(PATIENCE);
        // A registry serves one server; what is drained stays so.
        let health = if round == 0 { health.clone() } else { self::health().await };
        let server = Running::start(settings, Some(health)).await;

        let (mut idle, mut events, mut upload, mut late, mut probe) = tokio::join!(
            server.connect(),
            server.connect(),
            server.connect(),
            server.connect(),
            server.connect()
        );
        idle.write_all(GET).await.unwrap();
        read_up_to(&mut idle, "hello\n").await;
        events.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        read_up_to(&mut events, "tick\n\n\r\n").await;
        upload
            .write_all(b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf ")
            .await
            .unwrap();
        probe.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let ready = read_up_to(&mut probe, "pass\n").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");

        server.handle.shut_down();
        server.phase(ServerPhase::LameDuck).await;
        // In the lame duck all goes on, but nobody is to come any more.
        probe.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let unready = read_up_to(&mut probe, "fail\n").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        late.write_all(GET).await.unwrap();
        let answer = read_up_to(&mut late, "hello\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

        // It would end by itself, and here it ends when all of this was seen, however slow the machine is.
        server.handle.shut_down();
        assert_eq!(read_to_end(&mut idle).await, "");
        let last = read_to_end(&mut events).await;
        assert!(last.ends_with("data: bye\n\n\r\n0\r\n\r\n"), "{last}");
        // The slow one takes its time, and the server waits.
        sleep(Duration::from_millis(5)).await;
        upload.write_all(b"more.").await.unwrap();
        let answer = read_to_end(&mut upload).await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("10 bytes\n"), "{answer}");

        let report = soon(server.report).await.unwrap();
        assert_eq!((report.aborted, report.connections_aborted, report.upgraded), (0, 0, 0));
        // The probe, the late one, the stream of events and the upload; and the one that lay idle then, if its client had read the answer before
        // its server saw that it was sent.
        assert!((4..=5).contains(&report.finished), "{report:?}");
        assert!(report.took < PATIENCE, "{report:?}");
    }
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_after_the_drain_and_counted() {
    const DRAIN: Duration = Duration::from_millis(50);
    let server = Running::start(ServerSettings::new().drain_timeout(DRAIN), None).await;
    let (mut stuck, mut done) = (server.connect().await, server.connect().await);
    stuck.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    done.write_all(b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(20)).await;
    server.handle.shut_down();
    server.phase(ServerPhase::Draining).await;
    done.write_all(b"x").await.unwrap();
    read_up_to(&mut done, "1 bytes\n").await;
    assert_eq!(read_to_end(&mut stuck).await, "");
    let phases = server.told.clone();
    let report = soon(server.report).await.unwrap();
    assert_eq!((report.finished, report.aborted, report.connections_aborted), (1, 1, 1));
    assert!(report.took >= DRAIN && report.took < PATIENCE);
    assert_eq!(phases.events().len(), 2, "no lame duck, since nobody would learn of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_http_2_are_counted_when_they_are_cut_off() {
    for _ in 0..rounds() {
        let settings = ServerSettings::new().drain_timeout(Duration::ZERO);
        let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap();
        let (addr, handle) = (server.local_addr(), server.handle());
        let (reach, mut reached) = tokio::sync::mpsc::unbounded_channel();
        let report = tokio::spawn(server.serve(service_fn(move |_: Request<Body>| {
            reach.send(()).unwrap();
            std::future::pending::<Result<Response<Body>, Infallible>>()
        })));
        let (mut send, connection) =
            h2::client::handshake(TcpStream::connect(addr).await.unwrap()).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..3 {
            send = send.ready().await.unwrap();
            let request = Request::get("http://x/").body(()).unwrap();
            answers.push(send.send_request(request, true).unwrap().0);
            soon(reached.recv()).await.unwrap();
        }
        handle.shut_down();
        let report = soon(report).await.unwrap();
        assert_eq!((report.aborted, report.connections_aborted), (3, 1));
        let _ = soon(connection).await.unwrap();
    }
}

#[tokio::test]
async fn who_asks_again_ends_the_phase_under_way() {
    let long = ServerSettings::new().lame_duck(1_000 * PATIENCE).drain_timeout(1_000 * PATIENCE);
    let server = Running::start(long, Some(health().await)).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(20)).await;
    for phase in [ServerPhase::LameDuck, ServerPhase::Draining, ServerPhase::Stopped] {
        server.handle.shut_down();
        server.phase(phase).await;
        assert_eq!(server.handle.phase(), phase);
    }
    assert_eq!(server.phases(), [ServerPhase::LameDuck, ServerPhase::Draining, ServerPhase::Stopped]);
    assert_eq!(soon(server.report).await.unwrap().aborted, 1);
}

#[tokio::test]
async fn who_asks_three_times_at_once_waits_for_nothing() {
    let long = ServerSettings::new().lame_duck(1_000 * PATIENCE).drain_timeout(1_000 * PATIENCE);
    let server = Running::start(long, Some(health().await)).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(20)).await;
    for _ in 0..3 {
        server.handle.shut_down();
    }
    assert_eq!(soon(server.report).await.unwrap().aborted, 1);
}

#[tokio::test]
async fn what_lies_in_the_queue_of_the_port_is_answered_and_the_port_closed() {
    for _ in 0..rounds() {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let (addr, handle) = (server.local_addr(), server.handle());
        // They are connected, and have asked, before anybody accepts: the kernel has them.
        let mut queued = Vec::new();
        for _ in 0..10 {
            let mut client = TcpStream::connect(addr).await.unwrap();
            client.write_all(GET).await.unwrap();
            queued.push(client);
        }
        handle.shut_down();
        let report = tokio::spawn(server.serve(service_fn(handler)));
        for mut client in queued {
            let answer = read_to_end(&mut client).await;
            assert!(answer.contains("connection: close\r\n") && answer.ends_with("hello\n"), "{answer}");
        }
        assert_eq!(soon(report).await.unwrap().aborted, 0);
        assert!(TcpStream::connect(addr).await.is_err(), "the port is closed");
    }
}

#[tokio::test]
async fn a_request_whose_first_bytes_are_still_on_the_way_is_answered() {
    let server = Running::start(ServerSettings::new(), None).await;
    let (mut new, mut begun) = (server.connect().await, server.connect().await);
    begun.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    sleep(Duration::from_millis(20)).await;
    server.handle.shut_down();
    server.phase(ServerPhase::Draining).await;
    sleep(Duration::from_millis(20)).await;
    new.write_all(GET).await.unwrap();
    begun.write_all(b"st: x\r\n\r\n").await.unwrap();
    for client in [&mut new, &mut begun] {
        let answer = read_to_end(client).await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("hello\n"), "{answer}");
    }
    assert_eq!(soon(server.report).await.unwrap().aborted, 0);
}

#[tokio::test]
async fn an_upgraded_connection_is_told_and_waited_for_and_counted_if_it_stays() {
    const UPGRADE: &[u8] =
        b"GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let server = Running::start(ServerSettings::new(), None).await;
    let mut client = server.connect().await;
    client.write_all(UPGRADE).await.unwrap();
    let head = read_up_to(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client.write_all(b"x").await.unwrap();
    read_up_to(&mut client, "x").await;
    assert_eq!(server.handle.connections(), 1, "it is one as before");
    server.handle.shut_down();
    assert_eq!(read_to_end(&mut client).await, "bye");
    let report = soon(server.report).await.unwrap();
    assert_eq!((report.upgraded, report.connections_aborted), (0, 0));

    let stays = service_fn(|mut request: Request<Body>| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let _kept = upgrade.await.unwrap();
            std::future::pending::<()>().await;
        });
        let mut response = handler(Request::new(Body::empty())).await?.map(|_| Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
        response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let settings = ServerSettings::new().drain_timeout(Duration::from_millis(50));
    let server = Server::builder().settings(settings).bind("127.0.0.1:0").await.unwrap();
    let (addr, handle) = (server.local_addr(), server.handle());
    let report = tokio::spawn(server.serve(stays));
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    read_up_to(&mut client, "\r\n\r\n").await;
    handle.shut_down();
    assert_eq!(soon(report).await.unwrap().upgraded, 1);
}

#[tokio::test]
async fn an_http_2_client_is_told_and_its_requests_are_finished() {
    let server = Running::start(ServerSettings::new(), None).await;
    let (send, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let request = Request::post("http://x/upload").body(()).unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    body.send_data("half ".into(), false).unwrap();
    sleep(Duration::from_millis(20)).await;
    server.handle.shut_down();
    server.phase(ServerPhase::Draining).await;
    soon(async {
        while send.clone().ready().await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    body.send_data("more.".into(), true).unwrap();
    let mut answer = soon(answer).await.unwrap().into_body();
    assert_eq!(answer.data().await.unwrap().unwrap(), "10 bytes\n");
    drop((answer, body));
    let report = soon(server.report).await.unwrap();
    assert_eq!((report.finished, report.aborted), (1, 0));
    soon(connection).await.unwrap().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served_and_one_that_was_left_behind_is_replaced() {
    use tokio::net::UnixStream;

    let directory = std::env::temp_dir().join(format!("stonework-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    // What a killed server leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let server = Server::builder().bind_unix(&path).unwrap();
    let taken = Server::builder().bind_unix(&path).unwrap_err();
    assert_eq!(std::io::Error::from(taken).kind(), std::io::ErrorKind::AddrInUse);
    let handle = server.handle();
    let report = tokio::spawn(server.serve(service_fn(handler)));
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("hello\n"), "{answer}");
    handle.shut_down();
    assert_eq!(soon(report).await.unwrap().aborted, 0);
    assert!(!path.exists(), "it is gone with the server");

    // A file that is no socket is none of its business.
    std::fs::write(&path, "mine").unwrap();
    assert!(Server::builder().bind_unix(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// What `bind_unix` comes to in another thread, which would be lost with it if it waited.
#[cfg(unix)]
async fn binds(path: std::path::PathBuf) -> Option<Result<(), std::io::ErrorKind>> {
    let (runtime, (say, said)) = (tokio::runtime::Handle::current(), tokio::sync::oneshot::channel());
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        let bound = Server::builder().bind_unix(path).map(drop);
        let _ = say.send(bound.map_err(|error| std::io::Error::from(error).kind()));
    });
    timeout(PATIENCE, said).await.ok().map(|said| said.expect("no panic"))
}

#[cfg(unix)]
#[tokio::test]
async fn the_socket_of_a_server_that_lives_is_left_alone_however_busy_it_is() {
    use std::io::ErrorKind::{AddrInUse, WouldBlock};
    use tokio::net::{UnixSocket, UnixStream};

    let directory = std::env::temp_dir().join(format!("stonework-busy-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (path, link) = (directory.join("socket"), directory.join("link"));
    // It accepts nobody, and its queue is full.
    let busy = UnixSocket::new_stream().unwrap();
    busy.bind(&path).unwrap();
    let busy = busy.listen(1).unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        match timeout(PATIENCE, UnixStream::connect(&path)).await.unwrap() {
            Ok(one) => waiting.push(one),
            Err(error) => break error.kind(),
        }
        assert!(waiting.len() < 100, "it is never full");
    };
    // Some systems say of a full queue that nobody listens, and then it cannot be known.
    if refused == WouldBlock {
        assert_eq!(binds(path.clone()).await, Some(Err(AddrInUse)));
        assert!(path.exists());
    }

    // What is abandoned, and is only linked to from here, is not replaced either.
    drop((busy, waiting));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(binds(link.clone()).await, Some(Err(AddrInUse)));
    assert!(link.is_symlink());

    // Nor is what another one has put in the place of its own removed in the end.
    let server = Server::builder().bind_unix(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let other = Server::builder().bind_unix(&path).unwrap();
    drop(server);
    assert!(path.exists());
    drop(other);
    assert!(!path.exists());
    std::fs::remove_dir_all(&directory).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_begins_the_shutdown_and_the_next_one_skips_ahead() {
    let terminate = || {
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &own]).status().unwrap().success());
    };
    let long = ServerSettings::new().lame_duck(1_000 * PATIENCE).drain_timeout(1_000 * PATIENCE);
    let told = Recorder::new();
    let builder = Server::builder().settings(long).health(health().await).observer(told.clone());
    let server = builder.stop_on_signals().bind("127.0.0.1:0").await.unwrap();
    let (addr, handle) = (server.local_addr(), server.handle());
    // Caught before anybody could connect: one that comes before it serves neither ends the process nor is lost.
    terminate();
    let report = tokio::spawn(server.serve(service_fn(handler)));
    let running = Running { addr, handle, told, report };
    running.phase(ServerPhase::LameDuck).await;
    let mut stuck = running.connect().await;
    stuck.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    while running.handle.connections() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    for phase in [ServerPhase::Draining, ServerPhase::Stopped] {
        terminate();
        running.phase(phase).await;
        assert_eq!(running.handle.phase(), phase);
    }
    assert_eq!(running.phases(), [ServerPhase::LameDuck, ServerPhase::Draining, ServerPhase::Stopped]);
    assert_eq!(soon(running.report).await.unwrap().connections_aborted, 1);
}
