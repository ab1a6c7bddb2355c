//! What a server takes for the end of a request, and what it says in the place of its service: in memory, on a paused clock.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use stonework::Body;
use stonework::base::Detach;
use stonework::server::{Server, ServerSettings};
use tokio::io::{AsyncWriteExt, copy, split};
use tokio::time::{Instant, sleep};
use tower::{Service, service_fn};

use crate::connections::{Running, ask, get, read_to_end};
use crate::requests::Lines;
use crate::support::SECOND;

#[tokio::test(start_paused = true)]
async fn a_body_in_chunks_that_was_read_holds_nothing_up() {
    const CHUNKED: &[u8] = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let server = Running::start(ServerSettings::new());
    let mut client = server.connect();
    ask(&mut client, &[CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"].concat(), "hello").await;
    // Else it would be waited for what is left of the body.
    assert_eq!(server.stop().await.took, Duration::ZERO);
}

/// Answers CONNECT with a tunnel that says what it hears.
pub(crate) async fn tunnels(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut hears, mut says) = split(TokioIo::new(upgrade.await.unwrap()));
        copy(&mut hears, &mut says).await.unwrap();
        says.shutdown().await.unwrap();
    });
    Ok(Response::new(Body::empty()))
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_over_http_2_is_not_idle_and_a_shutdown_waits_for_it() {
    let server = Running::serve(Server::builder(), service_fn(tunnels));
    let mut send = server.h2().await.ready().await.unwrap();
    let request = Request::builder().method(Method::CONNECT).uri("x:80").body(()).unwrap();
    let (answer, mut says) = send.send_request(request, false).unwrap();
    let mut hears = answer.await.unwrap().into_body();
    let mut echoes = async |word: &'static str| {
        says.send_data(word.into(), word.is_empty()).unwrap();
        let heard = hears.data().await.transpose();
        heard.unwrap_or_else(|error| panic!("{error}: {:?}", server.closed())).unwrap_or_default()
    };
    // Longer than a connection may be idle, and than a client may take to close it then.
    sleep(200 * SECOND).await;
    assert_eq!(echoes("one").await, "one");
    server.handle.shut_down();
    sleep(8 * SECOND).await;
    assert_eq!(echoes("two").await, "two");
    assert_eq!(echoes("").await, "");
    assert_eq!(server.closed(), []);
    let report = server.report.await.unwrap();
    assert_eq!((report.connections_aborted, report.took), (0, 8 * SECOND));
}

/// As much as a client of HTTP/2 takes before it says that it takes more.
const WINDOW: usize = 65_535;

