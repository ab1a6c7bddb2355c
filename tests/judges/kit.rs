//! A server to judge, and the processes that do.

use std::convert::Infallible;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use stonework::base::Event;
use stonework::limit::RequestBodyLimitLayer;
use stonework::server::{Server, ServerBuilder, ServerHandle, ShutdownReport};
use stonework::testing::Recorder;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No judge takes longer, unless it waits for something that does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether there is this program. If there is none, this is said; or the test fails, if none may be missing.
pub(crate) fn need(program: &str) -> bool {
    need_by(program, "--version")
}

/// The same for one that tells its version when it is asked like this.
pub(crate) fn need_by(program: &str, version: &str) -> bool {
    is_there(program, Command::new(program).arg(version))
}

/// Python with these modules, if there is one: `STONEWORK_PYTHON`, else `python3`.
pub(crate) fn python(modules: &str) -> Option<String> {
    let python = std::env::var("STONEWORK_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let what = format!("Python with {modules}");
    is_there(&what, Command::new(&python).args(["-c", &format!("import {modules}")])).then_some(python)
}

/// Where Node finds this package, if there are both: `STONEWORK_NPM`.
pub(crate) fn node(package: &str) -> Option<String> {
    let packages = std::env::var("STONEWORK_NPM").unwrap_or_else(|_| ".".to_owned());
    let look = "require('node:module').createRequire(process.argv[1] + '/any.js').resolve(process.argv[2])";
    let what = format!("Node with {package}");
    is_there(&what, Command::new("node").args(["-e", look, &packages, package])).then_some(packages)
}

fn is_there(what: &str, command: &mut Command) -> bool {
    let started =
        command.as_std_mut().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // Some print their version and then complain that they were told nothing to do.
    let there = started.is_ok_and(|status| status.success() || status.code() == Some(1) && what == "wrk");
    if !there {
        assert!(
            std::env::var("STONEWORK_JUDGES").as_deref() != Ok("1"),
            "there is no {what}, and none may be missing"
        );
        eprintln!("skipped: there is no {what}");
    }
    there
}

/// A script in this folder.
pub(crate) fn script(name: &str) -> String {
    format!("{}/tests/judges/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program to its end, and gives what it printed.
pub(crate) async fn run(program: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // It may not want all of it.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let (output, ()) = timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), write) })
        .await
        .unwrap_or_else(|_| panic!("{program} {args:?} does not end"));
    output.unwrap()
}

/// What a program printed that has to succeed.
pub(crate) fn text(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}: {printed}{errors}", output.status);
    printed
}

/// A program that says line by line what it sees.
pub(crate) struct Talking {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: Option<ChildStdin>,
}

impl Talking {
    pub(crate) fn start(program: &str, args: &[&str]) -> Self {
        Self::with(program, args, Stdio::null())
    }

    /// One that is [told](Self::tell) what to do.
    pub(crate) fn obeying(program: &str, args: &[&str]) -> Self {
        Self::with(program, args, Stdio::piped())
    }

    fn with(program: &str, args: &[&str], stdin: Stdio) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(stdin).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take(), child, lines }
    }

    /// Say this, in a line.
    pub(crate) async fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it can be told something");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it listens");
    }

    /// The next line; none, if it has ended well.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line =
            timeout(PATIENCE, self.lines.next_line()).await.expect("it should have said something").unwrap();
        if line.is_none() {
            let status = timeout(PATIENCE, self.child.wait()).await.expect("it has said all").unwrap();
            assert!(status.success(), "{status}");
        }
        line
    }

    pub(crate) async fn says(&mut self, expected: &str) {
        assert_eq!(self.line().await.as_deref(), Some(expected));
    }
}

/// A server that runs.
pub(crate) struct Judged {
    pub(crate) port: u16,
    pub(crate) handle: ServerHandle,
    pub(crate) told: Recorder,
    pub(crate) gate: Gate,
    report: JoinHandle<ShutdownReport>,
}

impl Judged {
    pub(crate) async fn start(builder: ServerBuilder) -> Self {
        let told = Recorder::new();
        let gate = Gate::default();
        let server = builder.observer(told.clone()).bind("127.0.0.1:0").await.unwrap();
        let (port, handle) = (server.local_addr().port(), server.handle());
        let report = tokio::spawn(server.serve(site(&gate)));
        Self { port, handle, told, gate, report }
    }

    pub(crate) async fn new() -> Self {
        Self::start(Server::builder()).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How connections were closed by the server.
    pub(crate) fn closed(&self) -> Vec<String> {
        let why = |event| match event {
            Event::ConnectionClosed { why, .. } => Some(format!("{why:?}")),
            _ => None,
        };
        self.told.events().into_iter().filter_map(why).collect()
    }

    pub(crate) async fn stop(self) -> ShutdownReport {
        self.handle.shut_down();
        self.report().await
    }

    /// Of a server that was told to stop.
    pub(crate) async fn report(self) -> ShutdownReport {
        timeout(PATIENCE, self.report).await.expect("it stops").unwrap()
    }
}

/// A request that waits, says when it was reached, and goes on when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) reached: Arc<Notify>,
    pub(crate) open: Arc<Notify>,
}

fn site(gate: &Gate) -> Router {
    let gate = gate.clone();
    let wait = move || async move {
        gate.reached.notify_one();
        gate.open.notified().await;
        "finished"
    };
    let small = post(|body: Bytes| async move { body }).layer(RequestBodyLimitLayer::new(1000).answer());
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/count", any(|body: Body| async move { format!("{} bytes", count(body).await) }))
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/large", get(|| async { vec![b'x'; 4 * 1024 * 1024] }))
        .route("/never", any(std::future::pending::<()>))
        .route("/pieces", get(|| async { pieces(None) }))
        .route("/no-expectations", any(no_expectations))
        .route("/small", small)
        .route("/trailers", get(|| async { trailers() }))
        .route("/wait", any(wait))
}

/// As a server that was made before there were any.
async fn no_expectations(request: Request) -> (StatusCode, String) {
    if request.headers().contains_key("expect") {
        return (StatusCode::EXPECTATION_FAILED, "not that\n".to_owned());
    }
    (StatusCode::OK, format!("{} bytes", count(request.into_body()).await))
}

async fn count(body: Body) -> usize {
    let sizes = body.into_data_stream().map(|data| data.expect("the whole body").len());
    sizes.fold(0, |all, size| async move { all + size }).await
}

/// A body whose length is not known, in two pieces.
fn pieces(trailers: Option<HeaderMap>) -> Body {
    let data = ["hel", "lo"].map(|piece| Frame::data(Bytes::from(piece)));
    let frames = data.into_iter().chain(trailers.map(Frame::trailers));
    Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))))
}

fn trailers() -> Response<Body> {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("checksum"),
        http::HeaderValue::from_static("five letters"),
    )]);
    Response::builder().header("trailer", "checksum").body(pieces(Some(trailers))).unwrap()
}
