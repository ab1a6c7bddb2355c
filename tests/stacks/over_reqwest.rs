//! What is particular to reqwest: redirects, its own limits of time and retries, HTTP/2, and URLs in its errors.

use std::convert::Infallible;
use std::fmt::Write;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use stonework::Body;
use stonework::base::{BoxError, Delivery, Error, Kind};
use stonework::reqwest::{InvalidRequest, RequestBodyFailed, Transport};
use stonework::testing::{Reaction, ScriptedServer, respond};
use stonework::timeout::TimeoutLayer;
use tokio::sync::watch;
use tower::{Layer, Service, ServiceExt};

use crate::kit::{MS, assert_shareable, retry};

/// Whatever the environment says of proxies.
fn plain() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy()
}

fn built() -> Transport {
    Transport::build(plain()).expect("nothing to set up")
}

fn told(error: &Error) -> (Kind, Delivery) {
    (error.kind(), error.delivery())
}

async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}/", listener.local_addr().expect("an address"))
}

fn post(uri: impl AsRef<str>) -> Request<Body> {
    Request::post(uri.as_ref()).body(Body::from("100")).expect("a valid request")
}

#[tokio::test]
async fn a_redirect_into_the_void_does_not_make_a_post_look_unsent() {
    let dead_end = nobody().await;
    let server =
        ScriptedServer::start(move |_| respond(302).header("location", &dead_end).keep_alive()).await;
    let uri = server.uri("/charge").to_string();

    let follows = retry(MS).layer(Transport::from(plain().build().expect("nothing to set up")));
    let error = follows.oneshot(post(&uri)).await.expect_err("the target is not there");
    assert_eq!((told(&error), error.attempts()), ((Kind::Connect, Delivery::Unknown), 1));
    assert_eq!(server.heads_of(&Method::POST), 1, "the charge was made, and is made once");

    let answer = retry(MS).layer(built()).oneshot(post(&uri)).await.expect("a redirect is an answer");
    assert_eq!(answer.status(), 302);
}

#[tokio::test]
async fn reqwests_own_limits_of_time_are_timeouts_that_prove_nothing() {
    let server = ScriptedServer::silent().await;
    for builder in [plain().timeout(20 * MS), plain().read_timeout(20 * MS)] {
        let transport = Transport::build(builder).unwrap();
        let error = transport.oneshot(post(server.uri("/").to_string())).await.expect_err("silence");
        assert_eq!(told(&error), (Kind::Timeout, Delivery::Unknown));
    }
}

#[tokio::test]
async fn a_call_over_reqwest_that_is_dropped_closes_its_connection() {
    let server = ScriptedServer::silent().await;
    let call = tokio::spawn(built().oneshot(post(server.uri("/").to_string())));
    server.wait_until("the request has come", |server| server.seen().len() == 1).await;
    call.abort();
    server.wait_until("the connection is closed", |server| server.open() == 0).await;
}

#[tokio::test]
async fn a_body_that_fails_with_the_error_of_another_call_does_not_speak_for_this_one() {
    let error = built().oneshot(post(nobody().await)).await.expect_err("nobody listens");
    assert_eq!(told(&error), (Kind::Connect, Delivery::NotSent));

    let server = ScriptedServer::start(|_| Reaction::read_body_then_stall()).await;
    let mut error = Some(BoxError::from(error));
    let frames = futures_util::stream::poll_fn(move |_| {
        std::task::Poll::Ready(error.take().map(Err::<http_body::Frame<Bytes>, _>))
    });
    let body = http_body_util::StreamBody::new(frames);
    let request = Request::post(server.uri("/")).body(body).unwrap();
    let error = built().oneshot(request).await.expect_err("the body fails");
    assert_eq!(told(&error), (Kind::Body, Delivery::Unknown));
    assert!(error.cause::<RequestBodyFailed>().is_some(), "{error:#}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_at_once_and_not_tried_again() {
    let stack = retry(MS).layer(built());
    for (uri, part) in [
        ("/path", "a scheme and a host"),
        ("ftp://host/", "`http`"),
        ("http://me:secret@host/", "user information"),
        ("http://host:99999/", "port"),
    ] {
        let error = stack.clone().oneshot(post(uri)).await.expect_err(uri);
        assert_eq!((told(&error), error.attempts()), ((Kind::Invalid, Delivery::NotSent), 1), "{uri}");
        let cause = error.cause::<InvalidRequest>().expect("which says why").to_string();
        assert!(cause.contains(part) && !cause.contains("secret"), "{uri}: {cause}");
    }
}

#[tokio::test]
async fn the_version_of_the_hop_that_a_request_came_from_is_not_sent_on() {
    let server = ScriptedServer::start(|_| respond(200).keep_alive()).await;
    for version in [Version::HTTP_09, Version::HTTP_10, Version::HTTP_2] {
        let mut request = post(server.uri("/").to_string());
        *request.version_mut() = version;
        assert_eq!(built().oneshot(request).await.expect("answered").status(), 200);
    }
}

#[tokio::test]
async fn any_body_goes_in_and_the_answer_comes_out() {
    let server = ScriptedServer::start(|_| respond(200).body("done").keep_alive()).await;
    let body: UnsyncBoxBody<Bytes, Infallible> = Full::from("content").boxed_unsync();
    let service = assert_shareable::<_, Request<UnsyncBoxBody<Bytes, Infallible>>>(
        TimeoutLayer::new(5_000 * MS).layer(built()),
    );
    let request = Request::put(server.uri("/")).body(body).unwrap();
    let answer = service.oneshot(request).await.expect("answered");
    assert_eq!(answer.into_body().collect_up_to(10).await.expect("a body"), "done");
    let seen = server.seen();
    assert_eq!((seen[0].header("content-length"), &seen[0].body.kept[..]), (Some("7"), &b"content"[..]));
}

/// A server over HTTP/2 that resets so many streams in this way, and answers the later ones. It counts them.
async fn over_http2(resets: usize, reason: h2::Reason) -> (String, watch::Receiver<usize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let uri = format!("http://{}/", listener.local_addr().expect("an address"));
    let (count, seen) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut connection = h2::server::handshake(stream).await.expect("a client");
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                count.send_modify(|count| *count += 1);
                if *count.borrow() <= resets {
                    respond.send_reset(reason);
                } else {
                    respond.send_response(http::Response::new(()), true).expect("it waits for this");
                }
            }
        }
    });
    (uri, seen)
}

