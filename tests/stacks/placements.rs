//! Every layer that is meant for servers, in every place where a server takes one, and nowhere with a layer of somebody
//! else's around it that handles its errors. That this file compiles is half of the proof; the other half asks each once.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use stonework::Body;
use stonework::base::{BoxError, TimeoutHeader};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings, Breakers, BreakersLayer};
use stonework::health::{Health, HealthLayer, Impact};
use stonework::jwt::{Algorithm, JwtLayer, Keys, RequireLayer, Verifier};
use stonework::limit::RequestBodyLimitLayer;
use stonework::timeout::{
    AttemptTimeoutLayer, BodyLimits, ReceiveDeadlineLayer, RequestBodyTimeoutLayer, TimeoutLayer,
};
use tokio::io::{DuplexStream, duplex};
use tonic::server::NamedService;
use tonic::service::{LayerExt, Routes};
use tonic::transport::Server;
use tower::util::option_layer;
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::kit::{MS, virtually};

// ───────────────────────────────────────────────────────────────────────────── what is refused, and how

/// A request that a layer refuses, and what comes of it.
#[derive(Clone, Copy)]
struct Case {
    /// So many calls that fail come first.
    failing: u32,
    path: &'static str,
    edit: fn(&mut Request<Body>),
    refusal: Refusal,
    /// What the next request on the same connection is answered while the layer is on.
    next: StatusCode,
    /// Over HTTP/1 a connection does not outlive a body that was not read.
    http1: bool,
}

const CASE: Case = Case {
    failing: 0,
    path: "/slow",
    edit: |_| {},
    refusal: Refusal::Problem { status: StatusCode::GATEWAY_TIMEOUT, grpc: "4", advice: false },
    next: StatusCode::OK,
    http1: true,
};

