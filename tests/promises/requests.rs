//! What a server says of the requests that it was sent: what they are called, and what became of them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use stonework::Body;
use stonework::base::{
    Asked, BoxError, ClientAddress, Detach, Error, Kind, Peer, Problem, Refuse, RequestId, Rng, Route,
    TraceContext, TrustedPeers,
};
use stonework::limit::{ClientAddressLayer, TrustedProxies};
use stonework::observe::{
    AccessLogLayer, Prometheus, RequestIdLayer, RequestSpanLayer, RouteLayer, ServerMetricsLayer, TraceLayer,
};
use stonework::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tracing::field::{Field, Visit};

use crate::support::{Everything, SECOND};

// ───────────────────────────────────────────────────────────────────────────── names

fn asked(headers: &[(&'static str, &str)], peer: &str) -> Request<Body> {
    let mut request = Request::get("/path?query=secret").body(Body::empty()).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request.extensions_mut().insert(Peer::from(peer.parse::<SocketAddr>().unwrap()));
    request
}

/// Answers with the request id and the trace that are in scope, which are those of the extensions.
async fn named(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    tokio::task::yield_now().await;
    let (id, trace) = (RequestId::current(), TraceContext::current());
    assert_eq!(RequestId::of(request.extensions()), id.as_ref());
    assert_eq!(request.extensions().get::<TraceContext>(), trace.as_ref());
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert((id, trace));
    Ok(response)
}

fn told(response: &Response<impl Sized>) -> (Option<RequestId>, Option<TraceContext>) {
    response.extensions().get().cloned().unwrap()
}

#[tokio::test]
async fn a_request_id_is_taken_over_from_trusted_peers_only_and_goes_back_with_the_answer() {
    let trusted = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    let service = RequestIdLayer::new().accept_from(trusted).layer(service_fn(named));
    let long = "x".repeat(129);
    for (headers, peer, taken) in [
        (&[("x-request-id", "order-42")][..], "10.1.2.3:1", true),
        (&[("x-request-id", "order-42")], "[::ffff:10.1.2.3]:1", true),
        (&[("x-request-id", "order-42")], "192.0.2.7:1", false),
        (&[("x-request-id", "order-42"), ("x-request-id", "order-42")], "10.1.2.3:1", false),
        (&[("x-request-id", "two words")], "10.1.2.3:1", false),
        (&[("x-request-id", "<script>")], "10.1.2.3:1", false),
        (&[("x-request-id", &long)], "10.1.2.3:1", false),
        (&[("x-request-id", "")], "10.1.2.3:1", false),
        (&[], "10.1.2.3:1", false),
    ] {
        let response = service.clone().oneshot(asked(headers, peer)).await.unwrap();
        let id = told(&response).0.unwrap();
        assert_eq!(response.headers()["x-request-id"], id.as_str(), "{headers:?}");
        assert_eq!(id.as_str() == "order-42", taken, "{headers:?} from {peer}");
        assert!(taken || id.as_str().len() == 32, "{id}");
    }
}

#[tokio::test]
async fn whoever_passes_a_head_on_passes_on_no_name_that_was_not_believed() {
    const FORGED: &str = "00-12345678901234567890123456789012-1234567890123456-01";
    let seen = Arc::new(Mutex::new(HeaderMap::new()));
    let sees = Arc::clone(&seen);
    let handler = service_fn(move |request: Request<Body>| {
        *sees.lock().unwrap() = request.headers().clone();
        named(request)
    });
    let nobody = TraceLayer::new().accept_from(TrustedPeers::nobody());
    let edge = ServiceBuilder::new().layer(RequestIdLayer::new()).layer(nobody).service(handler);
    let forged = [
        ("x-request-id", "order-42"),
        ("x-request-id", "order-43"),
        ("traceparent", FORGED),
        ("tracestate", "a=1"),
    ];
    let response = edge.clone().oneshot(asked(&forged, "192.0.2.7:1")).await.unwrap();
    let (id, trace) = told(&response);
    let headers = std::mem::take(&mut *seen.lock().unwrap());
    let ids: Vec<_> = headers.get_all("x-request-id").iter().collect();
    assert_eq!(ids, [id.unwrap().header_value()]);
    assert_eq!(TraceContext::of(&headers).unwrap().unwrap().trace_id(), trace.unwrap().trace_id());
    assert!(!headers.contains_key("tracestate"));
    // Who says nothing has nothing put into its mouth.
    edge.oneshot(asked(&[], "192.0.2.7:1")).await.unwrap();
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_is_believed_by_default_and_what_is_made_is_another_each_time() {
    let service = RequestIdLayer::new().layer(service_fn(named));
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let response =
            service.clone().oneshot(asked(&[("x-request-id", "mine")], "127.0.0.1:1")).await.unwrap();
        ids.insert(told(&response).0.unwrap());
    }
    assert_eq!(ids.len(), 100);
    assert!(!ids.contains(&RequestId::try_from("mine").unwrap()));
    let seeded = || RequestIdLayer::new().rng(Rng::seeded(7)).layer(service_fn(named));
    let [one, other] = [seeded(), seeded()].map(|service| service.oneshot(asked(&[], "127.0.0.1:1")));
    assert_eq!(told(&one.await.unwrap()).0, told(&other.await.unwrap()).0, "a seed repeats it");
}

#[tokio::test]
async fn a_trace_goes_on_with_a_span_of_its_own_or_begins() {
    const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";
    let service = TraceLayer::new().layer(service_fn(named));
    let trace = async |headers: &[(&'static str, &str)]| {
        let response = service.clone().oneshot(asked(headers, "192.0.2.7:1")).await.unwrap();
        told(&response).1.unwrap()
    };
    let taken = trace(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]).await;
    assert_eq!(taken.trace_id().to_string(), "12345678901234567890123456789012");
    assert_ne!(taken.span_id().to_string(), "1234567890123456");
    assert_eq!((taken.is_sampled(), taken.state()), (true, Some("a=1,b=2")));
    for headers in [
        &[][..],
        &[("traceparent", PARENT), ("traceparent", PARENT)],
        &[("traceparent", "00-00000000000000000000000000000000-1234567890123456-01")],
        &[("tracestate", "a=1")],
    ] {
        let begun = trace(headers).await;
        assert_ne!(begun.trace_id(), taken.trace_id(), "{headers:?}");
        assert_eq!((begun.is_sampled(), begun.is_random(), begun.state()), (true, true, None));
    }
    let distrustful = TraceLayer::new().accept_from(TrustedPeers::nobody()).layer(service_fn(named));
    let response = distrustful.oneshot(asked(&[("traceparent", PARENT)], "192.0.2.7:1")).await.unwrap();
    assert_ne!(told(&response).1.unwrap().trace_id(), taken.trace_id());
    let unsampled = TraceLayer::new().sample(stonework::base::Ratio::ZERO).layer(service_fn(named));
    let response = unsampled.oneshot(asked(&[], "192.0.2.7:1")).await.unwrap();
    assert!(!told(&response).1.unwrap().is_sampled());
}

#[tokio::test]
async fn names_go_along_with_detached_work_and_a_body_that_is_read_and_not_with_what_is_spawned() {
    let detach = Detach::default();
    let service = RequestIdLayer::new().layer(service_fn(move |_: Request<Body>| {
        let detach = detach.clone();
        async move {
            let here = RequestId::current();
            assert!(here.is_some());
            let detached = detach.spawn(async { RequestId::current() }).unwrap().await.unwrap();
            assert_eq!(detached, here);
            assert_eq!(tokio::spawn(async { RequestId::current() }).await.unwrap(), None);
            let body = StreamBody::new(futures_util::stream::once(async move {
                assert_eq!(RequestId::current(), here);
                Ok::<_, BoxError>(http_body::Frame::data(Bytes::from("read")))
            }));
            Ok::<_, Infallible>(Response::new(Body::new(body)))
        }
    }));
    let response = service.oneshot(asked(&[], "192.0.2.7:1")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "read");
    assert_eq!(RequestId::current(), None);
}

#[tokio::test]
async fn a_layer_that_is_switched_off_names_nothing() {
    let service = ServiceBuilder::new()
        .layer(RequestIdLayer::new().when(false))
        .layer(TraceLayer::new().when(false))
        .service_fn(named);
    let response = service.oneshot(asked(&[], "192.0.2.7:1")).await.unwrap();
    assert_eq!(told(&response), (None, None));
    assert!(response.headers().is_empty());
}

// ───────────────────────────────────────────────────────────────────────────── a line for each

pub(crate) type Line = HashMap<&'static str, String>;

/// Keeps the lines of the access log.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those so far, which are counted no more.
    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(crate) fn all(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }
}

struct Reading<'a>(&'a mut Line);

