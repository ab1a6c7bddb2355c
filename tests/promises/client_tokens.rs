//! The tokens of the assembled client, on sockets.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use stonework::Body;
use stonework::base::{Backoff, ClientAuth, Delivery};
use stonework::client::{Client, ClientSettings};
use stonework::oauth::{BearerLayer, TokenSource};
use stonework::retry::RetrySettings;
use stonework::testing::{Reaction, ScriptedServer, SeenRequest, in_order, respond};
use tower::service_fn;

/// What goes well takes much less.
const LONG: Duration = Duration::from_secs(20);

/// Tokens `t1`, `t2`, …, each of which takes so long. Nothing: none ever comes.
fn source(takes: Option<Duration>) -> TokenSource {
    let number = Arc::new(AtomicUsize::new(0));
    let provider = service_fn(move |_: Request<Body>| {
        let number = Arc::clone(&number);
        async move {
            match takes {
                Some(takes) => tokio::time::sleep(takes).await,
                None => pending().await,
            }
            let number = number.fetch_add(1, Ordering::Relaxed) + 1;
            let text = format!(r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":3600}}"#);
            Ok::<_, Infallible>(Response::new(Body::from(text)))
        }
    });
    TokenSource::builder("https://id.example/token", ClientAuth::basic("orders", "hush-hush"))
        .build(provider)
        .unwrap()
}

fn layer(server: &ScriptedServer, takes: Option<Duration>) -> BearerLayer {
    BearerLayer::new(source(takes), [server.uri("").to_string()]).unwrap()
}

/// Three attempts with next to no pause.
fn quick() -> ClientSettings {
    let backoff = Backoff::constant(Duration::from_millis(1)).unwrap();
    ClientSettings::new().deadline(LONG).attempt_timeout(LONG).retry(RetrySettings::new().backoff(backoff))
}

/// With which tokens a server was asked.
fn tokens(server: &ScriptedServer) -> Vec<String> {
    let token = |seen: &SeenRequest| seen.header("authorization").unwrap_or("none").to_owned();
    server.seen().iter().map(token).collect()
}

#[tokio::test]
async fn a_refreshed_token_reaches_the_next_attempt_and_is_no_attempt_itself() {
    let server = ScriptedServer::start(in_order([
        Reaction::read_all_then_close(),
        respond(401).keep_alive(), // to the second attempt
        respond(200).keep_alive(),
        respond(200).keep_alive(),
    ]))
    .await;
    let takes = Some(Duration::ZERO);
    let client = Client::builder().bearer(layer(&server, takes)).settings(quick()).build().unwrap();
    let answer = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.attempts()), (200, 2));
    // What a caller says of itself stays.
    let own = client.get(server.uri("/")).header("authorization", "Basic abc");
    own.send().await.unwrap();
    assert_eq!(tokens(&server), ["Bearer t1", "Bearer t1", "Bearer t2", "Basic abc"]);
}

#[tokio::test]
async fn a_redirect_to_another_origin_carries_no_token_and_one_that_leads_back_has_it_again() {
    let other = ScriptedServer::start(|seen: &SeenRequest| {
        let back = seen.header("x-back").expect("it goes along").to_owned();
        respond(302).header("location", &back).keep_alive()
    })
    .await;
    let there = other.uri("/there").to_string();
    let server = ScriptedServer::start(move |seen: &SeenRequest| match seen.target.as_str() {
        "/" => respond(302).header("location", &there).keep_alive(),
        _ => respond(200).keep_alive(),
    })
    .await;
    let layer = layer(&server, Some(Duration::ZERO));
    let client = Client::builder().settings(quick()).bearer(layer).build().unwrap();
    let answer =
        client.get(server.uri("/")).header("x-back", server.uri("/home").to_string()).send().await.unwrap();
    assert_eq!(answer.redirected().unwrap().count(), 2);
    assert_eq!(tokens(&other), ["none"]);
    assert_eq!(tokens(&server), ["Bearer t1", "Bearer t1"]);
}

#[tokio::test]
async fn the_wait_for_a_token_is_no_part_of_an_attempts_limit_and_is_part_of_the_calls() {
    let server = ScriptedServer::start(|_: &SeenRequest| respond(200).keep_alive()).await;
    // Ten times as long as an attempt may take that needs no connection.
    let slow = Client::builder().bearer(layer(&server, Some(Duration::from_secs(2))));
    let settings = quick().without_retry().attempt_timeout(Duration::from_secs(1));
    let client = slow.settings(settings).build().unwrap();
    assert_eq!(client.get(server.uri("/")).send().await.unwrap().status(), 200);

    let settings = quick().deadline(Duration::from_millis(100));
    let client = Client::builder().settings(settings).bearer(layer(&server, None)).build().unwrap();
    let error = client.get(server.uri("/")).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:#}");
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_client_explains_for_whom_it_has_tokens_whatever_the_order_of_the_setters() {
    let layer = || BearerLayer::new(source(None), ["https://A.example", "http://b.example:81"]).unwrap();
    let first = Client::builder().bearer(layer()).settings(quick()).build().unwrap().explain();
    let last = Client::builder().settings(quick()).bearer(layer()).build().unwrap().explain();
    assert_eq!(first, last);
    assert!(first.contains("\nauth: tokens for https://A.example:443, http://b.example:81\n"), "{first}");
    let order = ["deadline:", "retry:", "names:", "auth:", "attempt timeout:", "collect:", "breaker:"];
    assert!(order.iter().map(|line| first.find(line).expect(line)).is_sorted(), "{first}");
    let off = Client::builder().bearer(layer().when(false)).build().unwrap().explain();
    assert_eq!(off, Client::new().explain());
}
