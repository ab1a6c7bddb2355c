//! Where a client goes when a server sends it on, and what it takes along.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use stonework::base::body::Reopen;
use stonework::base::{Backoff, BoxError, Delivery, Elapsed, Kind};
use stonework::client::{Client, ClientBuilder, ClientSettings, InvalidRedirect, TooManyRedirects};
use stonework::retry::{ResumeSettings, RetrySettings};
use stonework::testing::{Reaction, Reply, ScriptedServer, SeenRequest, in_order, respond};
use stonework::{Body, Error};

const LONG: Duration = Duration::from_secs(20);

/// Three attempts with next to no pause, and time enough for a slow machine.
fn quick() -> ClientSettings {
    let backoff = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
    ClientSettings::new().deadline(LONG).attempt_timeout(LONG).retry(RetrySettings::new().backoff(backoff))
}

fn with(settings: ClientSettings) -> Client {
    built(Client::builder().settings(settings))
}

fn built(builder: ClientBuilder) -> Client {
    builder.build().expect("valid settings")
}

fn to(status: u16, location: impl ToString) -> Reply {
    respond(status).header("location", &location.to_string())
}

/// A server that sends on from `/` and answers everywhere else.
async fn sends_on(status: u16, location: impl ToString) -> ScriptedServer {
    let location = location.to_string();
    ScriptedServer::start(move |seen: &SeenRequest| match seen.target.as_str() {
        "/" => to(status, &location).keep_alive(),
        _ => respond(200).body("here").keep_alive(),
    })
    .await
}

/// What a server read, one line a request.
fn read(server: &ScriptedServer) -> Vec<String> {
    let line = |seen: &SeenRequest| {
        let body = String::from_utf8_lossy(&seen.body.kept).into_owned();
        format!("{} {} {body}", seen.method, seen.target).trim_end().to_owned()
    };
    server.seen().iter().map(line).collect()
}

fn stream(pieces: usize, size: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; size]);
    let frames = (0..pieces).map(move |_| Ok::<_, BoxError>(Frame::data(piece.clone())));
    Body::new(StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>())))
}

// ───────────────────────────────────────────────────────────────────────────── method and body

#[tokio::test]
async fn the_status_decides_whether_method_and_body_go_along() {
    for (status, method, second) in [
        (301, Method::GET, "GET /there content"),
        (301, Method::POST, "GET /there"),
        (302, Method::POST, "GET /there"),
        (302, Method::PUT, "PUT /there content"),
        (303, Method::POST, "GET /there"),
        (303, Method::PUT, "GET /there"),
        (303, Method::HEAD, "HEAD /there"),
        (307, Method::POST, "POST /there content"),
        (308, Method::POST, "POST /there content"),
        (308, Method::DELETE, "DELETE /there content"),
    ] {
        let server = sends_on(status, "/there").await;
        let answer = with(quick()).request(method.clone(), server.uri("/")).body("content").send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{method} {status}");
        let redirected = answer.redirected().expect("it says so");
        assert_eq!((redirected.count(), redirected.uri()), (1, &server.uri("/there")));
        assert_eq!(read(&server)[1], second, "{method} {status}");
    }
}

#[tokio::test]
async fn what_speaks_of_a_body_stays_behind_with_it_and_the_rest_goes_along() {
    let server = sends_on(303, "/there").await;
    let request = with(quick()).post(server.uri("/")).json(&["x"]).bearer("token").idempotency_key("\"k\"");
    request.header("x-plain", "1").header("content-language", "en").send().await.unwrap();
    let second = &server.seen()[1];
    for gone in ["content-type", "content-length", "content-language", "transfer-encoding", "idempotency-key"]
    {
        assert_eq!(second.header(gone), None, "{gone}");
    }
    assert_eq!((second.header("authorization"), second.header("x-plain")), (Some("Bearer token"), Some("1")));
    assert_eq!(second.header("referer"), None);
}