impl Visit for Reading<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "stonework::access"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::new();
        event.record(&mut Reading(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// What is written while this runs.
fn written(work: impl Future<Output = ()>) -> Vec<Line> {
    let lines = Lines::default();
    virtually(lines.clone(), work);
    lines.all()
}

fn virtually(subscriber: impl tracing::Subscriber + Send + Sync, work: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    crate::support::subscriber::with_default(subscriber, || runtime.block_on(work));
}

/// An error of others, around one of ours.
#[derive(Debug)]
struct Foreign(Error);

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("foreign")
    }
}

impl std::error::Error for Foreign {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// A service with every way of ending.
async fn every_way(request: Request<Body>) -> Result<Response<Body>, Error> {
    let answer = |status: u16, body: Body| Response::builder().status(status).body(body).unwrap();
    Ok(match request.uri().path() {
        "/good" => answer(200, Body::from("12345")),
        "/empty" => answer(204, Body::empty()),
        "/missing" => answer(404, Body::from("no")),
        "/broken" => answer(500, Body::from("oh")),
        "/refused" => Problem.refuse(Asked::default(), &Error::new(Kind::Overload, "full")).map(Body::from),
        "/slow" => {
            tokio::time::sleep(2 * SECOND).await;
            answer(200, Body::from("late"))
        }
        "/fails" => return Err(Error::new(Kind::Transport, "secret")),
        "/nested" => {
            return Err(Error::wrap(Foreign(Error::new(Kind::Overload, "secret"))));
        }
        "/breaks" => answer(200, streamed(vec![Ok("123".into()), Err("secret".into())])),
        "/streams" => answer(200, streamed(vec![Ok("123".into()), Ok("456".into())])),
        "/never" => std::future::pending().await,
        other => panic!("{other}"),
    })
}

fn streamed(pieces: Vec<Result<Bytes, BoxError>>) -> Body {
    let frames = pieces.into_iter().map(|piece| piece.map(http_body::Frame::data));
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn of(path: &str) -> Request<Body> {
    Request::get(format!("http://host{path}?secret")).body(Body::empty()).unwrap()
}

/// Read as a server does: to the end, or until it breaks off.
async fn read<S, B>(service: S, request: Request<Body>) -> Option<u16>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body,
{
    let response = service.oneshot(request).await.ok()?;
    let status = response.status().as_u16();
    let mut body = pin!(response.into_body());
    while let Some(Ok(_)) = body.frame().await {}
    Some(status)
}

pub(crate) fn field<'a>(lines: &'a [Line], name: &str) -> Vec<Option<&'a str>> {
    lines.iter().map(|line| line.get(name).map(String::as_str)).collect()
}

