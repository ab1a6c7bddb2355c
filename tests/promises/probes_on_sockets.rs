//! Probes of endpoints over HTTP, gRPC and TCP, against real servers.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use stonework::Body;
use stonework::base::{EndpointId, Fitness};
use stonework::client::ClientSettings;
use stonework::health::{GrpcProbe, HttpProbe, Probe, Prober, ProberSettings, TcpProbe, Verdict};
use stonework::testing::{Reaction, ScriptedServer, respond};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tower::service_fn;

use crate::support::{PATIENCE, soon};

fn endpoint(server: &ScriptedServer) -> EndpointId {
    server.uri("/").authority().expect("a host and a port").as_str().into()
}

/// Whether it has passed, and what it said.
async fn asked(probe: &impl Probe, endpoint: &EndpointId) -> (bool, String) {
    let verdict: Verdict = soon(probe.probe(endpoint)).await;
    (verdict.state().is_good(), verdict.output().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn over_http_the_status_decides_and_one_connection_serves_for_all() {
    let server = ScriptedServer::start(|request| match request.number {
        1 => respond(200).body("ok\n").keep_alive(),
        2 => respond(503).chunked().body("the database is away").keep_alive(),
        3 => respond(302).header("location", "/elsewhere").keep_alive(),
        4 => respond(204).keep_alive(),
        _ => respond(401).body("who are you?").keep_alive(),
    })
    .await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let (probe, id) = (HttpProbe::get(client.clone(), "/readyz?from=probe"), endpoint(&server));
    let passed = (true, String::new());
    assert_eq!(asked(&probe, &id).await, passed);
    assert_eq!(asked(&probe, &id).await, (false, "it answered 503".to_owned()));
    assert_eq!(asked(&probe, &id).await, (false, "it answered 302".to_owned()));
    assert_eq!(asked(&probe, &id).await, passed);
    let own = HttpProbe::new(client, |endpoint| {
        Request::head(format!("http://{endpoint}/")).header("x-from", "probe").body(Body::empty())
    });
    assert_eq!(asked(&own, &id).await.1, "it answered 401");
    assert_eq!(asked(&own.passes(|status| status.as_u16() == 401), &id).await, passed);
    let seen = server.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/readyz?from=probe"));
    assert_eq!((seen[5].method.as_str(), seen[5].header("x-from")), ("HEAD", Some("probe")));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_does_not_answer_breaks_off_or_cannot_be_asked_has_failed() {
    let server = ScriptedServer::start(|request| match request.number {
        1 => Reaction::close_on_head(),
        _ => respond(200).body("half of it").half(),
    })
    .await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let (probe, id) = (HttpProbe::get(client.clone(), "/"), endpoint(&server));
    for _ in 0..2 {
        let (passed, why) = asked(&probe, &id).await;
        assert!(!passed && !why.is_empty(), "{why}");
    }
    let (passed, why) = asked(&HttpProbe::get(client, "/a b"), &id).await;
    assert!(!passed && why.contains("invalid uri"), "{why}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn of_an_answer_that_never_ends_no_more_than_64_kib_are_read() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let client = service_fn(move |_: Request<Body>| {
        let counted = Arc::clone(&counted);
        let frames = futures_util::stream::repeat_with(move || {
            counted.fetch_add(1 << 10, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1 << 10])))
        });
        ready(Ok::<_, Infallible>(Response::new(StreamBody::new(frames))))
    });
    assert!(asked(&HttpProbe::get(client, "/"), &"a:80".into()).await.0);
    assert_eq!(read.load(Ordering::Relaxed), (64 << 10) + (1 << 10), "and one more frame to know it");
}

#[tokio::test]
async fn a_probe_is_sent_once_whatever_retries_its_client_has() {
    let server = ScriptedServer::start(|_| respond(503).keep_alive()).await;
    let client = stonework::client::Client::new();
    let (passed, _) = asked(&HttpProbe::get(client, "/"), &endpoint(&server)).await;
    assert_eq!((passed, server.seen().len()), (false, 1));
}

#[tokio::test]
async fn over_tcp_somebody_has_to_listen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = EndpointId::from(listener.local_addr().unwrap().to_string());
    assert_eq!(asked(&TcpProbe, &id).await, (true, String::new()));
    drop(listener);
    let (passed, why) = asked(&TcpProbe, &id).await;
    assert!(!passed && why.contains("refused"), "{why}");
    assert!(!asked(&TcpProbe, &"no port".into()).await.0);
}

fn serve(routes: tonic::service::Routes, listener: TcpListener) -> EndpointId {
    let id = EndpointId::from(listener.local_addr().unwrap().to_string());
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpIncoming::from(listener)));
    id
}

#[tokio::test]
async fn over_grpc_the_health_service_decides_and_who_has_none_is_taken_to_be_well() {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let with = serve(tonic::service::Routes::new(service), listen().await);
    let without = serve(tonic::service::Routes::default(), listen().await);
    let settings = ClientSettings::new().http2_only();
    let own = stonework::client::Client::builder().settings(settings).build().unwrap();
    let bare = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Body>();
    let passed = (true, String::new());
    assert_eq!(asked(&GrpcProbe::new(own), &with).await, passed, "over this crate's client");

    let probe = GrpcProbe::new(bare);
    let orders = probe.clone().service("orders.v1.Orders");
    assert_eq!(asked(&probe, &with).await, passed);
    assert_eq!(asked(&orders, &with).await, (false, "NOT_FOUND".to_owned()));
    for (status, verdict) in [
        (ServingStatus::NotServing, (false, "it does not serve".to_owned())),
        (ServingStatus::Unknown, (false, "it does not know how it is".to_owned())),
        (ServingStatus::Serving, passed.clone()),
    ] {
        reporter.set_service_status("orders.v1.Orders", status).await;
        assert_eq!(asked(&orders, &with).await, verdict, "{status}");
    }
    assert_eq!(asked(&orders, &without).await, passed, "it knows of no health");

    // Something that is no gRPC server says nothing of the kind, whatever its status would be in gRPC.
    let stranger = axum::Router::<()>::new();
    let listener = listen().await;
    let id = EndpointId::from(listener.local_addr().unwrap().to_string());
    tokio::spawn(axum::serve(listener, stranger).into_future());
    assert_eq!(asked(&probe, &id).await, (false, "it answered 404, and no gRPC status".to_owned()));
}

#[tokio::test]
async fn a_prober_finds_out_who_is_there() {
    let there = ScriptedServer::start(|_| respond(200).keep_alive()).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let settings =
        ProberSettings::new().interval(Duration::from_millis(100)).timeout(Duration::from_millis(90));
    let prober = Prober::builder(HttpProbe::get(client, "/")).settings(settings).build().unwrap();
    prober.set([endpoint(&there), EndpointId::from(&*gone)]);
    assert!(prober.wait_first(PATIENCE).await);
    assert_eq!(prober.fitness(&endpoint(&there)), Fitness::Fit);
    assert_eq!(prober.fitness(&gone.into()), Fitness::Unfit);
    there.wait_for(3).await;
}
