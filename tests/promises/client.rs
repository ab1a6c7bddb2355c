use std::error::Error as _;
use std::fmt::{Debug, Write};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body::Frame;
use http_body_util::StreamBody;
use stonework::base::BoxError;
use stonework::base::body::BodyTooLarge;
use stonework::base::{
    Backoff, Budget, BudgetSettings, Delivery, Elapsed, Kind, Phase, Rng, TracingObserver,
};
use stonework::client::{
    Client, ClientSettings, InvalidRequest, NotJson, NotText, RequestBodyFailed, Response, Status,
};
use stonework::hedge::HedgeSettings;
use stonework::retry::{ResumeSettings, RetrySettings};
use stonework::testing::{Reaction, ScriptedServer, close_on_next_head, in_order, respond};
use stonework::timeout::BodyLimits;
use stonework::{Body, Deadline, Error};
use tokio::net::TcpListener;
use tower::{Service, ServiceExt};

use crate::support::{Everything, soon};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Three attempts with next to no pause, and time enough for a slow machine.
fn quick() -> ClientSettings {
    let backoff = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
    ClientSettings::new().deadline(LONG).attempt_timeout(LONG).retry(RetrySettings::new().backoff(backoff))
}

fn client(settings: ClientSettings) -> Client {
    Client::builder().settings(settings).build().expect("valid settings")
}

/// An address where nobody listens.
async fn nobody() -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    format!("http://{addr}/").parse().expect("a valid URI")
}

/// A body that fails after its first frame.
fn failing() -> Body {
    let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(BoxError::from("the disk is gone"))];
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn told(error: &Error) -> (Kind, Delivery, u32) {
    (error.kind(), error.delivery(), error.attempts())
}

// ───────────────────────────────────────────────────────────────────────────── what an error says

#[tokio::test]
async fn every_fault_of_a_server_has_its_kind_its_delivery_and_its_attempts() {
    use Delivery::Unknown;
    use Kind::{Timeout, Transport};
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let short = quick().attempt_timeout(SHORT);
    for (fault, settings, reaction, kind) in [
        ("closes with the head", quick(), Reaction::close_on_head(), Transport),
        ("resets with the head", quick(), Reaction::reset_on_head(), Transport),
        ("closes with the body", quick(), Reaction::read_all_then_close(), Transport),
        ("resets with the body", quick(), Reaction::new().read_body().reset(), Transport),
        ("dies with the body unread", quick(), Reaction::new().abandon(), Transport),
        ("half a status line", quick(), Reaction::new().send("HTTP/1.1 2").close(), Transport),
        ("half a head", quick(), Reaction::new().send("HTTP/1.1 200 OK\r\ncontent-l").close(), Transport),
        ("not HTTP", quick(), Reaction::new().send("220 mail.example ESMTP\r\n").close(), Transport),
        (
            "a bad header",
            quick(),
            Reaction::new().send("HTTP/1.1 200 OK\r\n\0: x\r\n\r\n").close(),
            Transport,
        ),
        ("an endless head", quick(), Reaction::new().send(long_head).close(), Transport),
        ("nothing but 100 Continue", quick(), Reaction::new().reply(respond(100)).close(), Transport),
        ("reads and stays silent", short.clone(), Reaction::read_body_then_stall(), Timeout),
        ("stays silent in its head", short, Reaction::new().send("HTTP/1.1 200 OK\r\n").hang(), Timeout),
    ] {
        let client = client(settings);
        for (method, attempts) in [(Method::POST, 1), (Method::PATCH, 1), (Method::GET, 3), (Method::PUT, 3)]
        {
            let reaction = reaction.clone();
            let server = ScriptedServer::start(move |_| reaction.clone()).await;
            let request = client.request(method.clone(), server.uri("/")).body("content");
            let error = request.send().await.expect_err(fault);
            assert_eq!(told(&error), (kind, Unknown, attempts), "{fault}, {method}: {error:#}");
            assert_eq!(server.heads_of(&method), attempts as usize, "{fault}, {method}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_again_for_any_method_since_nothing_was_sent() {
    let error = client(quick()).post(nobody().await).body("content").send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Connect, Delivery::NotSent, 3));
    assert!(error.is_connect());
    let error = client(quick().without_retry()).post(nobody().await).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Connect, Delivery::NotSent, 0), "nothing counts the attempts");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_reads_times_out_as_unknown() {
    let server = ScriptedServer::mute().await;
    let error = client(quick().attempt_timeout(SHORT)).post(server.uri("/")).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Timeout, Delivery::Unknown, 1));
    assert!(error.is_timeout() && error.cause::<Elapsed>().is_some());
}

