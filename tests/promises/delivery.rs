//! What reaches a server when things go wrong, over real sockets and through the whole client.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Frame;
use http_body_util::StreamBody;
use stonework::base::{Backoff, Skip};
use stonework::client::{Client, ClientSettings};
use stonework::retry::RetrySettings;
use stonework::testing::{Digest, Reaction, Recorder, ScriptedServer, respond};
use stonework::{Body, base::BoxError};

use crate::support::skips;

const CAP: usize = 64 * 1024;

/// How long an attempt may take: shorter only where the server stalls on purpose.
const PATIENT: Duration = Duration::from_secs(10);
const HASTY: Duration = Duration::from_millis(300);

fn watched(patience: Duration) -> (Client, Recorder) {
    let quick = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(5)).expect("valid");
    let retry = RetrySettings::new().attempts(2).backoff(quick).without_budget();
    let settings = ClientSettings::new().attempt_timeout(patience).retry(retry);
    let events = Recorder::new();
    let client =
        Client::builder().settings(settings).observer(events.clone()).build().expect("valid settings");
    (client, events)
}

/// A body of unknown length, in frames of a thousand bytes.
fn streamed(content: &[u8]) -> Body {
    let frames: Vec<_> = content
        .chunks(1_000)
        .map(|chunk| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    Body::new(StreamBody::new(stream::iter(frames)))
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index % 251) as u8).collect()
}

#[tokio::test]
async fn an_unkeyed_post_that_may_have_been_received_is_never_sent_twice() {
    for (fault, reaction) in [
        ("it reads the request and closes", Reaction::read_all_then_close()),
        ("it reads the request and resets", Reaction::new().read_body().reset()),
        ("it reads the request and stalls", Reaction::read_body_then_stall()),
        ("it reads the request and answers 503", Reaction::new().read_body().reply(respond(503))),
        ("it answers 503 at once", respond(503).header("retry-after", "0").keep_alive()),
        ("it sends half a head", Reaction::new().read_body().send("HTTP/1.1 200 OK\r\ncont").close()),
        ("it sends half a response", Reaction::half_response()),
    ] {
        for method in [Method::POST, Method::PATCH] {
            let reaction = reaction.clone();
            let server = ScriptedServer::start(move |_| reaction.clone()).await;
            let (client, events) = watched(if fault.ends_with("stalls") { HASTY } else { PATIENT });
            let answer = client.request(method.clone(), server.uri("/charge")).body("100").send().await;
            if let Ok(answer) = answer {
                // Half a response has a whole head; only its body fails.
                assert!(answer.status() == 503 || answer.bytes().await.is_err(), "{fault}");
            } else {
                assert_eq!(skips(&events), [Skip::Unsafe], "{fault}");
            }
            assert_eq!(server.seen().len(), 1, "{fault}, {method}");
        }
    }
}

#[tokio::test]
async fn the_same_request_with_a_key_is_sent_again_with_the_same_key_byte_for_byte() {
    for (fault, reaction) in [
        ("closes", Reaction::read_all_then_close()),
        ("stalls", Reaction::read_body_then_stall()),
        ("answers 503", Reaction::new().read_body().reply(respond(503))),
    ] {
        for method in [Method::POST, Method::PATCH] {
            let reaction = reaction.clone();
            let server = ScriptedServer::start(move |_| reaction.clone()).await;
            let (client, _) = watched(if fault == "stalls" { HASTY } else { PATIENT });
            let request = client.request(method.clone(), server.uri("/charge")).body("100");
            let _ = request.idempotency_key("\"8e03978e-40d5-43e8\"").send().await;
            let seen = server.seen();
            assert_eq!(seen.len(), 2, "{fault}, {method}");
            for request in &seen {
                assert_eq!(request.header("idempotency-key"), Some("\"8e03978e-40d5-43e8\""), "{fault}");
                assert_eq!(request.body.kept, b"100", "{fault}");
            }
        }
    }
}

#[tokio::test]
async fn a_get_that_may_have_been_received_is_sent_again() {
    for reaction in [Reaction::read_all_then_close(), Reaction::read_body_then_stall(), respond(503).into()] {
        let server = ScriptedServer::start(move |_| reaction.clone()).await;
        let _ = watched(HASTY).0.get(server.uri("/")).send().await;
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_streamed_body_within_the_cap_arrives_whole_however_much_of_it_was_read_before() {
    for size in [0, 1, 10_000, CAP] {
        for read in [0, 1, size as u64 / 2, size as u64] {
            let server = ScriptedServer::start(move |request| match request.number {
                1 => Reaction::read_then(read, respond(503)).close(),
                _ => respond(200).keep_alive(),
            })
            .await;
            let sent = content(size);
            let answer =
                watched(PATIENT).0.put(server.uri("/")).body(streamed(&sent)).send().await.expect("answered");
            assert_eq!((answer.status().as_u16(), answer.attempts()), (200, 2), "{read} of {size} bytes");
            let second = &server.seen()[1].body;
            // Of nothing there is no digest.
            let digest = if size == 0 { 0 } else { Digest::of(&sent) };
            assert_eq!((second.received, second.digest), (size as u64, digest), "{read} of {size}");
            assert!(second.complete);
        }
    }
}

#[tokio::test]
async fn a_streamed_body_beyond_the_cap_is_sent_once_and_the_answer_is_the_servers_own() {
    let server =
        ScriptedServer::start(|_| Reaction::new().read_body().reply(respond(503).body("busy"))).await;
    let (client, events) = watched(PATIENT);
    let sent = content(CAP + 1);
    let answer = client.put(server.uri("/")).body(streamed(&sent)).send().await.expect("never an error");
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("a text").as_str()), (503, "busy"));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].body.digest, Digest::of(&sent));
    assert_eq!(skips(&events), [Skip::Body]);
}

#[tokio::test]
async fn trailers_arrive_with_the_second_attempt_too() {
    let server = ScriptedServer::start(|request| match request.number {
        1 => Reaction::new().read_body().reply(respond(503)),
        _ => respond(200).keep_alive(),
    })
    .await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-digest", HeaderValue::from_static("abc"));
    let frames = [Ok::<_, BoxError>(Frame::data(Bytes::from("content"))), Ok(Frame::trailers(trailers))];
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    let request = watched(PATIENT).0.put(server.uri("/")).header("trailer", "x-digest").body(body);
    assert_eq!(request.send().await.expect("answered").status(), 200);
    for request in server.seen() {
        assert_eq!(request.body.trailers["x-digest"], "abc", "{request}");
        assert_eq!(request.body.kept, b"content");
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_known_length_stays_a_content_length_on_every_attempt() {
    let server = ScriptedServer::start(|request| match request.number {
        1 => Reaction::new().read_body().reply(respond(503)),
        _ => respond(200).keep_alive(),
    })
    .await;
    watched(PATIENT).0.put(server.uri("/")).body(content(5_000)).send().await.expect("answered");
    let lengths: Vec<_> =
        server.seen().iter().map(|seen| seen.header("content-length").map(str::to_owned)).collect();
    assert_eq!(lengths, [Some("5000".to_owned()), Some("5000".to_owned())]);
}