#[test]
fn there_is_one_line_for_each_request_at_its_end_which_says_how_it_ended() {
    let lines = written(async {
        let service = AccessLogLayer::new().layer(service_fn(every_way));
        for path in ["/good", "/empty", "/missing", "/broken", "/refused", "/slow"] {
            read(service.clone(), of(path)).await;
        }
        for path in ["/fails", "/nested", "/breaks"] {
            read(service.clone(), of(path)).await;
        }
        // Whoever leaves before the answer.
        let mut leaves = Box::pin(service.clone().oneshot(of("/never")));
        assert!(leaves.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(leaves);
        // And in the middle of it.
        let mut body = service.clone().oneshot(of("/streams")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        // A head that has no body: what stands in it is not sent.
        let mut head = of("/good");
        *head.method_mut() = http::Method::HEAD;
        drop(service.oneshot(head).await.unwrap());
    });
    assert_eq!(
        field(&lines, "ended").into_iter().map(Option::unwrap).collect::<Vec<_>>(),
        [
            "complete", "complete", "complete", "complete", "complete", "complete", "failed", "failed",
            "failed", "aborted", "aborted", "complete"
        ]
    );
    let statuses = field(&lines, "http.response.status_code");
    assert_eq!(
        statuses.iter().map(|status| status.map_or(0, |text| text.parse().unwrap())).collect::<Vec<u16>>(),
        [200, 204, 404, 500, 503, 200, 0, 0, 200, 0, 200, 200]
    );
    assert_eq!(
        field(&lines, "error.type"),
        [
            None,
            None,
            None,
            Some("500"),
            Some("503"),
            None,
            Some("transport"),
            Some("overload"),
            Some("body"),
            Some("aborted"),
            Some("aborted"),
            None
        ]
    );
    let sizes = field(&lines, "http.response.body.size");
    assert_eq!((sizes[0], sizes[1], sizes[8], sizes[10]), (Some("5"), Some("0"), Some("3"), Some("3")));
    assert_eq!(field(&lines, "duration")[5], Some("2.0"), "to the end");
    assert!(
        lines
            .iter()
            .all(|line| line["http.request.method"] == "GET" || line["http.request.method"] == "HEAD")
    );
}

#[test]
fn a_call_that_ran_out_of_time_is_a_line_that_says_so() {
    let lines = written(async {
        let stack = ServiceBuilder::new()
            .layer(AccessLogLayer::new())
            .layer(TimeoutLayer::new(SECOND))
            .service_fn(every_way);
        read(stack, of("/slow")).await;
        let stack = ServiceBuilder::new()
            .layer(AccessLogLayer::new())
            .layer(TimeoutLayer::new(SECOND).answer())
            .service_fn(every_way);
        read(stack, of("/slow")).await;
    });
    assert_eq!(field(&lines, "error.type"), [Some("timeout"), Some("504")]);
    assert_eq!(field(&lines, "ended"), [Some("failed"), Some("complete")]);
}

#[test]
fn a_panic_is_a_failure_and_not_a_client_that_left() {
    let lines = written(async {
        let service = AccessLogLayer::new().layer(service_fn(every_way));
        let call = service.oneshot(of("/panics"));
        let panicked = tokio::spawn(tracing::instrument::WithSubscriber::with_current_subscriber(call)).await;
        assert!(panicked.unwrap_err().is_panic());
    });
    assert_eq!(
        (field(&lines, "ended"), field(&lines, "error.type")),
        (vec![Some("failed")], vec![Some("panic")])
    );
}

#[test]
fn a_line_has_the_names_the_client_and_the_route_whatever_the_order_of_the_layers() {
    let lines = written(async {
        for order in [false, true] {
            let address = ClientAddressLayer::new(TrustedProxies::hops(1).unwrap());
            let names = ServiceBuilder::new().layer(RequestIdLayer::new()).layer(TraceLayer::new());
            let inner = RouteLayer::new("/users/{id}").layer(service_fn(every_way));
            let mut request = of("/good");
            request.headers_mut().insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
            if order {
                let stack = names.layer(AccessLogLayer::new()).layer(address).service(inner);
                read(stack, request).await;
            } else {
                // An outer log hears of what is found out further in, but not of names that are given inside.
                let stack = ServiceBuilder::new().layer(AccessLogLayer::new()).layer(names.into_inner());
                read(stack.layer(address).service(inner), request).await;
            }
        }
    });
    assert_eq!(field(&lines, "http.route"), [Some("/users/{id}"); 2]);
    assert_eq!(field(&lines, "client.address"), [Some("192.0.2.7"); 2]);
    assert!(!lines[0].contains_key("request_id") && !lines[0].contains_key("trace_id"));
    assert_eq!(
        (lines[1]["request_id"].len(), lines[1]["trace_id"].len(), lines[1]["span_id"].len()),
        (32, 32, 16)
    );
}

#[test]
fn neither_a_line_nor_a_span_nor_a_label_has_a_query_a_header_or_a_body() {
    let everything = Everything::default();
    let (prometheus, recorder) = Prometheus::with_recorder();
    metrics::with_local_recorder(&recorder, || {
        virtually(everything.clone(), async {
            let stack = ServiceBuilder::new()
                .layer(RequestIdLayer::new())
                .layer(TraceLayer::new())
                .layer(RequestSpanLayer::new())
                .layer(AccessLogLayer::new())
                .layer(ServerMetricsLayer::new())
                .service_fn(|_: Request<Body>| async {
                    let body = Body::from("secret");
                    Ok::<_, Infallible>(
                        Response::builder().header("set-cookie", "secret").body(body).unwrap(),
                    )
                });
            let request = Request::builder()
                .method("SECRET")
                .uri("http://secret:secret@secret/secret?secret")
                .header("authorization", "secret")
                .header("x-request-id", "secret")
                .header("tracestate", "secret=secret")
                .header("user-agent", "secret")
                .body(Body::from("secret"))
                .unwrap();
            read(stack, request).await;
        });
    });
    let text = everything.text() + &prometheus.render();
    assert!(text.contains("stonework::access") && text.contains("_OTHER"), "{text}");
    assert!(!text.to_lowercase().contains("secret"), "{text}");
}

#[test]
fn a_path_is_written_down_only_if_that_was_asked_for_and_then_without_its_query() {
    let lines = written(async {
        for layer in [AccessLogLayer::new(), AccessLogLayer::new().paths()] {
            read(layer.layer(service_fn(every_way)), of("/good")).await;
        }
    });
    assert_eq!(field(&lines, "url.path"), [None, Some("/good")]);
}

#[test]
fn a_call_of_grpc_is_told_by_its_status_wherever_that_stands() {
    let (prometheus, recorder) = Prometheus::with_recorder();
    let counted = metrics::set_default_local_recorder(&recorder);
    let lines = written(async {
        let both = ServiceBuilder::new().layer(AccessLogLayer::new()).layer(ServerMetricsLayer::new());
        let service = both.service(service_fn(|request: Request<Body>| async move {
            let mut response = Response::builder().header("content-type", "application/grpc");
            let body = match request.uri().path() {
                "/head" => {
                    response = response.header("grpc-status", "5");
                    Body::empty()
                }
                path => {
                    let status = if path == "/good" { "0" } else { "14" };
                    let name = http::HeaderName::from_static("grpc-status");
                    let trailers = http::HeaderMap::from_iter([(name, status.parse().unwrap())]);
                    let frames = [
                        http_body::Frame::data(Bytes::from("message")),
                        http_body::Frame::trailers(trailers),
                    ];
                    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, BoxError>)));
                    Body::new(body)
                }
            };
            Ok::<_, Infallible>(response.body(body).unwrap())
        }));
        for path in ["/head", "/good", "/bad"] {
            let mut request = of(path);
            request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            read(service.clone(), request).await;
        }
        read(service, of("/bad")).await;
    });
    assert_eq!(
        field(&lines, "rpc.grpc.status"),
        [Some("NOT_FOUND"), Some("OK"), Some("UNAVAILABLE"), None],
        "only of what was asked in gRPC"
    );
    assert_eq!(field(&lines, "error.type"), [None, None, Some("UNAVAILABLE"), None]);
    drop(counted);
    let text = prometheus.render();
    let series =
        |labels: &str| text.lines().any(|line| line.contains("duration_count") && line.contains(labels));
    for (code, error) in [(5, ""), (0, ""), (14, ",error_type=\"UNAVAILABLE\"")] {
        let labels = format!("http_response_status_code=\"200\",rpc_grpc_status_code=\"{code}\"{error}}}");
        assert!(series(&labels), "{labels} in {text}");
    }
}