#[tokio::test]
async fn a_request_body_that_fails_is_told_from_a_connection_that_fails() {
    let server = ScriptedServer::start(|_| Reaction::read_body_then_stall()).await;
    let error = client(quick()).post(server.uri("/")).body(failing()).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Body, Delivery::Unknown, 1));
    assert_eq!(error.cause::<RequestBodyFailed>().unwrap().source().unwrap().to_string(), "the disk is gone");

    let frames = futures_util::stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"five!")))]);
    let short = client(quick()).post(server.uri("/")).header("content-length", "10");
    let error = short.body(Body::new(StreamBody::new(frames))).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Body, Delivery::Unknown, 1), "shorter than announced");
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_at_send_and_never_sent() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let client = client(quick());
    let uri = || server.uri("/");
    let with = |change: &str| change.replace("HOST", &server.addr().to_string());
    for (what, request) in [
        ("scheme", client.get(with("ftp://HOST/"))),
        ("scheme and a host", client.get("/path")),
        ("user information", client.get(with("http://me:secret@HOST/"))),
        ("URI", client.get("http://a b/")),
        ("port", client.get("http://127.0.0.1:99999/")),
        ("CONNECT", client.request(Method::CONNECT, uri())),
        ("name of a header", client.get(uri()).header("a b", "c")),
        ("`x-secret`", client.get(uri()).header("x-secret", "a\nb").bearer("later ones do not count\n")),
        ("`authorization`", client.get(uri()).bearer("a\nb")),
        ("`content-length`", client.post(uri()).header("content-length", "6").body("five!")),
        ("`Idempotency-Key`", client.post(uri()).idempotency_key("a b")),
        ("user name", client.get(uri()).basic_auth("a:b", "secret")),
        ("query", client.get(uri()).query(&[("a", [1])])),
        ("form", client.post(uri()).form(&7)),
        ("URI", client.get("http://a b/").query(&[("a", "b")])),
        ("JSON", client.post(uri()).json(&std::collections::HashMap::from([((1, 2), 3)]))),
    ] {
        let error = request.send().await.expect_err(what);
        assert_eq!(told(&error), (Kind::Invalid, Delivery::NotSent, 0), "{what}");
        let invalid = error.cause::<InvalidRequest>().expect("says what is invalid").to_string();
        assert!(invalid.contains(what), "{what}: {invalid}");
    }
    assert_eq!(server.connections(), 0);
}

// ───────────────────────────────────────────────────────────────────────────── connections

#[tokio::test]
async fn a_connection_that_closes_as_it_is_used_again_costs_a_get_a_retry_and_a_post_an_error() {
    for (method, keyed, seen) in [(Method::GET, false, 3), (Method::POST, true, 3), (Method::POST, false, 2)]
    {
        let server = ScriptedServer::start(close_on_next_head()).await;
        let client = client(quick());
        let send = || {
            let request = client.request(method.clone(), server.uri("/")).body("content");
            if keyed { request.idempotency_key("\"k\"").send() } else { request.send() }
        };
        send().await.unwrap().bytes().await.unwrap();
        match send().await {
            Ok(answer) => assert_eq!((answer.status(), answer.attempts()), (StatusCode::OK, 2)),
            Err(error) => assert_eq!(told(&error), (Kind::Transport, Delivery::Unknown, 1)),
        }
        assert_eq!(server.heads_of(&method), seen, "{method}, keyed: {keyed}");
        let keys = server.seen();
        assert!(keys.iter().all(|request| request.header("idempotency-key") == keyed.then_some("\"k\"")));
    }
}

