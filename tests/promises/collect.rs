//! An attempt that includes reading the response body.

use std::time::Duration;

use http::{Method, Request, Response};
use http_body::Body as _;
use stonework::Body;
use stonework::base::{Backoff, BoxError, Call, DO_NOT_RETRY, Delivery, Error, Kind, Skip};
use stonework::client::{Client, ClientSettings};
use stonework::retry::{CollectLayer, Collected, RetryLayer, RetrySettings};
use stonework::testing::{Digest, Recorder, ScriptedServer, Step, in_order, respond};
use stonework::timeout::AttemptTimeoutLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::pieces::{Piece, Pieces, Streaming, Watch, broken, data, pieces, read, trailers};
use crate::support::{SECOND, request, skips, timed};

const CAP: usize = 10;

fn once(response: Response<Pieces>) -> Streaming {
    Streaming::steps([Step::Answer(response)])
}

async fn collected(response: Response<Pieces>) -> Result<Response<Collected<Pieces>>, Error> {
    CollectLayer::new(CAP).layer(once(response)).oneshot(request(Method::GET)).await
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_a_failed_attempt_and_is_read_again_from_the_start() {
    let backend = Streaming::steps([
        Step::Answer(pieces([data("old "), broken()]).with(200, [])),
        Step::Answer(pieces([data("new "), data("one"), Piece::Trailers]).with(200, [])),
    ]);
    let seen = backend.seen();
    let stack = ServiceBuilder::new().layer(RetryLayer::new()).layer(CollectLayer::new(64)).service(backend);
    let response = stack.oneshot(request(Method::GET)).await.expect("the second attempt");
    assert_eq!(seen.count(), 2);
    assert!(response.body().is_whole());
    assert_eq!(response.body().size_hint().exact(), Some(7));
    let read = read(response.into_body()).await;
    assert_eq!((read.bytes.as_slice(), read.trailers), (&b"new one"[..], Some(trailers())));
}

#[tokio::test(start_paused = true)]
async fn a_post_whose_answer_breaks_off_is_not_repeated_and_its_error_says_that_it_was_answered() {
    let events = Recorder::new();
    let retry = RetryLayer::new().observer(events.clone());
    let backend = once(pieces([data("half"), broken()]).with(200, []));
    let stack = ServiceBuilder::new().layer(retry).layer(CollectLayer::new(64)).service(backend);
    let error = stack.oneshot(request(Method::POST)).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Body, Delivery::Answered, 1));
    assert!(format!("{error:#}").contains("the line is dead"), "{error:#}");
    assert_eq!(skips(&events), [Skip::Unsafe]);
}