// ───────────────────────────────────────────────────────────────────────────── counted

fn router() -> Router {
    Router::new()
        .route(
            "/users/{id}",
            get(|| async { "hello" }).post(|body: Bytes| async move { (StatusCode::CREATED, body) }),
        )
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/slow", post(|| async { tokio::time::sleep(SECOND).await }))
        .layer(RouteLayer::matched())
}

/// As Prometheus reads it, in an order, without buckets.
fn scraped(work: impl Future<Output = ()>) -> Vec<String> {
    let (prometheus, recorder) = Prometheus::with_recorder();
    metrics::with_local_recorder(&recorder, || {
        ServerMetricsLayer::describe();
        virtually(tracing::subscriber::NoSubscriber::default(), work);
    });
    let mut lines: Vec<_> = prometheus.render().lines().map(str::to_owned).collect();
    lines.retain(|line| !line.is_empty() && !line.contains("_bucket{"));
    lines.sort();
    lines
}

#[test]
fn a_scrape_after_a_script_has_exactly_these_names_labels_and_counts() {
    let lines = scraped(async {
        let service = ServerMetricsLayer::new().layer(router());
        let request = |method: &str, path: &str, body: &'static str| {
            Request::builder()
                .method(method)
                .uri(format!("http://host{path}?secret"))
                .body(axum::body::Body::from(body))
        };
        for (method, path, body) in [
            ("GET", "/users/1", ""),
            ("GET", "/users/2", ""),
            ("POST", "/users/1", "12345"),
            ("GET", "/broken", ""),
            ("POST", "/slow", ""),
            ("GET", "/nowhere", ""),
            ("BREW", "/users/1", ""),
        ] {
            let response = service.clone().oneshot(request(method, path, body).unwrap()).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        let mut leaves = Box::pin(service.oneshot(request("POST", "/slow", "").unwrap()));
        assert!(leaves.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    let golden = include_str!("requests/scrape.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
}

#[test]
fn ten_thousand_paths_add_no_value_to_a_label() {
    let series = |paths: u32| {
        let lines = scraped(async move {
            let service = ServerMetricsLayer::new().layer(router());
            for number in 0..paths {
                for path in ["", "/users"] {
                    let uri = format!("http://host{path}/{number}");
                    let request = Request::get(uri).body(axum::body::Body::empty()).unwrap();
                    let response = service.clone().oneshot(request).await.unwrap();
                    response.into_body().collect().await.unwrap();
                }
            }
        });
        let names = lines.iter().filter(|line| !line.starts_with('#'));
        names.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(series(10_000), series(1));
}

#[tokio::test]
async fn what_is_being_answered_is_counted_until_the_answer_is_over() {
    let (prometheus, recorder) = Prometheus::with_recorder();
    let active = || {
        let text = prometheus.render();
        let line = text.lines().find(|line| line.starts_with("http_server_active_requests"));
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<i32>().unwrap())
    };
    let local = metrics::set_default_local_recorder(&recorder);
    let service = ServerMetricsLayer::new().layer(service_fn(every_way));
    let mut waits = Box::pin(service.clone().oneshot(of("/never")));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut body = service.oneshot(of("/streams")).await.unwrap().into_body();
    assert_eq!(active(), 2);
    drop(waits);
    assert_eq!(active(), 1);
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    assert_eq!(active(), 0, "also while somebody still has the body");
    drop(local);
}

#[tokio::test]
async fn a_scrape_is_answered_and_nothing_else() {
    let (prometheus, _recorder) = Prometheus::with_recorder();
    let service = prometheus.service();
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("DELETE", 405)] {
        let request = Request::builder().method(method).uri("/metrics").body(()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{method}");
        let text = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text.is_some_and(|text| text.starts_with("text/plain; version=0.0.4")), status == 200);
    }
}

// ───────────────────────────────────────────────────────────────────────────── routes

#[tokio::test]
async fn a_route_is_known_inside_and_outside_and_also_if_an_answer_brings_it() {
    let inside = service_fn(|request: Request<Body>| async move {
        assert_eq!(Route::of(request.extensions()).map(Route::as_str), Some("/inside"));
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    RouteLayer::new("/inside").layer(inside).oneshot(of("/good")).await.unwrap();
    let off = RouteLayer::new("/inside").when(false).layer(service_fn(|request: Request<Body>| async move {
        assert_eq!(Route::of(request.extensions()), None);
        assert_eq!(ClientAddress::of(request.extensions()), ClientAddress::default());
        Ok::<_, Infallible>(Response::new(Body::empty()))
    }));
    off.oneshot(of("/good")).await.unwrap();
}

#[test]
fn a_layer_inside_of_a_router_sees_what_it_has_matched() {
    let lines = written(async {
        let router =
            Router::new().route("/users/{id}", get(|| async { "hello" })).layer(AccessLogLayer::new());
        let request = Request::get("/users/1").body(axum::body::Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        let brings = AccessLogLayer::new().layer(service_fn(|_: Request<Body>| async {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Route::from("/brought"));
            Ok::<_, Infallible>(response)
        }));
        read(brings, of("/good")).await;
    });
    assert_eq!(field(&lines, "http.route"), [Some("/users/{id}"), Some("/brought")]);
}
