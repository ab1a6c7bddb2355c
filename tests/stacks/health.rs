//! Health probes: by tonic's own client of the health service, through axum, and as bytes on a socket.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Uri};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use stonework::health::{Health, HealthLayer, Impact};
use stonework::limit::RequestBodyLimitLayer;
use stonework::timeout::TimeoutLayer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt, service_fn};

use crate::grpc::Raw;
use crate::kit::{assert_shareable, virtually};

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// Ready as long as the sender says so.
fn switched() -> (watch::Sender<bool>, Health) {
    let (say, said) = watch::channel(true);
    let health = Health::builder()
        .liveness("heart", || true)
        .readiness("it", Impact::Hard, move || std::future::ready(*said.borrow()))
        .grpc_service("orders.v1.Orders")
        .build();
    (say, health.unwrap())
}

/// A tonic server whose only service is the layer, and a channel to it, over one connection in memory.
fn channel_to(health: &Health) -> Channel {
    let (near, far) = tokio::io::duplex(1 << 16);
    let server = Server::builder().layer(health.layer()).add_routes(Routes::default());
    let incoming = stream::iter([Ok::<_, std::io::Error>(far)]).chain(stream::pending());
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut near = Some(TokioIo::new(near));
    let connector = service_fn(move |_: Uri| {
        let near = near.take().ok_or(std::io::Error::other("there is one connection"));
        std::future::ready(near)
    });
    Endpoint::from_static("http://memory.test").connect_with_connector_lazy(connector)
}

fn tonic_client(health: &Health) -> HealthClient<Channel> {
    HealthClient::new(channel_to(health))
}

#[test]
fn tonics_client_is_told_how_it_is_by_name() {
    virtually(async {
        let (say, health) = switched();
        let mut client = tonic_client(&health);
        let mut ask = async |service| {
            client
                .check(about(service))
                .await
                .map(|answer| answer.into_inner().status())
                .map_err(|no| no.code())
        };
        assert_eq!(ask("").await, Ok(ServingStatus::NotServing), "nothing was checked yet");
        assert_eq!(ask("liveness").await, Ok(ServingStatus::Serving));
        assert!(health.wait_ready().await);
        for service in ["", "readiness", "startup", "liveness", "orders.v1.Orders"] {
            assert_eq!(ask(service).await, Ok(ServingStatus::Serving), "{service}");
        }
        for unknown in ["orders.v1", "x", "grpc.health.v1.Health"] {
            assert_eq!(ask(unknown).await, Err(Code::NotFound), "{unknown}");
        }
        say.send(false).unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(ask("orders.v1.Orders").await, Ok(ServingStatus::NotServing));
        assert_eq!(ask("liveness").await, Ok(ServingStatus::Serving));
        say.send(true).unwrap();
        assert!(health.wait_ready().await);
        health.drain();
        for (service, expected) in [
            ("", ServingStatus::NotServing),
            ("liveness", ServingStatus::Serving),
            ("startup", ServingStatus::Serving),
        ] {
            assert_eq!(ask(service).await, Ok(expected), "{service}, draining");
        }
    });
}

/// Tonic's health client cannot list; its channel can.
#[test]
fn every_service_is_listed() {
    virtually(async {
        let (_say, health) = switched();
        assert!(health.wait_ready().await);
        let mut client = tonic::client::Grpc::new(channel_to(&health));
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/List");
        let list = client.unary(tonic::Request::new(Bytes::new()), path, Raw).await.unwrap().into_inner();
        let mut expected = Vec::new();
        for name in ["", "liveness", "readiness", "startup", "orders.v1.Orders"] {
            let length = u8::try_from(name.len()).unwrap();
            expected.extend([0x0a, length + 6, 0x0a, length]);
            expected.extend(name.as_bytes());
            expected.extend([0x12, 2, 8, 1]);
        }
        assert_eq!(list, expected);
    });
}