#[tokio::test(start_paused = true)]
async fn what_a_head_says_about_trying_again_holds_also_if_its_body_breaks_off() {
    for (status, name, value, attempts, after) in [
        (503, "retry-after", "7", 2, 7 * SECOND),
        // Of an answer that is none to a failure it says nothing about when to ask again.
        (200, "retry-after", "7", 2, Duration::ZERO),
        (503, "grpc-retry-pushback-ms", "9000", 2, 9 * SECOND),
        (200, "grpc-retry-pushback-ms", "9000", 2, 9 * SECOND),
        (503, "grpc-retry-pushback-ms", "-1", 1, Duration::ZERO),
        (503, DO_NOT_RETRY.as_str(), "1", 1, Duration::ZERO),
    ] {
        let backend = Streaming::steps([
            Step::Answer(pieces([data("half"), broken()]).with(status, [(name, value)])),
            Step::Answer(pieces([data("whole")]).with(200, [])),
        ]);
        let seen = backend.seen();
        let retry = RetrySettings::new().backoff(Backoff::constant(Duration::from_millis(1)).unwrap());
        let retry = RetryLayer::from(retry);
        let stack = ServiceBuilder::new().layer(retry).layer(CollectLayer::new(64)).service(backend);
        let (result, took) = timed(stack.oneshot(request(Method::GET))).await;
        assert_eq!((result.is_ok(), seen.count()), (attempts == 2, attempts), "{name}: {value}");
        assert!(took >= after && took <= after * 5 / 4 + SECOND, "{name}: {value}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_body_keeps_its_kind_and_never_makes_the_request_look_unsent() {
    for (source, kind) in [
        (BoxError::from("no idea"), Kind::Body),
        (Kind::Transport.into(), Kind::Transport),
        (Error::new(Kind::Timeout, "idle").into(), Kind::Timeout),
        (Error::new(Kind::Other, "a layer below").into(), Kind::Other),
        (Error::new(Kind::Connect, "of another exchange").into(), Kind::Connect),
    ] {
        let error = collected(pieces([Piece::Fail(source)]).with(200, [])).await.map(drop).unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, Delivery::Answered));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_exactly_the_cap_is_whole_and_a_larger_one_is_streamed_with_nothing_lost() {
    for size in [0, 1, CAP - 1, CAP, CAP + 1, 3 * CAP] {
        for step in [1, 3, 100] {
            let content: Vec<u8> = (0..size as u8).collect();
            let frames: Vec<_> = content.chunks(step).map(|part| Piece::Data(part.to_vec().into())).collect();
            let body = collected(pieces(frames).with(200, [])).await.expect("never an error").into_body();
            // The frame that passes the cap may be the last one.
            let is_whole = size <= (CAP / step + 1) * step;
            assert_eq!(body.is_whole(), is_whole, "{size} bytes by {step}");
            assert_eq!(body.size_hint().exact(), is_whole.then_some(size as u64));
            assert_eq!(body.is_end_stream(), size == 0, "{size} bytes by {step}");
            assert_eq!(read(body).await.bytes, content, "{size} bytes by {step}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_beyond_the_cap_breaks_off_at_the_reader_after_all_that_came() {
    let backend = once(pieces([data("0123456789"), data("ab"), data("cd"), broken()]).with(200, []));
    let seen = backend.seen();
    let stack = ServiceBuilder::new().layer(RetryLayer::new()).layer(CollectLayer::new(CAP)).service(backend);
    let response = stack.oneshot(request(Method::GET)).await.expect("never an error");
    let read = read(response.into_body()).await;
    assert_eq!((read.bytes.as_slice(), seen.count()), (&b"0123456789abcd"[..], 1));
    assert!(read.error.is_some_and(|error| format!("{error:#}").contains("the line is dead")));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_to_be_larger_or_to_have_no_body_is_passed_on_unread() {
    let watch = Watch::default();
    let hanging = || pieces([Piece::Hang]).watched(&watch);
    for (what, method, response) in [
        ("a length in the head", Method::GET, hanging().with(200, [("content-length", "11")])),
        ("a length of the body", Method::GET, hanging().hinted(11).with(200, [])),
        ("HEAD", Method::HEAD, hanging().with(200, [("content-length", "5")])),
        ("204", Method::GET, hanging().with(204, [])),
        ("304", Method::GET, hanging().with(304, [])),
        ("an upgrade", Method::GET, hanging().with(101, [])),
        ("no content", Method::GET, hanging().with(200, [("content-length", "0")])),
    ] {
        let service = CollectLayer::new(CAP).layer(once(response));
        let answered = tokio::time::timeout(SECOND, service.oneshot(request(method))).await;
        assert!(answered.is_ok_and(|answer| answer.is_ok()), "{what}");
        assert_eq!(watch.polls(), 0, "{what}");
    }
    let off = CollectLayer::new(CAP).when(false).layer(once(hanging().with(200, [])));
    assert!(off.oneshot(request(Method::GET)).await.is_ok());
    assert_eq!(watch.polls(), 0, "switched off");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_asks_for_nothing_to_be_collected_has_its_head_at_once() {
    let events = pieces([Piece::Wait(3_600 * SECOND), data("an event")]).with(200, []);
    let service = CollectLayer::new(CAP).layer(once(events));
    let mut request = request(Method::GET);
    Call::edit(request.extensions_mut(), |call| call.collect_within(0));
    let (answer, took) = timed(service.oneshot(request)).await;
    assert_eq!((answer.unwrap().status().as_u16(), took), (200, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_limit_on_an_attempt_covers_the_body_and_its_error_says_that_the_head_had_come() {
    let stalls = || pieces([data("half"), Piece::Hang]).with(200, []);
    let slow = || pieces([Piece::Wait(SECOND), data("whole")]).with(200, []);
    let stack = |backend| {
        ServiceBuilder::new()
            .layer(RetryLayer::new())
            .layer(AttemptTimeoutLayer::new(2 * SECOND))
            .layer(CollectLayer::new(64))
            .service(backend)
    };
    let backend = Streaming::steps([Step::Answer(stalls()), Step::Answer(slow())]);
    let (response, took) = timed(stack(backend).oneshot(request(Method::GET))).await;
    assert_eq!(read(response.expect("the second attempt").into_body()).await.bytes, b"whole");
    assert!((3 * SECOND..3 * SECOND + Duration::from_millis(200)).contains(&took), "{took:?}");

    let backend = Streaming::steps([Step::Answer(stalls())]);
    let (error, took) = timed(stack(backend).oneshot(request(Method::POST))).await;
    let error = error.map(drop).unwrap_err();
    assert_eq!((took, error.kind(), error.delivery()), (2 * SECOND, Kind::Timeout, Delivery::Answered));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_collects_drops_the_body() {
    let watch = Watch::default();
    let hanging = pieces([data("half"), Piece::Hang]).watched(&watch).with(200, []);
    assert!(tokio::time::timeout(SECOND, collected(hanging)).await.is_err());
    assert_eq!(watch.drops(), 1);
}

// ───────────────────────────────────────────────────────────────────────────── over sockets

/// The client without its retries, as a transport.
fn transport() -> Client {
    Client::builder().settings(ClientSettings::new().without_retry()).build().expect("valid settings")
}

async fn fetch(server: &ScriptedServer) -> Response<Collected<Body>> {
    let stack =
        ServiceBuilder::new().layer(RetryLayer::new()).layer(CollectLayer::new(1 << 20)).service(transport());
    let request = Request::get(server.uri("/file")).body(Body::empty()).expect("a request");
    stack.oneshot(request).await.expect("answered")
}

#[tokio::test]
async fn a_server_that_cuts_the_first_answer_in_half_is_asked_again_and_the_caller_gets_the_whole() {
    let content: Vec<u8> = (0..200_000_u32).map(|index| (index % 251) as u8).collect();
    for reply in [respond(200).body(content.clone()), respond(200).chunked().body(content.clone())] {
        let server = ScriptedServer::start(in_order([reply.clone().half(), reply.keep_alive()])).await;
        let body = fetch(&server).await.into_body();
        assert!(body.is_whole());
        assert_eq!(Digest::of(&read(body).await.bytes), Digest::of(&content));
        assert_eq!(server.seen().len(), 2);
        assert!(server.seen().iter().all(|request| request.header("range").is_none()), "from the start");
    }
}

#[tokio::test]
async fn a_resource_that_changes_between_two_attempts_is_read_from_its_start_and_never_spliced() {
    let server = ScriptedServer::start(in_order([
        respond(200).header("etag", "\"v1\"").body("aaaaaaaaaa").half(),
        respond(200).header("etag", "\"v2\"").body("bbbbbbbbbb").keep_alive(),
    ]))
    .await;
    let response = fetch(&server).await;
    assert_eq!(response.headers()["etag"], "\"v2\"", "head and body are of one answer");
    assert_eq!(read(response.into_body()).await.bytes, b"bbbbbbbbbb");
}
