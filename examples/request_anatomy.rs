//! Where does the time of a request go?
//!
//! *The problem:* "the service is slow" may mean a name server, a handshake, a queue in the client, the service, or a large answer on a thin
//! line. Whoever sees one number guesses.
//!
//! *What to look at:* [`ask`], which makes a waterfall from three events: of the attempt, of the connection that it took, and of the
//! connection that was made for it; then [`scenes`], each of which puts the time somewhere else.
//!
//! *What it shows:* a new connection costs its steps and a kept one nothing; one that has lain idle for too long is not used again; who waits
//! for the only connection waits visibly; TLS and HTTP/2 are two steps more, once.
//!
//!     cargo run --example request_anatomy
//!     cargo run --example request_anatomy -- https://example.org/
//!
//! With a URL it asks there, twice. Without one it starts its own servers and takes about two seconds. It ends with exit code 0 if every
//! claim held.

mod kit;

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Version;
use http_body::Frame;
use http_body_util::StreamBody;
use rcgen::{CertificateParams, KeyPair};
use stonework::base::{BoxError, Error, Event, Timings};
use stonework::client::{Client, ClientSettings};
use stonework::connect::{ClientTls, Connector};
use stonework::server::{Server, ServerBuilder, ServerHandle, ServerTls};
use stonework::testing::Recorder;
use tokio::time::{Instant, sleep};

use self::kit::Verdict;

/// How long the servers here think, and how long they take for each of three pieces of their answer.
const THINKS: Duration = Duration::from_millis(60);
const PIECE: Duration = Duration::from_millis(20);
/// How long the client keeps a connection that nobody uses.
const IDLE: Duration = Duration::from_millis(300);
/// What a machine with other things to do may add between two of our measurements.
const BUSY: Duration = Duration::from_millis(20);
/// Columns of a waterfall.
const WIDTH: f64 = 48.0;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(match std::env::args().nth(1) {
        Some(url) => there(&url).await,
        None => scenes().await,
    })
}

/// Twice to a URL that somebody wants to know about.
async fn there(url: &str) -> Result<Verdict, BoxError> {
    let recorder = Recorder::new();
    let client = Client::builder().observer(recorder.clone()).build()?;
    let mut scene = Scene::default();
    for title in ["The first request", "The same again"] {
        match ask(&client, &recorder, url).await {
            Ok(anatomy) => scene.show(title, &anatomy),
            Err(error) => {
                failed(title, &recorder);
                return Err(error.into());
            }
        }
    }
    Ok(scene.verdict)
}