#[tokio::test]
async fn clones_share_connections_and_idle_ones_are_closed_in_time() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let client = client(quick().idle_timeout(SHORT));
    for _ in 0..5 {
        client.clone().get(server.uri("/")).send().await.unwrap().bytes().await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    // Nobody asks for it again, and it closes all the same.
    server.wait_until("the connection is closed", |server| server.open() == 0).await;
    client.get(server.uri("/")).send().await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_used_again() {
    let server = ScriptedServer::start(|_| respond(200).close_unannounced()).await;
    let client = client(quick());
    for round in 1..=5 {
        let answer = client.post(server.uri("/")).body("content").send().await.unwrap();
        assert_eq!((answer.attempts(), server.connections()), (1, round));
        answer.bytes().await.unwrap();
        server.wait_until("the connection is closed", |server| server.open() == 0).await;
        tokio::time::sleep(Duration::from_millis(200)).await; // until the news has come
    }
}

#[tokio::test]
async fn without_idle_connections_each_is_used_once() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let client = client(quick().without_idle_connections());
    for _ in 0..3 {
        client.get(server.uri("/")).send().await.unwrap().bytes().await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    let server = ScriptedServer::silent().await;
    let call = tokio::spawn(client(quick()).get(server.uri("/")).send());
    server.wait_until("the request has come", |server| server.seen().len() == 1).await;
    call.abort();
    server.wait_until("the connection is closed", |server| server.open() == 0).await;
}

#[tokio::test]
async fn nothing_is_left_running_when_the_client_and_its_answers_are_gone() {
    let reply = |status| Reaction::read_then(1024, respond(status).body("too much"));
    let end = || async {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        for _ in 0..1000 {
            if tasks() == 0 {
                return 0;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tasks()
    };
    for reaction in [
        respond(200).keep_alive(),
        Reaction::half_response(),
        Reaction::read_all_then_close(),
        reply(413).close(),
        reply(413).abandon(),
        Reaction::read_body_then_stall(),
    ] {
        let server = ScriptedServer::start(move |_| reaction.clone()).await;
        let client = client(quick().attempt_timeout(SHORT));
        for _ in 0..3 {
            let answer = client.post(server.uri("/")).body(upload()).send().await;
            drop(answer);
        }
        // The connections of the client have to go because of the client, so the server stays until then.
        drop(client);
        server.wait_until("every connection is closed", |server| server.open() == 0).await;
        drop(server);
        assert_eq!(end().await, 0);
    }
}

#[tokio::test]
async fn a_request_goes_out_in_the_version_of_this_connection_whatever_it_came_in() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let request = Request::get(server.uri("/a?b")).version(http::Version::HTTP_2).body(()).unwrap();
    client(quick()).send(request).await.unwrap();
    let host = server.addr().to_string();
    assert!(server.seen()[0].raw_head.starts_with(b"GET /a?b HTTP/1.1\r\n"));
    assert_eq!(server.seen()[0].header("host"), Some(host.as_str()));
}

// ───────────────────────────────────────────────────────────────────────────── uploads

/// 10 MiB in frames of 64 KiB.
fn upload() -> Body {
    let frame = |_| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; 64 * 1024])));
    Body::new(StreamBody::new(futures_util::stream::iter((0..160).map(frame))))
}

#[tokio::test]
async fn an_answer_that_comes_while_the_upload_goes_on_is_the_answer_even_if_a_reset_follows_it() {
    let reply = |status| Reaction::read_then(1024, respond(status).body("too much"));
    for (status, reaction) in [
        (413, reply(413).close()),
        (401, reply(401).close()),
        (200, reply(200).close()),
        (413, reply(413).abandon()),
        (413, reply(413).stall(Duration::from_millis(5)).abandon()),
    ] {
        let server = ScriptedServer::start(move |_| reaction.clone()).await;
        for _ in 0..20 {
            let answer = client(quick()).post(server.uri("/")).body(upload()).send().await;
            let answer = answer.expect("the answer wins over the broken upload");
            assert_eq!((answer.status().as_u16(), answer.attempts()), (status, 1));
            assert_eq!(answer.text().await.unwrap(), "too much");
        }
        assert_eq!(server.heads_of(&Method::POST), 20);
    }
}