#[test]
fn tonics_client_watches_the_first_state_and_then_each_change() {
    virtually(async {
        let (say, health) = switched();
        let mut client = tonic_client(&health);
        let mut known = client.watch(about("orders.v1.Orders")).await.unwrap().into_inner();
        let mut unknown = client.watch(about("nobody")).await.unwrap().into_inner();
        let mut next = async || known.message().await.map(|message| message.unwrap().status());
        assert_eq!(next().await.unwrap(), ServingStatus::NotServing);
        assert_eq!(next().await.unwrap(), ServingStatus::Serving, "as soon as it was checked");
        say.send(false).unwrap();
        assert_eq!(next().await.unwrap(), ServingStatus::NotServing);
        say.send(true).unwrap();
        assert_eq!(next().await.unwrap(), ServingStatus::Serving);
        health.drain();
        assert_eq!(next().await.unwrap(), ServingStatus::NotServing);
        assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        let more = tokio::time::timeout(Duration::from_secs(3600), unknown.message());
        assert!(more.await.is_err(), "it stays open, and there is nothing more to say");
        health.stop();
        assert_eq!(next().await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(unknown.message().await.unwrap_err().code(), Code::Unavailable);
    });
}

async fn body_of(app: &Router, path: &str) -> (u16, String) {
    let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap())
}

#[test]
fn a_router_takes_the_service_at_a_route_below_one_and_as_its_last_resort_and_the_layer_too() {
    virtually(async {
        let (_say, health) = switched();
        assert!(health.wait_ready().await);
        let new = || Router::new().route("/", get(|| async { "hello" }));
        let probes = Router::new().route_service("/readyz", health.service());
        for (app, path) in [
            (new().route_service("/readyz", health.service()), "/readyz"),
            (new().merge(probes), "/readyz"),
            (new().nest_service("/health", health.service()), "/health/readyz"),
            (new().fallback_service(health.service()), "/readyz"),
            (new().layer(health.layer()), "/readyz"),
            (Router::new().fallback_service(health.layer().layer(new())), "/readyz"),
        ] {
            let app = assert_shareable::<_, Request<Body>>(app);
            assert_eq!(body_of(&app, path).await, (200, "pass\n".to_owned()));
            assert_eq!(body_of(&app, "/").await, (200, "hello".to_owned()));
            assert_eq!(body_of(&app, "/nothing").await.0, 404);
        }
        // Around other layers of ours: what is inside need not be a router.
        let inside = Router::new().route("/slow", get(std::future::pending::<()>));
        let inside = RequestBodyLimitLayer::new(10).answer().layer(inside);
        let inside = TimeoutLayer::new(Duration::from_secs(1)).answer().layer(inside);
        let app = Router::new().fallback_service(HealthLayer::from(health).layer(inside));
        assert_eq!(body_of(&app, "/livez").await.0, 200);
        assert_eq!(body_of(&app, "/slow").await.0, 504);
    });
}

#[tokio::test]
async fn on_a_socket_a_probe_is_a_few_bytes_and_the_connection_stays() {
    let health = Health::builder().liveness("heart", || true).build().unwrap();
    let app = Router::new().fallback_service(health.service());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = tokio::net::TcpStream::connect(addr).await.unwrap();
    let mut ask = async |request: &str, last: &str| {
        client.write_all(format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(last.as_bytes()) {
            let more =
                tokio::time::timeout(Duration::from_secs(10), client.read_buf(&mut read)).await.unwrap();
            assert_ne!(more.unwrap(), 0, "closed after {:?}", String::from_utf8_lossy(&read));
        }
        let text = String::from_utf8(read).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<_> =
            head.lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect();
        lines[1..].sort_unstable();
        (lines, body.to_owned())
    };
    let (head, body) = ask("GET /livez", "pass\n").await;
    let expected = [
        "HTTP/1.1 200 OK",
        "cache-control: no-store",
        "content-length: 5",
        "content-type: text/plain; charset=utf-8",
    ];
    assert_eq!((head, &*body), (expected.map(str::to_owned).into(), "pass\n"));
    let (head, body) = ask("HEAD /livez", "\r\n\r\n").await;
    assert_eq!((head, &*body), (expected.map(str::to_owned).into(), ""));
    assert_eq!(ask("GET /readyz", "pass\n").await.0[0], "HTTP/1.1 200 OK");
    health.drain();
    assert_eq!(ask("GET /readyz", "fail\n").await.0[0], "HTTP/1.1 503 Service Unavailable");
    assert_eq!(ask("PUT /readyz", "\r\n\r\n").await.0[0], "HTTP/1.1 405 Method Not Allowed");
}
