//! What happens to a call when the server misbehaves?
//!
//! *The problem:* every client has to decide, many times a day, whether to send a request again. Too seldom, and a
//! connection that was closed a moment too early becomes an error page. Too often, and an order is placed twice.
//!
//! *What to look at:* [`scenes`] one by one. Each starts a real HTTP server on a free port of this machine, which
//! follows a script down to the byte and writes down what it received, and calls it through the assembled client. Then
//! come the client's own story, attempt by attempt, and the promises, checked against what the *server* saw.
//!
//! *What it shows:* what may be repeated is repeated, when the server allows it; what may not be repeated is not; no
//! time is wasted on a pause that cannot help.
//!
//!     cargo run --example quickstart
//!
//! It takes about two seconds, and ends with exit code 0 if every promise was kept.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use stonework::Body;
use stonework::base::{BoxError, Delivery, Event, Skip};
use stonework::client::Client;
use stonework::testing::{Digest, Reaction, Recorder, ScriptedServer, in_order, respond};
use tokio::time::Instant;

#[tokio::main]
async fn main() -> ExitCode {
    match scenes().await {
        Ok(0) => {
            println!("\nverdict: every promise was kept");
            ExitCode::SUCCESS
        }
        Ok(broken) => {
            println!("\nverdict: {broken} promises were BROKEN");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("\nverdict: the show could not go on: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays all scenes and counts the broken promises.
async fn scenes() -> Result<usize, BoxError> {
    let recorder = Recorder::new();
    // One client for a whole program: it keeps connections, and the budget that bounds its retries.
    let client = Client::builder().observer(recorder.clone()).build()?;
    println!("the client, from the outermost layer to the innermost:\n\n{}", indented(&client.explain()));

    let mut broken = 0;
    broken += a_get_is_repeated(&client, &recorder).await?;
    broken += a_post_without_a_key_is_not(&client, &recorder).await?;
    broken += a_post_with_a_key_is(&client, &recorder).await?;
    broken += a_pause_beyond_the_deadline_is_not_begun(&client, &recorder).await?;
    broken += a_large_upload_is_sent_once(&client, &recorder).await?;
    Ok(broken)
}

/// A GET may be sent as often as needed. First the server is busy and says for how long; then it closes the connection
/// that it had kept open, just as the second attempt arrives on it; then all is well.
async fn a_get_is_repeated(client: &Client, recorder: &Recorder) -> Result<usize, BoxError> {
    let server = ScriptedServer::start(in_order([
        // A second: the smallest pause that this field can name.
        respond(503).header("retry-after", "1").keep_alive(),
        Reaction::close_on_head(),
        respond(200).body("the report").keep_alive(),
    ]))
    .await;

    let start = Instant::now();
    let response = client.get(server.uri("/report")).send().await?;
    let took = start.elapsed();

    let mut scene = Scene::new("A GET meets 503 with `Retry-After: 1`, then a closed connection", recorder);
    scene.promise("the caller gets the report", response.text().await? == "the report");
    let seen = server.seen();
    scene.promise("the server saw three attempts", seen.len() == 3);
    let connections: Vec<_> = seen.iter().map(|request| request.connection).collect();
    scene.promise(
        "the second on the connection of the first, the third on a new one",
        connections == [1, 1, 2],
    );
    scene.promise("the second that the server asked for was waited for", took >= Duration::from_secs(1));
    Ok(scene.broken)
}

/// An order without a key: the server reads all of it, and dies. Was it placed? Nobody knows, so it is not sent again,
/// and the error says so.
async fn a_post_without_a_key_is_not(client: &Client, recorder: &Recorder) -> Result<usize, BoxError> {
    // Should the order come a second time, it would be accepted, and the promise below would break.
    let server =
        ScriptedServer::start(in_order([Reaction::read_all_then_close(), respond(201).keep_alive()])).await;

    let result = client.post(server.uri("/orders")).body("one piano").send().await;

    let mut scene =
        Scene::new("A POST without a key, and the connection dies after the body was read", recorder);
    scene.promise("the server saw it exactly once", server.heads_of(&Method::POST) == 1);
    scene.promise("the skipped retry says why", scene.skipped() == [Skip::Unsafe]);
    match result {
        Ok(response) => scene.promise(&format!("an error, and not {}", response.status()), false),
        Err(error) => {
            println!("    the error: {error:#}");
            scene.promise("the error says that it may have arrived", error.delivery() == Delivery::Unknown);
            scene.promise("and that there was one attempt", error.attempts() == 1);
        }
    }
    Ok(scene.broken)
}

/// The same order with a key, by which the server would know it again: now it may be sent twice.
async fn a_post_with_a_key_is(client: &Client, recorder: &Recorder) -> Result<usize, BoxError> {
    const KEY: &str = "\"order-4711\"";
    let server =
        ScriptedServer::start(in_order([Reaction::read_all_then_close(), respond(201).keep_alive()])).await;

    // `.keyed()` would make up a key. One that belongs to the order outlives a restart of this program, too.
    let order = client.post(server.uri("/orders")).idempotency_key(KEY).body("one piano");
    let response = order.send().await?;

    let mut scene = Scene::new("The same with an `Idempotency-Key`", recorder);
    scene.promise("the order is placed", response.status() == StatusCode::CREATED);
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key")).collect();
    scene.promise("the server saw it twice, with the same key, byte for byte", keys == [Some(KEY); 2]);
    let whole = seen.iter().all(|request| request.body.kept == b"one piano");
    scene.promise("and with the same body", whole);
    Ok(scene.broken)
}

/// The server asks for a pause that is longer than the time that is left. Waiting could only end in a timeout, so the
/// caller has the answer now, and can do something else.
async fn a_pause_beyond_the_deadline_is_not_begun(
    client: &Client,
    recorder: &Recorder,
) -> Result<usize, BoxError> {
    let server =
        ScriptedServer::start(in_order([respond(503).header("retry-after", "10").keep_alive()])).await;

    let start = Instant::now();
    // Any deadline below those ten seconds will do. The client has one of its own, for the calls that bring none.
    let response = client.get(server.uri("/report")).deadline(Duration::from_secs(3)).send().await?;
    let took = start.elapsed();

    let mut scene = Scene::new("A `Retry-After: 10`, and a deadline in three seconds", recorder);
    scene.promise("the caller sees the 503", response.status() == StatusCode::SERVICE_UNAVAILABLE);
    // At once is a few milliseconds; a third of the deadline leaves room for a machine that is busy.
    scene.promise("at once, without a pause", took < Duration::from_secs(1));
    scene.promise("the skipped retry says why", scene.skipped() == [Skip::Deadline]);
    scene.promise("the server saw one attempt", server.heads_of(&Method::GET) == 1);
    Ok(scene.broken)
}

/// An upload from a source of unknown length that cannot be read twice. PUT may be repeated, but its body is far beyond
/// the 64 KiB that are kept for that; so it is streamed, sent once, and the server's answer is the caller's.
async fn a_large_upload_is_sent_once(client: &Client, recorder: &Recorder) -> Result<usize, BoxError> {
    // 160 pieces of 64 KiB are 10 MiB: more than all buffers on the way hold together.
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 160;
    let server = ScriptedServer::start(in_order([respond(503).keep_alive()])).await;

    let piece = Bytes::from(vec![b'x'; PIECE]);
    let mut sent = Digest::new();
    (0..PIECES).for_each(|_| sent.update(&piece));
    let pieces = std::iter::repeat_n(piece, PIECES).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let upload = Body::new(StreamBody::new(stream::iter(pieces)));
    let response = client.put(server.uri("/backup")).body(upload).send().await?;

    let mut scene = Scene::new("A streamed upload of 10 MiB, answered with 503", recorder);
    let seen = server.seen();
    scene.promise("the server saw it once", seen.len() == 1);
    let whole = seen.iter().all(|request| request.body.complete && request.body.digest == sent.finish());
    scene.promise("and whole", whole);
    scene.promise("being large is no error: the caller sees the 503", response.status() == 503);
    scene.promise("the skipped retry says why", scene.skipped() == [Skip::Body]);
    Ok(scene.broken)
}

/// What became of one call.
struct Scene {
    events: Vec<Event>,
    broken: usize,
}

impl Scene {
    /// Prints the title and the client's story of the call.
    fn new(title: &str, recorder: &Recorder) -> Self {
        println!("\n{title}\n\n{}", indented(&recorder.timeline()));
        Self { events: recorder.take(), broken: 0 }
    }

    fn promise(&mut self, what: &str, kept: bool) {
        println!("    {} {what}", if kept { "kept:  " } else { "BROKEN:" });
        self.broken += usize::from(!kept);
    }

    /// Why there was no further attempt.
    fn skipped(&self) -> Vec<Skip> {
        let why = |event: &Event| match event {
            Event::RetrySkipped { why, .. } => Some(*why),
            _ => None,
        };
        self.events.iter().filter_map(why).collect()
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