#[tokio::test]
async fn an_upload_that_breaks_without_an_answer_is_an_error_at_once() {
    let reaction = Reaction::new().read(1024);
    for reaction in [reaction.clone().close(), reaction.clone().abandon(), reaction.reset()] {
        let server = ScriptedServer::start(move |_| reaction.clone()).await;
        let error = client(quick()).post(server.uri("/")).body(upload()).send().await.unwrap_err();
        assert_eq!(told(&error), (Kind::Transport, Delivery::Unknown, 1));
    }
}

/// A body that does not know its length.
fn stream() -> Body {
    let frames = ["one ", "two"].map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_whole_with_any_method_and_from_any_version() {
    use http::Version;
    let server = ScriptedServer::start(|_| respond(200)).await;
    for (method, version) in [
        (Method::POST, Version::HTTP_11),
        (Method::POST, Version::HTTP_10),
        (Method::GET, Version::HTTP_11),
        (Method::HEAD, Version::HTTP_11),
        (Method::DELETE, Version::HTTP_11),
    ] {
        let request = Request::builder().method(&method).version(version).uri(server.uri("/"));
        client(quick()).send(request.body(stream()).unwrap()).await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.body.kept, b"one two", "{method} {version:?}");
        assert!(seen.body.complete);
    }
}

// ───────────────────────────────────────────────────────────────────────────── time

#[tokio::test]
async fn limits_beyond_what_a_clock_can_count_are_no_limits_and_break_nothing() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let settings = ClientSettings::new()
        .deadline(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX);
    let client = client(settings);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for _ in 0..3 {
        client.get(server.uri("/")).send().await.unwrap().bytes().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.connections(), 1);
    // The server's two, the connection, and the one that closes idle connections: it did not panic.
    assert_eq!(tasks(), 4);
}

