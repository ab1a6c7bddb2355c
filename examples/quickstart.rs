//! What happens to a call when the server misbehaves?
//!
//! *The problem:* every client has to decide, many times a day, whether to send a request again. Too seldom, and a
//! connection that was closed a moment too early becomes an error page. Too often, and an order is placed twice.
//!
//! *What to look at:* [`scenes`] one by one. Each starts a real HTTP server on a free port of this machine, which
//! follows a script down to the byte and writes down what it received, and calls it through the assembled client. Then
//! come the client's own story, attempt by attempt, and the claims, checked against what the *server* saw.
//!
//! *What it shows:* what may be repeated is repeated, when the server allows it; what may not be repeated is not; no
//! time is wasted on a pause that cannot help.
//!
//!     cargo run --example quickstart
//!
//! It takes about two seconds, and ends with exit code 0 if every claim held.

mod kit;

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

use self::kit::Verdict;

#[tokio::main]
async fn main() -> ExitCode {
    kit::end(scenes().await)
}

/// All of them, one after the other.
async fn scenes() -> Result<Verdict, BoxError> {
    let recorder = Recorder::new();
    // One client for a whole program: it keeps connections, and the budget that bounds its retries.
    let client = Client::builder().observer(recorder.clone()).build()?;
    println!("the client, from the outermost layer to the innermost:\n\n{}", indented(&client.explain()));

    let mut verdict = Verdict::default();
    a_get_is_repeated(&client, &recorder, &mut verdict).await?;
    a_post_without_a_key_is_not(&client, &recorder, &mut verdict).await?;
    a_post_with_a_key_is(&client, &recorder, &mut verdict).await?;
    a_pause_beyond_the_deadline_is_not_begun(&client, &recorder, &mut verdict).await?;
    a_large_upload_is_sent_once(&client, &recorder, &mut verdict).await?;
    Ok(verdict)
}

/// A GET may be sent as often as needed. First the server is busy and says for how long; then it closes the connection
/// that it had kept open, just as the second attempt arrives on it; then all is well.
async fn a_get_is_repeated(
    client: &Client,
    recorder: &Recorder,
    verdict: &mut Verdict,
) -> Result<(), BoxError> {
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

    story("A GET meets 503 with `Retry-After: 1`, then a closed connection", recorder);
    verdict.claim(response.text().await? == "the report", "the caller gets the report");
    let seen = server.seen();
    verdict.claim(seen.len() == 3, "the server saw three attempts");
    let connections: Vec<_> = seen.iter().map(|request| request.connection).collect();
    verdict
        .claim(connections == [1, 1, 2], "the second on the connection of the first, the third on a new one");
    verdict.claim(took >= Duration::from_secs(1), "the second that the server asked for was waited for");
    Ok(())
}

/// An order without a key: the server reads all of it, and dies. Was it placed? Nobody knows, so it is not sent again,
/// and the error says so.
async fn a_post_without_a_key_is_not(
    client: &Client,
    recorder: &Recorder,
    verdict: &mut Verdict,
) -> Result<(), BoxError> {
    // Should the order come a second time, it would be accepted, and the claim below would not hold.
    let server =
        ScriptedServer::start(in_order([Reaction::read_all_then_close(), respond(201).keep_alive()])).await;

    let result = client.post(server.uri("/orders")).body("one piano").send().await;

    let events = story("A POST without a key, and the connection dies after the body was read", recorder);
    verdict.claim(server.heads_of(&Method::POST) == 1, "the server saw it exactly once");
    verdict.claim(skipped(&events) == [Skip::Unsafe], "the skipped retry says why");
    match result {
        Ok(response) => verdict.claim(false, format!("an error, and not {}", response.status())),
        Err(error) => {
            println!("    the error: {error:#}");
            verdict.claim(error.delivery() == Delivery::Unknown, "the error says that it may have arrived");
            verdict.claim(error.attempts() == 1, "and that there was one attempt");
        }
    }
    Ok(())
}

/// The same order with a key, by which the server would know it again: now it may be sent twice.
async fn a_post_with_a_key_is(
    client: &Client,
    recorder: &Recorder,
    verdict: &mut Verdict,
) -> Result<(), BoxError> {
    const KEY: &str = "\"order-4711\"";
    let server =
        ScriptedServer::start(in_order([Reaction::read_all_then_close(), respond(201).keep_alive()])).await;

    // `.keyed()` would make up a key. One that belongs to the order outlives a restart of this program, too.
    let order = client.post(server.uri("/orders")).idempotency_key(KEY).body("one piano");
    let response = order.send().await?;

    story("The same with an `Idempotency-Key`", recorder);
    verdict.claim(response.status() == StatusCode::CREATED, "the order is placed");
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key")).collect();
    verdict.claim(keys == [Some(KEY); 2], "the server saw it twice, with the same key, byte for byte");
    let whole = seen.iter().all(|request| request.body.kept == b"one piano");
    verdict.claim(whole, "and with the same body");
    Ok(())
}

/// The server asks for a pause that is longer than the time that is left. Waiting could only end in a timeout, so the
/// caller has the answer now, and can do something else.
async fn a_pause_beyond_the_deadline_is_not_begun(
    client: &Client,
    recorder: &Recorder,
    verdict: &mut Verdict,
) -> Result<(), BoxError> {
    let server =
        ScriptedServer::start(in_order([respond(503).header("retry-after", "10").keep_alive()])).await;

    let start = Instant::now();
    // Any deadline below those ten seconds will do. The client has one of its own, for the calls that bring none.
    let response = client.get(server.uri("/report")).deadline(Duration::from_secs(3)).send().await?;
    let took = start.elapsed();

    let events = story("A `Retry-After: 10`, and a deadline in three seconds", recorder);
    verdict.claim(response.status() == StatusCode::SERVICE_UNAVAILABLE, "the caller sees the 503");
    // At once is a few milliseconds; a third of the deadline leaves room for a machine that is busy.
    verdict.claim(took < Duration::from_secs(1), "at once, without a pause");
    verdict.claim(skipped(&events) == [Skip::Deadline], "the skipped retry says why");
    verdict.claim(server.heads_of(&Method::GET) == 1, "the server saw one attempt");
    Ok(())
}

/// An upload from a source of unknown length that cannot be read twice. PUT may be repeated, but its body is far beyond
/// the 64 KiB that are kept for that; so it is streamed, sent once, and the server's answer is the caller's.
async fn a_large_upload_is_sent_once(
    client: &Client,
    recorder: &Recorder,
    verdict: &mut Verdict,
) -> Result<(), BoxError> {
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

    let events = story("A streamed upload of 10 MiB, answered with 503", recorder);
    let seen = server.seen();
    verdict.claim(seen.len() == 1, "the server saw it once");
    let whole = seen.iter().all(|request| request.body.complete && request.body.digest == sent.finish());
    verdict.claim(whole, "and whole");
    verdict.claim(response.status() == 503, "being large is no error: the caller sees the 503");
    verdict.claim(skipped(&events) == [Skip::Body], "the skipped retry says why");
    Ok(())
}

/// Prints the title and the client's story of the call, and gives what it consists of.
fn story(title: &str, recorder: &Recorder) -> Vec<Event> {
    println!("\n{title}\n\n{}", indented(&recorder.timeline()));
    recorder.take()
}

/// Why there was no further attempt.
fn skipped(events: &[Event]) -> Vec<Skip> {
    let why = |event: &Event| match event {
        Event::RetrySkipped { why, .. } => Some(*why),
        _ => None,
    };
    events.iter().filter_map(why).collect()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