#[derive(Clone, Copy)]
enum Refusal {
    /// In JSON, as RFC 9457 has it, or as a status of gRPC; with advice when to come back.
    Problem { status: StatusCode, grpc: &'static str, advice: bool },
    /// The layer only ends the body; what is said is what the handler says.
    OfTheHandler,
    /// A probe is told no.
    Probe,
}

impl Refusal {
    fn check(self, grpc: bool, answer: &Answer, what: &str) {
        let header = |name| answer.headers.get(name).map(HeaderValue::as_bytes);
        match (self, grpc) {
            (Self::Problem { status, advice, .. }, false) => {
                assert_eq!(answer.status, status, "{what}");
                assert_eq!(header("content-type"), Some(&b"application/problem+json"[..]), "{what}");
                let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(problem["type"], "about:blank", "{what}");
                assert_eq!(problem["status"], status.as_u16(), "{what}");
                assert_eq!(Some(problem["title"].as_str().unwrap()), status.canonical_reason(), "{what}");
                assert!(problem["detail"].is_string(), "{what}");
                assert_eq!(header("retry-after").is_some(), advice, "{what}");
            }
            (Self::Problem { grpc, advice, .. }, true) => {
                assert_eq!(answer.status, StatusCode::OK, "{what}");
                assert_eq!(header("content-type"), Some(&b"application/grpc"[..]), "{what}");
                assert_eq!(header("grpc-status"), Some(grpc.as_bytes()), "{what}");
                assert!(header("grpc-message").is_some() && answer.body.is_empty(), "{what}");
                assert_eq!(header("grpc-retry-pushback-ms").is_some(), advice, "{what}");
            }
            (Self::OfTheHandler, false) => {
                assert_eq!(
                    (answer.status, &answer.body[..]),
                    (StatusCode::BAD_REQUEST, &b"cut off"[..]),
                    "{what}"
                );
            }
            (Self::OfTheHandler, true) => assert_eq!(header("grpc-status"), Some(&b"3"[..]), "{what}"),
            (Self::Probe, false) => {
                assert_eq!(
                    (answer.status, &answer.body[..]),
                    (StatusCode::SERVICE_UNAVAILABLE, &b"fail\n"[..]),
                    "{what}"
                );
            }
            // NOT_SERVING.
            (Self::Probe, true) => assert_eq!(&answer.body[..], [0, 0, 0, 0, 2, 8, 2], "{what}"),
        }
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What is behind the layers; it answers everything but what it is told not to.
async fn handle<B>(request: Request<B>) -> Response<Full<Bytes>>
where
    B: http_body::Body<Data = Bytes>,
{
    let grpc = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/grpc");
    let (status, code, text) = match request.uri().path().rsplit('/').next() {
        Some("slow") => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            (StatusCode::OK, "0", "at last")
        }
        Some("read") => match request.into_body().collect().await {
            Ok(_) => (StatusCode::OK, "0", "all of it"),
            Err(_) => (StatusCode::BAD_REQUEST, "3", "cut off"),
        },
        Some("fails") => (StatusCode::INTERNAL_SERVER_ERROR, "13", "broken"),
        _ => (StatusCode::OK, "0", "hello"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    if grpc {
        // An error of gRPC is no error of HTTP; but then a circuit would have to be told how to read it.
        response = response.map(|_| Full::default());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static(code));
        if code == "3" {
            *response.status_mut() = StatusCode::OK;
        }
    }
    response
}

// ───────────────────────────────────────────────────────────────────────────── a client with one connection

enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    async fn over(io: DuplexStream, http2: bool) -> Self {
        if http2 {
            let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(send)
        } else {
            let (send, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(send)
        }
    }

    async fn ask(&mut self, request: Request<Body>, what: &str) -> Answer {
        let response = match self {
            Self::Http1(send) => {
                send.ready()
                    .await
                    .unwrap_or_else(|error| panic!("{what}: the connection was closed: {error}"));
                send.send_request(request).await
            }
            Self::Http2(send) => send.send_request(request).await,
        };
        let (parts, body) = response.unwrap_or_else(|error| panic!("{what}: {error}")).into_parts();
        let body = body.collect().await.unwrap_or_else(|error| panic!("{what}: {error}")).to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

/// Where a layer is, and whether it is on.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    on: bool,
    grpc: bool,
    http2: bool,
}

async fn ask(case: Case, place: Place, client: DuplexStream) {
    let Place { name, on, grpc, http2 } = place;
    let what = format!("{name}, on: {on}, HTTP/2: {http2}, {}", case.path);
    let request = |path: &str| {
        let service = if grpc && !path.starts_with("/grpc.") { "/test" } else { "" };
        let mut request = Request::post(format!("http://x{service}{path}")).body(Body::empty()).unwrap();
        if grpc {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        }
        request
    };
    let mut connection = Connection::over(client, http2).await;
    for _ in 0..case.failing {
        let answer = connection.ask(request("/fails"), &what).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{what}");
    }
    let probe = matches!(case.refusal, Refusal::Probe);
    let path = if probe && grpc { "/grpc.health.v1.Health/Check" } else { case.path };
    let mut refused = request(path);
    (case.edit)(&mut refused);
    if probe && grpc {
        *refused.body_mut() = Body::from(&[0; 5][..]);
    } else if probe {
        *refused.method_mut() = http::Method::GET;
    }
    let answer = connection.ask(refused, &what).await;
    if on {
        case.refusal.check(grpc, &answer, &what);
    } else {
        assert_eq!(answer.status, StatusCode::OK, "{what}");
        assert_ne!(answer.body, "cut off", "{what}");
    }
    // The connection is as good as before, whatever was refused.
    let next = connection.ask(request("/hello"), &what).await;
    let expected = if on && !grpc { case.next } else { StatusCode::OK };
    assert_eq!(next.status, expected, "{what}, then");
}

// ───────────────────────────────────────────────────────────────────────────── the places

/// The one connection of a server of axum's.
struct InMemory(Option<DuplexStream>);

impl axum::serve::Listener for InMemory {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.take() {
            Some(connection) => (connection, ()),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

async fn behind_axum(case: Case, name: &'static str, on: bool, app: Router) {
    for http2 in [true, false] {
        if http2 || case.http1 {
            let (near, far) = duplex(1 << 16);
            let listener = InMemory(Some(far));
            let app = app.clone();
            tokio::spawn(async move { axum::serve(listener, app).await });
            ask(case, Place { name, on, grpc: false, http2 }, near).await;
        }
        if case.failing > 0 {
            // The circuit is open now, for every connection.
            return;
        }
    }
}

async fn behind_hyper<S, B>(case: Case, name: &'static str, service: S)
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (near, far) = duplex(1 << 16);
    let service = TowerToHyperService::new(service);
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(builder.serve_connection(TokioIo::new(far), service));
    ask(case, Place { name, on: true, grpc: false, http2: true }, near).await;
}

/// A service of tonic's, written by hand where others are generated: it takes any body, and never fails.
#[derive(Clone)]
struct Test;

impl NamedService for Test {
    const NAME: &'static str = "test";
}

impl<B> Service<Request<B>> for Test
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(async { Ok(handle(request).await.map(tonic::body::Body::new)) })
    }
}

/// Each place gets a layer of its own.
macro_rules! everywhere {
    ($case:expr, $layer:expr) => {
        virtually(async {
            let case: Case = $case;
            let handler =
                |request: axum::extract::Request| async { handle(request).await.map(axum::body::Body::new) };
            let around = |method| Router::new().route("/{*path}", method);

            behind_axum(case, "Router::layer", true, around(any(handler)).layer($layer)).await;
            behind_axum(case, "Router::route_layer", true, around(any(handler)).route_layer($layer)).await;
            behind_axum(case, "MethodRouter::layer", true, around(any(handler).layer($layer))).await;
            behind_axum(
                case,
                "MethodRouter::route_layer",
                true,
                around(get(handler).post(handler).route_layer($layer)),
            )
            .await;
            behind_axum(case, "Handler::layer", true, around(any(handler.layer($layer)))).await;
            for on in [true, false] {
                behind_axum(case, "when", on, around(any(handler)).layer($layer.when(on))).await;
                // Both sides of an `Either` have to answer with the same body.
                let layers = || ServiceBuilder::new().map_response(in_axums_body).layer($layer);
                let optional = option_layer(on.then(layers));
                behind_axum(case, "option_layer", on, around(any(handler)).layer(optional)).await;
            }

            let service = service_fn(|request| async { Ok::<_, Infallible>(handle(request).await) });
            behind_hyper(case, "bare hyper", $layer.layer(service)).await;
            behind_hyper(case, "tonic's routes on bare hyper", $layer.layer(around(any(handler)))).await;

            let tonic = |name| {
                let (near, far) = duplex(1 << 16);
                let incoming = stream::iter([Ok::<_, io::Error>(far)]).chain(stream::pending());
                (incoming, ask(case, Place { name, on: true, grpc: true, http2: true }, near))
            };
            let (incoming, asked) = tonic("a tonic server");
            let server = Server::builder().layer($layer).add_service(Test);
            tokio::spawn(server.serve_with_incoming(incoming));
            asked.await;

            let (incoming, asked) = tonic("tonic's routes, in a layer, as a service");
            let routes = $layer.layer(Routes::new(Test).prepare());
            tokio::spawn(Server::builder().serve_with_incoming(routes, incoming));
            asked.await;

            let (incoming, asked) = tonic("one tonic service");
            let server = Server::builder().add_service($layer.named_layer(Test));
            tokio::spawn(server.serve_with_incoming(incoming));
            if !matches!(case.refusal, Refusal::Probe) {
                asked.await;
            }
        })
    };
}

fn in_axums_body<B>(response: Response<B>) -> Response<axum::body::Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(axum::body::Body::new)
}

// ───────────────────────────────────────────────────────────────────────────── the layers

#[test]
fn a_limit_on_a_call_can_be_put_anywhere() {
    everywhere!(CASE, TimeoutLayer::new(100 * MS).answer());
}

#[test]
fn a_limit_on_an_attempt_can_be_put_anywhere() {
    everywhere!(CASE, AttemptTimeoutLayer::new(100 * MS).answer());
}

const TIMEOUT: HeaderName = HeaderName::from_static("x-timeout-ms");

#[test]
fn what_reads_a_deadline_can_be_put_anywhere() {
    let layer = || ReceiveDeadlineLayer::new(TimeoutHeader::Millis(TIMEOUT)).answer();
    let edit = |request: &mut Request<Body>| {
        request.headers_mut().insert(TIMEOUT, HeaderValue::from_static("100"));
    };
    everywhere!(Case { edit, ..CASE }, layer());
    let edit = |request: &mut Request<Body>| {
        request.headers_mut().insert(TIMEOUT, HeaderValue::from_static("soon"));
    };
    let refusal = Refusal::Problem { status: StatusCode::BAD_REQUEST, grpc: "3", advice: false };
    everywhere!(Case { path: "/hello", edit, refusal, ..CASE }, layer());
}

#[test]
fn what_verifies_tokens_can_be_put_anywhere() {
    let verifier = Verifier::builder().keys(Keys::pending()).algorithms([Algorithm::Es256]);
    let verifier = verifier.any_issuer().any_audience().build().unwrap();
    let edit = |request: &mut Request<Body>| {
        request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer a.b.c"));
    };
    let refusal = Refusal::Problem { status: StatusCode::UNAUTHORIZED, grpc: "16", advice: false };
    let layer = || JwtLayer::new(verifier.clone()).optional().answer();
    everywhere!(Case { path: "/hello", edit, refusal, ..CASE }, layer());
}

#[test]
fn what_requires_scopes_can_be_put_anywhere() {
    let refusal = Refusal::Problem { status: StatusCode::UNAUTHORIZED, grpc: "16", advice: false };
    let case = Case { path: "/hello", refusal, next: StatusCode::UNAUTHORIZED, ..CASE };
    everywhere!(case, RequireLayer::scopes(["orders:write"]).unwrap().answer());
}

#[test]
fn a_limit_on_the_size_of_bodies_can_be_put_anywhere() {
    let edit = |request: &mut Request<Body>| *request.body_mut() = Body::from("x".repeat(2_000));
    let refusal = Refusal::Problem { status: StatusCode::PAYLOAD_TOO_LARGE, grpc: "8", advice: false };
    everywhere!(Case { path: "/read", edit, refusal, ..CASE }, RequestBodyLimitLayer::new(1_000).answer());
}

#[test]
fn a_limit_on_the_time_of_bodies_can_be_put_anywhere() {
    let edit = |request: &mut Request<Body>| *request.body_mut() = slow_body();
    let case = Case { path: "/read", edit, refusal: Refusal::OfTheHandler, http1: false, ..CASE };
    let limits = BodyLimits::new().idle(100 * MS);
    everywhere!(case, RequestBodyTimeoutLayer::new(limits));
}

fn slow_body() -> Body {
    let pieces = stream::iter(["half", "more"]).then(|piece| async move {
        tokio::time::sleep(1_000 * MS).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))
    });
    Body::new(StreamBody::new(Box::pin(pieces)))
}

#[test]
fn a_circuit_can_be_put_anywhere() {
    let settings = || BreakerSettings::new().min_calls(2);
    let refusal = Refusal::Problem { status: StatusCode::SERVICE_UNAVAILABLE, grpc: "14", advice: true };
    let next = StatusCode::SERVICE_UNAVAILABLE;
    let case = Case { failing: 2, path: "/hello", refusal, next, ..CASE };
    everywhere!(case, BreakerLayer::from(Breaker::new(settings()).unwrap()).answer());
    everywhere!(case, BreakersLayer::from(Breakers::new(settings()).unwrap()).answer());
}

#[test]
fn what_answers_probes_can_be_put_anywhere() {
    let not_ready = || -> Ready<bool> { ready(false) };
    let layer =
        || HealthLayer::from(Health::builder().readiness("it", Impact::Hard, not_ready).build().unwrap());
    everywhere!(Case { path: "/readyz", refusal: Refusal::Probe, ..CASE }, layer());
}