#[tokio::test(start_paused = true)]
async fn an_answer_over_http_2_is_over_when_it_was_sent_and_not_when_the_handler_has_given_its_last() {
    // Two pieces more than the client takes at first: of one a byte is left, and the other waits for that.
    const ALL: usize = WINDOW + 10;
    let service = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from(vec![b'x'; ALL])))
    });
    for takes in [true, false] {
        let server = Running::serve(Server::builder(), service);
        let mut send = server.h2().await.ready().await.unwrap();
        let (answer, _) = send.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        sleep(SECOND).await;
        server.handle.shut_down();
        // Longer than a client may take to close a connection that is over.
        sleep(8 * SECOND).await;
        let mut read = 0;
        while let Some(data) = if takes { body.data().await } else { None } {
            let data = data.unwrap_or_else(|error| panic!("{error}: {:?}", server.closed()));
            read += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!((read, server.closed()), (if takes { ALL } else { 0 }, vec![]));
        let report = server.report.await.unwrap();
        let counted = (report.finished, report.aborted, report.connections_aborted);
        assert_eq!(counted, if takes { (1, 0, 0) } else { (0, 1, 1) });
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_its_client_has_not_taken_is_not_finished() {
    for takes in [true, false] {
        let server = Running::start(ServerSettings::new());
        let mut client = server.connect();
        // In one piece, which was the last that the handler had to do.
        client.write_all(&get("/large")).await.unwrap();
        sleep(SECOND).await;
        server.handle.shut_down();
        sleep(SECOND).await;
        if takes {
            assert!(read_to_end(&mut client, Instant::now()).await.0.len() > 1024 * 1024);
        }
        let report = server.report.await.unwrap();
        let counted = (report.finished, report.aborted, report.connections_aborted);
        assert_eq!(counted, if takes { (1, 0, 0) } else { (0, 1, 1) });
    }
}

/// Panics, or answers with the status of its path when it cannot read a body.
#[derive(Clone)]
struct Trouble {
    panics_unready: bool,
}

impl Service<Request<Body>> for Trouble {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        assert!(!self.panics_unready, "on purpose");
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path()[1..].to_owned();
        assert_ne!(path, "call", "on purpose");
        Box::pin(async move {
            let status: StatusCode = path.parse().expect("a status, or a panic on purpose");
            request.into_body().collect().await.expect_err("it does not end");
            Ok(Response::builder().status(status).body(Body::from("{ it cannot be read }")).unwrap())
        })
    }
}

/// The status and the name of the answer to a body of which nothing comes but a half.
async fn half(server: &Running, http2: bool, path: &str) -> (String, String) {
    if http2 {
        let mut send = server.h2().await.ready().await.unwrap();
        let request = Request::post(format!("http://x{path}")).body(()).unwrap();
        let (answer, mut body) = send.send_request(request, false).unwrap();
        body.send_data("half".into(), false).unwrap();
        let answer = answer.await.unwrap();
        let name = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let status = answer.status().as_u16().to_string();
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            data.unwrap();
        }
        return (status, name);
    }
    let mut client = server.connect();
    let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
    let answer = ask(&mut client, request.as_bytes(), "}").await;
    let name = answer.lines().find_map(|line| line.strip_prefix("x-request-id: "));
    (answer[9..12].to_owned(), name.unwrap_or_else(|| panic!("no name: {answer}")).to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_in_the_place_of_its_service_has_a_name_and_is_written_down_as_it_is() {
    let lines = Lines::default();
    let _guard = crate::support::subscriber::set_default(lines.clone());
    let mut told = Vec::new();
    for (panics_unready, path, status, ended, error) in [
        (true, "/", "500", "failed", "panic"),
        (false, "/call", "500", "failed", "panic"),
        (false, "/future", "500", "failed", "panic"),
        (false, "/400", "408", "complete", ""),
        (false, "/500", "408", "complete", ""),
        // It knew what it was about.
        (false, "/422", "422", "complete", ""),
    ] {
        for http2 in [false, true] {
            let builder = Server::builder().settings(ServerSettings::new().access_log());
            let server = Running::serve(builder, Trouble { panics_unready });
            let (said, name) = half(&server, http2, path).await;
            assert_eq!(said, status, "{path}, http2: {http2}");
            server.stop().await;
            told.push([name, status.to_owned(), ended.to_owned(), error.to_owned()]);
        }
    }
    let columns = ["request_id", "http.response.status_code", "ended", "error.type"];
    let written = lines.all().into_iter();
    let written = written.map(|line| columns.map(|name| line.get(name).cloned().unwrap_or_default()));
    assert_eq!(written.collect::<Vec<_>>(), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_ends_although_handlers_block_their_threads() {
    for http2 in [false, true] {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
        let (entered, mut entries) = tokio::sync::mpsc::unbounded_channel();
        let service = service_fn(move |_: Request<Body>| {
            let (blocked, entered) = (std::sync::Arc::clone(&blocked), entered.clone());
            async move {
                entered.send(()).unwrap();
                // Until the test is over.
                let _ = blocked.lock().unwrap().recv();
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let settings = ServerSettings::new().drain_timeout(SECOND / 10);
        let server = Running::serve(Server::builder().settings(settings), service);
        let mut client = server.connect();
        let mut send = None;
        if http2 {
            let mut ready = server.h2().await.ready().await.unwrap();
            let asked = ready.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
            send = Some((ready, asked));
        } else {
            client.write_all(&get("/")).await.unwrap();
        }
        entries.recv().await.unwrap();
        let report = tokio::time::timeout(20 * SECOND, server.stop()).await.expect("it ends");
        assert_eq!((report.stuck, report.aborted), (1, 0), "http2: {http2}");
        drop((release, client, send));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_that_a_server_does_not_wait_for_only_those_are_stuck_that_block_their_threads() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
    let (entered, mut entries) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Body>| {
        let (blocked, entered) = (std::sync::Arc::clone(&blocked), entered.clone());
        async move {
            entered.send(()).unwrap();
            if request.uri().path() == "/blocks" {
                let _ = blocked.lock().unwrap().recv();
            } else {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let settings = ServerSettings::new().drain_timeout(SECOND / 10);
    let server = Running::serve(Server::builder().settings(settings), service);
    let mut client = server.connect();
    client.write_all(&get("/blocks")).await.unwrap();
    entries.recv().await.unwrap();
    let mut send = server.h2().await.ready().await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..10 {
        kept.push(send.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap());
        entries.recv().await.unwrap();
    }
    let report = tokio::time::timeout(20 * SECOND, server.stop()).await.expect("it ends");
    drop((release, client, send, kept));
    assert_eq!((report.stuck, report.aborted), (1, 10));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_dropped_does_not_count_among_those_that_share_detached_work_though_its_handle_lives()
 {
    let detach = Detach::new(9);
    let run = || Running::run(Server::builder().detach(detach.clone()));
    let (dropped, stays) = (run(), run());
    dropped.report.abort();
    sleep(SECOND).await;
    assert!(detach.spawn(async {}).is_ok(), "one goes on");
    stays.stop().await;
    assert!(detach.spawn(async {}).is_err(), "nobody takes calls any more");
    assert_eq!(dropped.handle.connections(), 0);
}

/// Ready the second time that it is asked, and not called before.
#[derive(Default)]
struct Hesitates {
    asked: u32,
}

impl Clone for Hesitates {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<Body>> for Hesitates {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        if self.asked > 1 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(self.asked > 1, "it was not ready");
        std::future::ready(Ok(Response::new(Body::from("hello"))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_is_called_when_it_is_ready_and_not_before() {
    // All between is ready always: what decides there waits in the call.
    let settings = ServerSettings::new().without_concurrency().without_deadline_from();
    let server = Running::serve(Server::builder().settings(settings), Hesitates::default());
    assert!(ask(&mut server.connect(), &get("/"), "hello").await.starts_with("HTTP/1.1 200 "));
    let mut send = server.h2().await.ready().await.unwrap();
    let (answer, _) = send.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}