/// Against servers of our own.
async fn scenes() -> Result<Verdict, BoxError> {
    let (plain, handle) = serve(Server::builder()).await?;
    let (certificate, key) = certificate()?;
    let tls = ServerTls::from_pem(certificate.as_bytes(), key.as_bytes())?;
    let (secure, secure_handle) = serve(Server::builder().tls(tls)).await?;
    let (plain, secure) = (format!("http://localhost:{plain}/"), format!("https://localhost:{secure}/"));

    let recorder = Recorder::new();
    let trust = ClientTls::new().roots_pem(certificate.as_bytes())?;
    let client = Client::builder()
        // One connection to each host, so that a second request has to wait for it.
        .settings(ClientSettings::new().idle_timeout(IDLE).max_connections_per_host(1))
        .connector(Connector::builder().tls(trust).build()?)
        .observer(recorder.clone())
        .build()?;
    let mut scene = Scene::default();

    let first = ask(&client, &recorder, &plain).await?;
    scene.show("The first request: a name, a connection, and a server that thinks", &first);
    let steps = first.timings.map(|timings| (timings.resolve.is_some(), timings.connect.is_some()));
    scene.verdict.claim(steps == Some((true, true)), "it has resolved a name and connected");
    scene.verdict.claim(first.of("TLS").is_zero() && first.of("HTTP/2 preface").is_zero(), "without TLS");

    let again = ask(&client, &recorder, &plain).await?;
    scene.show("The second: over the same connection", &again);
    scene.verdict.claim(again.reused, "it is used again");

    sleep(IDLE + IDLE / 2).await;
    let late = ask(&client, &recorder, &plain).await?;
    scene.show("The third: the connection has lain idle for too long", &late);
    scene.verdict.claim(!late.reused && late.timings.is_some(), "it is a new one");

    let before = tokio::spawn({
        let (client, url) = (client.clone(), plain.clone());
        async move { client.get(url).send().await?.bytes().await }
    });
    sleep(THINKS / 3).await;
    let queued = ask(&client, &recorder, &plain).await?;
    before.await??;
    scene.show("The fourth: somebody else has the only connection", &queued);
    let waits = queued.of("wait for a connection");
    scene.verdict.claim(waits > THINKS / 2 && queued.reused, "it waits for the rest of the other's answer");

    let secret = ask(&client, &recorder, &secure).await?;
    scene.show("Over TLS: a handshake, and the server's first settings", &secret);
    scene.verdict.claim(secret.version == Version::HTTP_2, "client and server agree on HTTP/2");
    let steps = secret.timings.map(|timings| (timings.tls.is_some(), timings.preface.is_some()));
    scene.verdict.claim(steps == Some((true, true)), "it has two steps more");

    let again = ask(&client, &recorder, &secure).await?;
    scene.show("Over TLS, again", &again);
    scene.verdict.claim(again.reused, "which are made once");

    for one in [&first, &again, &late, &queued, &secret] {
        scene.slow &= one.of("send, first byte") >= THINKS && one.of("body") >= PIECE * 2;
    }
    println!();
    scene.verdict.claim(scene.slow, "what the server takes is seen where it takes it, in all of them");
    handle.shut_down();
    secure_handle.shut_down();
    Ok(scene.verdict)
}

// ───────────────────────────────────────────────────────────────────────────── the anatomy