#[tokio::test]
async fn a_body_is_sent_once_more_if_that_can_be_and_otherwise_the_redirect_is_the_answer() {
    let large = 300 * 1024;
    let source = || Body::from(Reopen::new(|| Ok::<_, BoxError>(stream(300, 1024))));
    for (what, body, single, size) in [
        ("nothing", Body::empty(), false, Some(0)),
        ("nothing, once", Body::empty(), true, Some(0)),
        ("memory", Body::from("x".repeat(1024)), false, Some(1024)),
        ("memory, once", Body::from("x".repeat(1024)), true, None),
        ("much memory", Body::from("x".repeat(large)), false, Some(large)),
        ("a stream", stream(4, 1024), false, Some(4096)),
        ("a long stream", stream(300, 1024), false, None),
        ("a stream, once", stream(4, 1024), true, None),
        ("a source", source(), false, Some(large)),
    ] {
        let server = sends_on(307, "/there").await;
        let request = with(quick()).post(server.uri("/")).body(body);
        let request = if single { request.never_retry() } else { request };
        let answer = request.send().await.unwrap();
        let seen = server.seen();
        match size {
            Some(size) => {
                assert_eq!((answer.status().as_u16(), seen.len()), (200, 2), "{what}");
                assert_eq!(seen[1].body.received, size as u64, "{what}");
            }
            None => {
                assert_eq!((answer.status().as_u16(), seen.len()), (307, 1), "{what}");
                assert!(answer.redirected().is_none(), "{what}");
                assert_eq!(answer.headers()["location"], "/there", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_that_comes_before_the_body_was_sent_gets_the_whole_body_elsewhere() {
    let server = ScriptedServer::start(in_order([
        Reaction::new().reply(to(307, "/there")).close(),
        respond(200).keep_alive(),
    ]))
    .await;
    let client = with(quick());
    let answer = client.put(server.uri("/")).body(stream(60, 1024)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!((server.seen()[1].body.received, server.seen()[1].body.complete), (60 * 1024, true));
}

// ───────────────────────────────────────────────────────────────────────────── where to

#[tokio::test]
async fn what_is_meant_for_one_server_is_not_told_to_another_nor_to_the_first_by_way_of_it() {
    let home = ScriptedServer::start(|seen| match seen.target.as_str() {
        "/back" => respond(200).keep_alive(),
        away => to(307, away.trim_start_matches("/?")).keep_alive(),
    })
    .await;
    let back = home.uri("/back");
    let away = ScriptedServer::start(move |_| to(307, &back).keep_alive()).await;
    let mut key = HeaderValue::from_static("secret");
    key.set_sensitive(true);
    let request = with(quick())
        .post(home.uri(&format!("/?{}", away.uri("/away"))))
        .bearer("secret")
        .idempotency_key("\"k\"")
        .header("cookie", "secret")
        .header("proxy-authorization", "secret")
        .header("referer", "http://secret/")
        .header("x-api-key", key)
        .header("x-plain", "public")
        .body("content");
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.redirected().unwrap().count()), (200, 2));

    let (first, second, third) = (&home.seen()[0], &away.seen()[0], &home.seen()[1]);
    let secrets =
        ["authorization", "cookie", "idempotency-key", "proxy-authorization", "referer", "x-api-key"];
    for name in secrets {
        assert!(first.header(name).is_some(), "{name}");
        assert!(second.header(name).is_none() && third.header(name).is_none(), "{name}");
    }
    for (seen, server) in [(first, &home), (second, &away), (third, &home)] {
        assert_eq!(seen.header("x-plain"), Some("public"));
        assert_eq!(seen.header("host"), Some(server.addr().to_string().as_str()));
        assert_eq!(seen.body.kept, b"content");
    }
}

#[tokio::test]
async fn a_key_that_is_made_is_the_same_for_all_attempts_of_one_hop() {
    let server = ScriptedServer::start(in_order([
        Reaction::read_all_then_close(),
        to(307, "/there").keep_alive(),
        Reaction::read_all_then_close(),
        respond(200).keep_alive(),
    ]))
    .await;
    let answer = with(quick()).post(server.uri("/")).keyed().body("content").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.attempts()), (200, 2), "each hop has its own attempts");
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|seen| seen.header("idempotency-key").expect("it is keyed")).collect();
    assert_eq!((keys[0], keys[2]), (keys[1], keys[3]));
    assert_eq!(read(&server)[2..], ["POST /there content", "POST /there content"]);
}

#[tokio::test]
async fn relative_locations_lead_where_the_standard_says_and_fragments_are_not_sent() {
    let server = ScriptedServer::start(|seen| match seen.target.as_str() {
        "/a/b?q" => to(302, "../c/./d?e f#fragment").keep_alive(),
        _ => respond(200).keep_alive(),
    })
    .await;
    let answer = with(quick()).get(server.uri("/a/b?q")).send().await.unwrap();
    assert_eq!(answer.redirected().unwrap().uri(), &server.uri("/c/d?e%20f"));
    assert_eq!(read(&server), ["GET /a/b?q", "GET /c/d?e%20f"]);
}

// ───────────────────────────────────────────────────────────────────────────── what ends it

#[tokio::test]
async fn a_loop_ends_with_an_error_of_its_own_after_as_many_redirects_as_were_allowed() {
    for (settings, followed) in [(quick(), 10), (quick().redirects(1), 1)] {
        let server = ScriptedServer::start(|_| to(302, "/?s3cret").keep_alive()).await;
        let error = with(settings).get(server.uri("/?s3cret")).send().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Other, Delivery::Answered));
        assert_eq!(error.cause::<TooManyRedirects>().unwrap().followed(), followed);
        assert_eq!(server.seen().len(), followed as usize + 1);
        let shown = format!("{error} {error:?} {:?}", error.source());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test]