#[tokio::test]
async fn the_deadline_of_a_call_shortens_the_clients_and_the_error_tells_the_attempts() {
    let server = ScriptedServer::silent().await;
    let get = || client(quick().without_attempt_timeout()).get(server.uri("/"));
    let error = get().deadline(SHORT).send().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Timeout, Delivery::Unknown, 1));

    let outer = Deadline::within(SHORT).bound(async { get().deadline(LONG).send().await });
    let error = outer.await.unwrap().unwrap_err();
    assert_eq!(told(&error), (Kind::Timeout, Delivery::Unknown, 1), "the one in scope goes first");

    let client = client(quick().without_deadline().without_attempt_timeout().without_retry());
    assert!(client.get(server.uri("/")).deadline(SHORT).send().await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_client_below_a_servers_limit_gets_no_more_time_than_that_leaves() {
    let server = ScriptedServer::start(|_| respond(503).header("retry-after", "10")).await;
    let client = client(quick());
    let limit = Deadline::within(Duration::from_secs(5));
    let answer = limit.bound(async { client.get(server.uri("/")).send().await }).await.unwrap().unwrap();
    assert_eq!(answer.status(), 503, "at once, since the next attempt could not begin in time");
    assert_eq!(answer.retry_after(), Some(Duration::from_secs(10)));
}

// ───────────────────────────────────────────────────────────────────────────── responses

async fn answer(body: impl Into<Bytes>) -> Response {
    let reply = respond(200).body(body);
    let server = ScriptedServer::start(move |_| reply.clone()).await;
    client(quick().max_response_body(16)).get(server.uri("/")).send().await.unwrap()
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit_and_what_is_wrong_with_it_has_a_type() {
    assert_eq!(answer("0123456789abcdef").await.bytes().await.unwrap(), "0123456789abcdef");
    assert_eq!(answer("text").await.text().await.unwrap(), "text");
    assert_eq!(answer("[1, 2]").await.json::<Vec<u8>>().await.unwrap(), [1, 2]);

    let error = answer("0123456789abcdef!").await.bytes().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Body, Delivery::Answered, 1));
    assert_eq!(error.cause::<BodyTooLarge>().unwrap().limit, 16);
    let error = answer(&b"good\xff"[..]).await.text().await.unwrap_err();
    assert_eq!(error.cause::<NotText>().unwrap().valid_up_to(), 4);
    let error = answer("[1,").await.json::<Vec<u8>>().await.unwrap_err();
    assert!(error.cause::<NotJson>().unwrap().is_syntax());
    let error = answer("[1,\n\"secret\"]").await.json::<Vec<u8>>().await.unwrap_err();
    let shape = error.cause::<NotJson>().unwrap();
    assert_eq!((shape.is_syntax(), shape.line()), (false, 2));
    assert!(!format!("{error:#} {error:?}").contains("secret"));
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_of_the_body_and_was_answered() {
    let server = ScriptedServer::start(|_| Reaction::half_response()).await;
    let answer = client(quick()).get(server.uri("/")).send().await.unwrap();
    let error = answer.bytes().await.unwrap_err();
    assert_eq!(told(&error), (Kind::Body, Delivery::Answered, 1));
}

#[tokio::test]
async fn a_status_becomes_an_error_only_when_asked_and_carries_the_advice() {
    for (status, kind) in [
        (400, Kind::Other),
        (404, Kind::Other),
        (429, Kind::Overload),
        (500, Kind::Other),
        (503, Kind::Overload),
    ] {
        let server = ScriptedServer::start(move |_| respond(status).header("retry-after", "7")).await;
        let answer = client(quick()).post(server.uri("/")).send().await.unwrap();
        assert_eq!(answer.status(), status);
        let error = answer.error_for_status().unwrap_err();
        assert_eq!(told(&error), (kind, Delivery::Answered, 1), "{status}");
        assert_eq!(error.cause::<Status>().unwrap().code(), status);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
    for status in [200, 204, 304] {
        let server = ScriptedServer::start(move |_| respond(status)).await;
        let answer = client(quick()).get(server.uri("/")).send().await.unwrap();
        assert_eq!(answer.error_for_status().unwrap().status(), status);
    }
}

#[tokio::test]
async fn the_response_says_which_attempt_it_answers_and_the_error_made_from_it_too() {
    let server = ScriptedServer::start(|request| respond(if request.number < 3 { 500 } else { 404 })).await;
    let answer = client(quick()).get(server.uri("/")).send().await.unwrap();
    assert_eq!(answer.attempts(), 3);
    assert_eq!(answer.error_for_status().unwrap_err().attempts(), 3);
}

// ───────────────────────────────────────────────────────────────────────────── requests

#[tokio::test]
async fn what_a_request_asks_of_retry_reaches_it() {
    let server = ScriptedServer::start(|_| respond(500)).await;
    let client = Client::builder()
        .rng(Rng::seeded(7))
        .settings(quick().retry(RetrySettings::new().attempts(2).without_budget()))
        .build()
        .unwrap();
    let uri = || server.uri("/");
    for (what, request, attempts) in [
        ("a GET", client.get(uri()), 2),
        ("a HEAD", client.head(uri()), 2),
        ("a DELETE", client.delete(uri()), 2),
        ("a PUT", client.put(uri()).body("x"), 2),
        ("a POST", client.post(uri()).body("x"), 1),
        ("a PATCH", client.patch(uri()).body("x"), 1),
        ("a GET, once", client.get(uri()).never_retry(), 1),
        ("a GET, at most once", client.get(uri()).attempts(1), 1),
        ("a POST with a key", client.post(uri()).body("x").idempotency_key("k"), 2),
        ("a POST with a new key", client.post(uri()).body("x").keyed(), 2),
        ("a POST, taken for idempotent", client.post(uri()).body("x").dangerously_assume_idempotent(), 2),
    ] {
        let before = server.seen().len();
        assert_eq!(request.send().await.unwrap().attempts(), attempts, "{what}");
        let seen = server.seen().split_off(before);
        assert_eq!(seen.len(), attempts as usize, "{what}");
        let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key")).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "{what}: every attempt has the same key");
    }
}

#[tokio::test]
async fn two_requests_at_once_on_one_client_have_each_their_own_number_of_attempts() {
    let server = ScriptedServer::start(|_| respond(500)).await;
    let client = client(quick());
    let once = client.get(server.uri("/once")).attempts(1).send();
    let thrice = client.get(server.uri("/thrice")).send();
    let (once, thrice) = tokio::join!(once, thrice);
    assert_eq!((once.unwrap().attempts(), thrice.unwrap().attempts()), (1, 3));
    let count = |target: &str| server.seen().iter().filter(|seen| seen.target == target).count();
    assert_eq!((count("/once"), count("/thrice")), (1, 3));
}

#[tokio::test]
async fn headers_and_json_arrive_as_they_were_given() {
    let server = ScriptedServer::start(|_| respond(200)).await;
    let mut more = http::HeaderMap::new();
    more.insert("x-one", "2".parse().unwrap());
    let request =
        client(quick()).post(server.uri("/")).header("x-one", "0").header("x-one", "1").headers(more);
    request.bearer("token").json(&[1, 2]).send().await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.headers.get_all("x-one").iter().collect::<Vec<_>>(), ["2"]);
    assert_eq!(seen.header("authorization"), Some("Bearer token"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!((seen.header("content-length"), &*seen.body.kept), (Some("5"), &b"[1,2]"[..]));
}

#[tokio::test]
async fn queries_and_forms_are_written_in_full_and_added_to_what_is_there() {
    #[derive(serde::Serialize)]
    struct Search<'a> {
        name: &'a str,
        page: Option<u32>,
        exact: bool,
    }
    let server = ScriptedServer::start(|_| respond(200)).await;
    let client = client(quick());
    let value = Search { name: "ä&=+ ?#/", page: None, exact: true };
    let written = "name=%C3%A4%26%3D%2B+%3F%23%2F&exact=true";
    for (path, target) in [("", "/?"), ("/a", "/a?"), ("/a?", "/a?"), ("/a?b", "/a?b&")] {
        let uri = format!("http://{}{path}", server.addr());
        client.get(uri).query(&value).query(&[("", ""); 0]).query(&()).send().await.unwrap();
        assert_eq!(server.seen().last().unwrap().target, format!("{target}{written}"), "{path}");
    }
    let request = client.post(server.uri("/")).form(&value).basic_auth("me", "secret");
    assert!(!format!("{request:?}").contains("secret"));
    request.send().await.unwrap();
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(seen.header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(seen.body.kept, written.as_bytes());
    let own = client.post(server.uri("/")).header("content-type", "text/plain").form(&value);
    own.send().await.unwrap();
    assert_eq!(server.seen().pop().unwrap().header("content-type"), Some("text/plain"));

    let long = client.get(server.uri("/")).query(&[("a", "b".repeat(70_000))]).send().await.unwrap_err();
    assert!(matches!(long.cause(), Some(InvalidRequest::Uri)), "{long:?}");
}

#[tokio::test]
async fn a_shared_budget_limits_the_retries_of_every_client_that_has_it() {
    let server = ScriptedServer::start(|_| respond(500)).await;
    let budget = Budget::new(
        BudgetSettings::default().reserve(3).floor_per_second(0).ratio(stonework::base::Ratio::ZERO),
    );
    for _ in 0..5 {
        let client = Client::builder().settings(quick()).budget(budget.clone()).build().unwrap();
        client.get(server.uri("/")).send().await.unwrap();
    }
    assert_eq!(server.seen().len(), 5 + 3);
}

#[tokio::test]
async fn a_shared_budget_is_filled_also_by_a_client_that_only_resumes() {
    let server = ScriptedServer::start(|_| respond(200).body("answer").keep_alive()).await;
    for settings in [ClientSettings::new(), ClientSettings::new().without_retry()] {
        let one_each = BudgetSettings::default().reserve(1).floor_per_second(0);
        let budget = Budget::new(one_each.ratio(stonework::base::Ratio::ONE));
        let spent = || {
            budget
                .try_withdraw(tokio::time::Instant::now(), 1)
                .map(stonework::base::Withdrawal::spend)
                .is_some()
        };
        assert!(spent() && !spent());
        let settings = settings.resume(ResumeSettings::new());
        let client = Client::builder().settings(settings).budget(budget.clone()).build().unwrap();
        client.get(server.uri("/")).send().await.unwrap().bytes().await.unwrap();
        assert!(spent() && !spent(), "by one of the two, and not by both");
    }
}

#[tokio::test]
async fn a_client_that_hedges_is_answered_by_the_second_attempt_and_closes_the_connection_of_the_first() {
    let server = ScriptedServer::start(|request| match request.header("stonework-attempt") {
        None => Reaction::new().read_body().hang(),
        Some(_) => respond(200).body("answer").keep_alive(),
    })
    .await;
    let hedge = HedgeSettings::new().fixed_delay(Duration::from_millis(20));
    for settings in [quick(), ClientSettings::new().without_retry()] {
        let client = Client::builder().settings(settings.hedge(hedge.clone())).build().unwrap();
        let response = client.put(server.uri("/")).body("content").send().await.unwrap();
        assert_eq!(response.attempts(), 2);
        assert_eq!(response.text().await.unwrap(), "answer");
        let stats = client.hedge().unwrap().stats();
        assert_eq!((stats.fired, stats.won), (1, 1));
        let only_one_is_left = async {
            while client.connections().open > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon(only_one_is_left).await;
    }
    let seen = server.seen();
    assert!(seen.iter().all(|request| request.body.kept == b"content"), "{seen:?}");
}

#[tokio::test]
async fn the_hedges_of_a_client_and_its_retries_have_one_budget() {
    let server = ScriptedServer::start(|request| match request.header("stonework-attempt") {
        None => Reaction::new().read_body().hang(),
        Some(_) => respond(503).keep_alive(),
    })
    .await;
    let one = BudgetSettings::default().reserve(1).floor_per_second(0).ratio(stonework::base::Ratio::ZERO);
    let hedge = HedgeSettings::new().fixed_delay(Duration::from_millis(10));
    let settings = ClientSettings::new().retry(RetrySettings::new().budget(one)).hedge(hedge);
    let settings = settings.attempt_timeout(Duration::from_millis(100));
    let client = Client::builder().settings(settings).build().unwrap();
    drop(client.get(server.uri("/")).send().await);
    assert_eq!(server.seen().len(), 2, "the hedge took what a retry would have");
}

// ───────────────────────────────────────────────────────────────────────────── assembly

#[tokio::test]
async fn the_order_of_setters_makes_no_difference() {
    let budget = Budget::default();
    let nothing = |_: &Error| http::Response::default();
    let one = Client::builder().settings(quick()).budget(budget.clone()).rng(Rng::seeded(1));
    let one = one.fallback_value(nothing).build().unwrap();
    let other = Client::builder().fallback_value(nothing).rng(Rng::seeded(1)).budget(budget);
    let other = other.settings(quick()).build().unwrap();
    assert_eq!(one.explain(), other.explain());
    let layers: Vec<_> =
        one.explain().lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    let expected = [
        "deadline",
        "fallback",
        "redirects",
        "retry",
        "names",
        "attempt timeout",
        "time left",
        "collect",
        "breaker",
        "response body",
        "transport",
    ];
    assert_eq!(layers, expected);
}

#[tokio::test]
async fn it_is_a_service_for_other_layers_and_its_futures_can_be_spawned() {
    let server =
        ScriptedServer::start(in_order([Reaction::close_on_head(), respond(200).keep_alive()])).await;
    let mut service = client(quick());
    let request = Request::get(server.uri("/")).body(Body::empty()).unwrap();
    let call = ServiceExt::<Request<Body>>::ready(&mut service).await.unwrap().call(request);
    assert_eq!(tokio::spawn(call).await.unwrap().unwrap().status(), 200);
    fn shareable<T: Clone + Send + Sync + Unpin + 'static>(_: &T) {}
    shareable(&service);
}

#[test]
fn a_client_is_made_outside_a_runtime() {
    assert!(Client::new().explain().starts_with("deadline: 30s"));
    assert!(Client::builder().settings(ClientSettings::new().deadline(Duration::ZERO)).build().is_err());
}

// ───────────────────────────────────────────────────────────────────────────── secrets

#[tokio::test]
async fn no_secret_of_a_request_is_ever_shown() {
    let written = Everything::default();
    let _guard = crate::support::subscriber::set_default(written.clone());
    let mut shown = String::new();
    let mut show = |what: &dyn Debug| writeln!(shown, "{what:?} {what:#?}").unwrap();

    let builder = Client::builder().settings(quick().attempt_timeout(SHORT)).observer(TracingObserver);
    show(&builder);
    let client = builder.build().unwrap();
    show(&client);

    let mut addresses = vec![(nobody().await.to_string(), None)];
    for reaction in [
        Reaction::read_all_then_close(),
        Reaction::reset_on_head(),
        Reaction::read_body_then_stall(),
        Reaction::new().send("HTTP/1.1 s3cret\r\n\r\n").close(),
        respond(503).header("x-s3cret", "s3cret").body("s3cret").keep_alive(),
        respond(200).body("s3cret").half(),
    ] {
        let server = ScriptedServer::start(move |_| reaction.clone()).await;
        addresses.push((server.uri("/").to_string(), Some(server)));
    }
    addresses.push(("https://nobody.invalid/".to_owned(), None));
    addresses.push(("http://s3cret:s3cret@127.0.0.1/".to_owned(), None));
    addresses.push(("http://s3cret s3cret/".to_owned(), None));

    let mut errors = 0;
    for (address, _server) in &addresses {
        let request = client
            .put(format!("{address}s3cret?token=s3cret"))
            .header("x-api-key", "s3cret")
            .bearer("s3cret")
            .idempotency_key("s3cret")
            .body("s3cret");
        show(&request);
        let error = match request.send().await {
            Ok(answer) => {
                show(&answer);
                match answer.error_for_status() {
                    Ok(answer) => answer.json::<u8>().await.unwrap_err(),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        show(&error);
        show(&format_args!("{error} {error:#}"));
        errors += 1;
    }
    assert_eq!(errors, addresses.len());
    for cause in ["Elapsed", "NotConnected", "UserInfo"] {
        assert!(shown.contains(cause), "{cause}: {shown}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
    let written = written.text();
    assert!(written.contains("attempt started"), "the subscriber heard something");
    assert!(!written.contains("s3cret"), "{written}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again_where_the_request_collects_it() {
    let whole = "the whole of it ".repeat(1_000);
    let half = || respond(200).body(whole.clone()).half();
    let server =
        ScriptedServer::start(in_order([half(), half(), respond(200).body(whole.clone()).keep_alive()]))
            .await;
    let client = Client::new();
    let streamed = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!(streamed.attempts(), 1);
    assert_eq!(streamed.bytes().await.unwrap_err().kind(), Kind::Body, "it was streamed, and is lost");
    let answer = client.get(server.uri("/")).collect_within(1 << 20).send().await.unwrap();
    assert_eq!(answer.attempts(), 2);
    assert_eq!(answer.text().await.unwrap(), whole);
}

#[tokio::test]
async fn a_large_body_that_breaks_off_is_resumed_where_the_settings_say_so() {
    let whole = "0123456789".repeat(10_000);
    let server = {
        let whole = whole.clone();
        ScriptedServer::start(move |seen| match seen.header("range") {
            None => respond(200).header("etag", "\"one\"").body(whole.clone()).half(),
            Some(range) => {
                let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
                assert_eq!(seen.header("if-range"), Some("\"one\""));
                respond(206)
                    .header("etag", "\"one\"")
                    .header("content-range", &format!("bytes {from}-{}/{}", whole.len() - 1, whole.len()))
                    .body(whole[from..].to_owned())
                    .keep_alive()
            }
        })
        .await
    };
    let settings = ClientSettings::new().resume(ResumeSettings::new());
    let client = Client::builder().settings(settings).build().unwrap();
    let answer = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), whole);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_body_that_falls_silent_ends_by_the_limit_on_silence_or_by_the_deadline() {
    let silent =
        Reaction::new().send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nand then nothing").hang();
    let server = ScriptedServer::start(move |_| silent.clone()).await;
    let short = Duration::from_millis(200);
    for (settings, phase) in [
        (ClientSettings::new().body(BodyLimits::new().idle(short)), Phase::BodyIdle),
        (ClientSettings::new().body(BodyLimits::none().total(short)), Phase::BodyTotal),
        (ClientSettings::new().deadline(short).body(BodyLimits::none().until_deadline()), Phase::BodyTotal),
    ] {
        let client = Client::builder().settings(settings).build().unwrap();
        let answer = client.get(server.uri("/")).send().await.unwrap();
        let ended = tokio::time::timeout(50 * short, answer.bytes()).await.expect("it ends by itself");
        let error = ended.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery(), error.attempts()),
            (Kind::Timeout, Delivery::Answered, 1)
        );
        assert_eq!(error.cause::<Elapsed>().unwrap().phase(), phase);
    }
}