/// One request.
struct Anatomy {
    head: String,
    version: Version,
    /// What it consists of, one after the other.
    phases: Vec<(&'static str, Duration)>,
    reused: bool,
    /// How long it waited for its connection.
    waited: Duration,
    /// Of the connection that was made for it, if one was.
    timings: Option<Timings>,
    took: Option<Duration>,
    /// By a clock of its own.
    whole: Duration,
}

/// Ask, and look at what the client told of the request. Nobody else asks after it: the last event of each kind is its own.
async fn ask(client: &Client, recorder: &Recorder, url: &str) -> Result<Anatomy, Error> {
    drop(recorder.take());
    let start = Instant::now();
    let response = client.get(url).send().await?;
    let (status, version, headed) = (response.status(), response.version(), Instant::now());
    let size = response.bytes().await?.len();
    let (body, whole) = (headed.elapsed(), start.elapsed());

    // The attempt that was answered; what there was before it took the rest of the time until then.
    let (mut attempt, mut taken, mut opened) = (Duration::ZERO, (false, Duration::ZERO), None);
    for event in recorder.take() {
        match event {
            Event::AttemptEnded { elapsed, .. } => attempt = elapsed,
            Event::ConnectionTaken { reused, waited, .. } => taken = (reused, waited),
            Event::ConnectionOpened { timings, took, .. } => opened = Some((timings, took)),
            _ => {}
        }
    }
    let (reused, waited) = taken;
    let earlier = (headed - start).saturating_sub(attempt);
    let opened = opened.filter(|_| !reused);
    let timings = opened.map(|(timings, _)| timings);
    let steps = timings.map(steps).unwrap_or_default();
    let mut phases = vec![("layers, earlier attempts", earlier)];
    phases.extend(steps);
    phases.push(("wait for a connection", waited.saturating_sub(sum(&steps))));
    phases.push(("send, first byte", attempt.saturating_sub(waited)));
    phases.push(("body", body));
    let connection = if reused { "a connection used before" } else { "a new connection" };
    let head = format!("GET {url}: {status}, {version:?}, {size} bytes, {connection}");
    Ok(Anatomy { head, version, phases, reused, waited, timings, took: opened.map(|(_, took)| took), whole })
}

fn steps(timings: Timings) -> [(&'static str, Duration); 5] {
    [
        ("resolve", timings.resolve),
        ("connect", timings.connect),
        ("proxy", timings.proxy),
        ("TLS", timings.tls),
        ("HTTP/2 preface", timings.preface),
    ]
    .map(|(name, took)| (name, took.unwrap_or_default()))
}

fn sum(phases: &[(&str, Duration)]) -> Duration {
    phases.iter().map(|(_, took)| *took).sum()
}

impl Anatomy {
    fn of(&self, phase: &str) -> Duration {
        let found = self.phases.iter().find(|(name, _)| *name == phase);
        found.map_or(Duration::ZERO, |(_, took)| *took)
    }
}

/// A line for each phase, which begins where the one before it ends.
fn draw(phases: &[(&str, Duration)], whole: Duration) {
    let column = |at: Duration| at.as_secs_f64() / whole.as_secs_f64().max(1e-9) * WIDTH;
    let mut begins = Duration::ZERO;
    for (name, took) in phases.iter().filter(|(_, took)| !took.is_zero()) {
        let before = (column(begins) as usize).min(WIDTH as usize - 1);
        let width = (column(*took).round() as usize).max(1);
        let bar = format!("{}{}", " ".repeat(before), "█".repeat(width));
        println!("    {name:<25}{bar:<50}{:>9.2} ms", millis(*took));
        begins += *took;
    }
    println!("    {:<75}{:>9.2} ms", "whole", millis(whole));
}

/// How far those attempts came that could not connect.
fn failed(title: &str, recorder: &Recorder) {
    println!("\n{title}");
    for event in recorder.take() {
        if let Event::ConnectFailed { host, timings, .. } = event {
            println!("\n    {host} was not reached; the last step is the one that failed\n");
            draw(&steps(timings), sum(&steps(timings)));
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Whether two measurements are of the same time.
fn same(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= BUSY
}

// ─────────────────────────────────────────────────────────────────────────────── the claims

struct Scene {
    verdict: Verdict,
    /// Whether the time of the server was seen in its phases until now.
    slow: bool,
}

impl Default for Scene {
    fn default() -> Self {
        Self { verdict: Verdict::default(), slow: true }
    }
}

impl Scene {
    /// Draws a request, and checks what holds of each.
    fn show(&mut self, title: &str, anatomy: &Anatomy) {
        println!("\n{title}\n");
        println!("    {}\n", anatomy.head);
        draw(&anatomy.phases, anatomy.whole);
        println!();
        let Anatomy { phases, whole, reused, waited, timings, took, .. } = anatomy;
        self.verdict.claim(same(sum(phases), *whole), "the phases add up to the whole");
        match (timings, took) {
            (Some(timings), Some(took)) => {
                let steps = sum(&steps(*timings));
                self.verdict.claim(same(steps, *took), "the steps add up to what the connection took");
                self.verdict.claim(same(*waited, *took), "and the request waited for as long");
            }
            _ => self.verdict.claim(*reused, "there is no connecting where a connection is used again"),
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── the servers

/// A server on a port of its own, which thinks, and then says three times what it thinks.
async fn serve(builder: ServerBuilder) -> Result<(u16, ServerHandle), BoxError> {
    let answer = || async {
        sleep(THINKS).await;
        let pieces = stream::iter(0..3).then(|_| async {
            sleep(PIECE).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1000])))
        });
        axum::body::Body::new(StreamBody::new(pieces))
    };
    let server = builder.bind("127.0.0.1:0").await?;
    let (port, handle) = (server.local_addr().port(), server.handle());
    tokio::spawn(server.serve(Router::new().route("/", get(answer))));
    Ok((port, handle))
}

/// For this machine, and vouched for by nobody but itself.
fn certificate() -> Result<(String, String), BoxError> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