fn http2() -> reqwest::ClientBuilder {
    plain().http2_prior_knowledge()
}

#[tokio::test]
async fn a_post_that_the_peer_refused_unprocessed_is_sent_again_by_the_layer_and_one_that_it_reset_is_not() {
    let stack = || retry(MS).layer(Transport::build(http2()).expect("nothing to set up"));
    let (uri, seen) = over_http2(1, h2::Reason::REFUSED_STREAM).await;
    assert_eq!(stack().oneshot(post(uri)).await.expect("answered").status(), 200);
    assert_eq!(*seen.borrow(), 2);

    let (uri, seen) = over_http2(1, h2::Reason::CANCEL).await;
    let error = stack().oneshot(post(uri)).await.expect_err("reset");
    assert_eq!((told(&error), *seen.borrow()), ((Kind::Transport, Delivery::Unknown), 1));
}

#[tokio::test]
async fn reqwest_itself_repeats_nothing_that_goes_through_a_transport() {
    // Built without a word about retries: then it repeats what was refused.
    let client = http2().build().expect("nothing to set up");
    let (uri, seen) = over_http2(1, h2::Reason::REFUSED_STREAM).await;
    assert_eq!(client.post(uri).body("100").send().await.expect("answered").status(), 200);
    assert_eq!(*seen.borrow(), 2);

    for transport in [Transport::new(client), Transport::build(http2()).expect("nothing to set up")] {
        for body in [Body::empty(), Body::from("100")] {
            let (uri, seen) = over_http2(1, h2::Reason::REFUSED_STREAM).await;
            let request = Request::post(uri).body(body).expect("a valid request");
            let error = transport.clone().oneshot(request).await.expect_err("refused");
            assert_eq!((error.kind(), *seen.borrow()), (Kind::Transport, 1));
        }
    }
}

#[tokio::test]
async fn no_error_shows_the_url_that_reqwests_own_would_show() {
    let mut shown = String::new();
    let mut show = |what: &dyn std::fmt::Debug| writeln!(shown, "{what:?} {what:#?}").unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", http::HeaderValue::from_static("s3cret"));

    let mut addresses = vec![(nobody().await, None)];
    for reaction in [
        Reaction::read_all_then_close(),
        Reaction::reset_on_head(),
        Reaction::read_body_then_stall(),
        Reaction::new().send("HTTP/1.1 s3cret\r\n\r\n").close(),
        respond(302).header("location", "http://s3cret/s3cret").keep_alive(),
    ] {
        let server = ScriptedServer::start(move |_| reaction.clone()).await;
        addresses.push((server.uri("/").to_string(), Some(server)));
    }
    addresses.push(("http://name.invalid/".to_owned(), None));

    // A policy that fails with an error of reqwest which has a URL of its own.
    let policy = reqwest::redirect::Policy::custom(|attempt| {
        let invalid = reqwest::Proxy::http("http://").map(|_| ()).expect_err("no host");
        let url = attempt.url().clone();
        attempt.error(invalid.with_url(url))
    });
    let builder = || plain().default_headers(headers.clone()).timeout(200 * MS);
    let follows = Transport::new(builder().redirect(policy).build().unwrap());
    for (address, _server) in &addresses {
        for (transport, redirects) in [(Transport::build(builder()).unwrap(), false), (follows.clone(), true)]
        {
            show(&transport);
            let request = post(format!("{address}s3cret?token=s3cret"));
            let mut service = transport;
            let call = Service::call(&mut service, request);
            show(&call);
            match call.await {
                Ok(answer) => assert_eq!((answer.status().as_u16(), redirects), (302, false)),
                Err(error) => {
                    show(&error);
                    show(&format_args!("{error} {error:#}"));
                }
            }
        }
    }
    assert!(shown.contains("reqwest failed"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}
