//! The client stack over hyper-util's client, on real connections.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stonework::base::BoxError;
use stonework::base::body::ReplayBody;
use stonework::testing::{ScriptedServer, in_order, respond};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::kit::{MS, assert_shareable, retry};

/// A body that is `Send` and not `Sync`.
type Unsync = UnsyncBoxBody<Bytes, BoxError>;

fn unsync(text: &'static str) -> Unsync {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

fn client<B>() -> Client<HttpConnector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

async fn unavailable_once() -> ScriptedServer {
    ScriptedServer::start(in_order([respond(503).keep_alive(), respond(200).body("done").keep_alive()])).await
}

/// The whole stack, as a macro: what it takes and gives is inferred from what it stands on.
macro_rules! stack {
    ($service:expr) => {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(5_000 * MS))
            .layer(retry(MS))
            .layer(AttemptTimeoutLayer::new(2_000 * MS))
            .service($service)
    };
}

#[tokio::test]
async fn a_body_in_memory_needs_nothing_and_is_sent_again() {
    let server = unavailable_once().await;
    let mut stack = assert_shareable::<_, Request<Full<Bytes>>>(stack!(client()));
    let request = Request::put(server.uri("/thing")).body(Full::from("content")).unwrap();
    let response = stack.ready().await.unwrap().call(request).await.expect("answered");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "done");
    assert_eq!(server.heads_of(&Method::PUT), 2);
}

#[tokio::test]
async fn a_body_that_is_not_sync_is_sent_again_in_a_replay_body() {
    let server = unavailable_once().await;
    // The client takes the body as it is wrapped, or, with a type of its own, gets its own type back.
    let direct = ServiceBuilder::new()
        .map_request(|request: Request<Unsync>| request.map(ReplayBody::new))
        .service(stack!(client()));
    let both_sides = ServiceBuilder::new()
        .map_request(|request: Request<Unsync>| request.map(ReplayBody::new))
        .service(stack!(
            ServiceBuilder::new()
                .map_request(|request: Request<ReplayBody<Unsync>>| request.map(BodyExt::boxed_unsync))
                .service(client::<Unsync>())
        ));
    assert_shareable::<_, Request<Unsync>>(direct);
    let stack = assert_shareable::<_, Request<Unsync>>(both_sides);

    let request = Request::put(server.uri("/thing")).body(unsync("content")).unwrap();
    let response = stack.oneshot(request).await.expect("answered");
    assert_eq!(response.status(), StatusCode::OK);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.body.complete && request.body.kept == b"content"));
}

#[tokio::test]
async fn a_call_can_be_made_in_another_task_and_the_service_shared_between_threads() {
    let server = ScriptedServer::start(|_| respond(200).keep_alive()).await;
    let stack = stack!(client::<Full<Bytes>>());
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let request = Request::get(server.uri("/")).body(Full::default()).unwrap();
            tokio::spawn(stack.clone().oneshot(request))
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("answered").status(), StatusCode::OK);
    }
}