async fn what_is_never_followed_is_an_error_that_does_not_show_where_it_led() {
    for (location, why) in [
        ("ftp://s3cret/", InvalidRedirect::Scheme),
        ("http://me:s3cret@127.0.0.1/", InvalidRedirect::UserInfo),
        ("http://s3cret s3cret/", InvalidRedirect::Location),
    ] {
        let server = sends_on(302, location).await;
        let error = with(quick()).get(server.uri("/")).send().await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Other, Delivery::Answered), "{location}");
        assert_eq!(error.cause::<InvalidRedirect>(), Some(&why));
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn redirects_are_answers_like_others_where_they_are_off_and_where_they_say_no_place() {
    let server = sends_on(302, "/there").await;
    let answer = with(quick().without_redirects()).get(server.uri("/")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), server.seen().len()), (302, 1));
    for reply in [respond(302), to(304, "/there"), to(300, "/there"), to(201, "/there")] {
        let server = ScriptedServer::start(move |_| reply.clone().keep_alive()).await;
        let answer = with(quick()).get(server.uri("/")).send().await.unwrap();
        assert!(answer.redirected().is_none() && server.seen().len() == 1);
    }
}

#[tokio::test]
async fn a_response_says_nothing_of_redirects_if_there_were_none() {
    let server = sends_on(302, "/there").await;
    let client = with(quick());
    let direct = client.get(server.uri("/there")).send().await.unwrap();
    assert!(direct.redirected().is_none());
    let redirected = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!(format!("{:?}", redirected.redirected().unwrap()), "Redirected { count: 1, .. }");
}

#[tokio::test]
async fn all_hops_have_one_deadline() {
    let slow = Reaction::new().stall(Duration::from_millis(40)).reply(to(302, "/"));
    let server = ScriptedServer::start(move |_| slow.clone()).await;
    let settings = quick().deadline(Duration::from_millis(300)).redirects(1000);
    let error = with(settings).get(server.uri("/")).send().await.unwrap_err();
    assert!(error.is_timeout() && error.cause::<Elapsed>().is_some(), "{error:?}");
    assert_ne!(error.delivery(), Delivery::NotSent);
    assert!((2..=8).contains(&server.seen().len()), "{}", server.seen().len());
}

// ───────────────────────────────────────────────────────────────────────────── with the other layers

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}/", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn a_request_whose_last_hop_failed_does_not_look_unsent_and_a_post_goes_to_no_second_service() {
    for (method, status, falls_back) in
        [(Method::GET, 302, true), (Method::POST, 303, false), (Method::POST, 307, false)]
    {
        let server = sends_on(status, nobody().await).await;
        let request = || with(quick()).request(method.clone(), server.uri("/")).body("content");
        let mut error = request().send().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (Kind::Connect, Delivery::Answered),
            "{method} {status}"
        );
        assert!(error.take_request::<Request<Body>>().is_none());

        let second = ScriptedServer::start(|_| respond(200).keep_alive()).await;
        let uri = second.uri("/second");
        let backup = tower::service_fn(move |mut request: Request<Body>| {
            *request.uri_mut() = uri.clone();
            async move { with(quick()).send(request).await.map(stonework::client::Response::into_http) }
        });
        let client = built(Client::builder().settings(quick()).fallback(backup));
        let answer = client.request(method.clone(), server.uri("/")).body("content").send().await;
        assert_eq!(answer.is_ok(), falls_back, "{method} {status}");
        let expected = if falls_back { vec!["GET /second content"] } else { Vec::new() };
        assert_eq!(read(&second), expected, "{method} {status}: as the caller wrote it");
    }
}

#[tokio::test]
async fn the_rest_of_a_download_is_asked_for_where_it_was_found() {
    let whole = "0123456789".repeat(10_000);
    let away = {
        let whole = whole.clone();
        ScriptedServer::start(move |seen| match seen.header("range") {
            None => respond(200).header("etag", "\"one\"").body(whole.clone()).half(),
            Some(range) => {
                let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
                let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
                let part = respond(206).header("etag", "\"one\"").header("content-range", &range);
                part.body(whole[from..].to_owned()).keep_alive()
            }
        })
        .await
    };
    let server = sends_on(302, away.uri("/file?signature")).await;
    let client = with(quick().resume(ResumeSettings::new()));
    let answer = client.get(server.uri("/")).bearer("secret").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), whole);
    assert_eq!((server.seen().len(), away.seen().len()), (1, 2));
    assert!(away.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(read(&away), ["GET /file?signature", "GET /file?signature"]);
}

#[tokio::test]
async fn a_rest_that_is_found_elsewhere_than_the_beginning_is_not_spliced_to_it() {
    let whole = "0123456789".repeat(1_000);
    let server = ScriptedServer::start(move |seen| match (seen.target.as_str(), seen.header("range")) {
        ("/", None) => respond(200).header("etag", "\"one\"").body(whole.clone()).half(),
        ("/", Some(_)) => to(302, "/other").keep_alive(),
        _ => {
            let part =
                respond(206).header("etag", "\"one\"").header("content-range", "bytes 5000-9999/10000");
            part.body("x".repeat(5_000)).keep_alive()
        }
    })
    .await;
    let client = with(quick().resume(ResumeSettings::new()));
    let error: Error = client.get(server.uri("/")).send().await.unwrap().text().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Body, "{error:?}");
    assert!(error.cause::<stonework::retry::NotResumed>().is_some(), "{error:?}");
}
