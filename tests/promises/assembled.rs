//! Whole servers and clients on sockets: deadlines and names that cross hops, the order of a server, what is said of its requests.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use stonework::base::{ClientAuth, Deadline, PrincipalKey, Rng, TraceContext, TrustedPeers, deadline};
use stonework::client::{Client, ClientSettings};
use stonework::health::Health;
use stonework::idempotency::{IdempotencyLayer, MemoryStore};
use stonework::jwt::{Algorithm, IntrospectLayer, Introspector, JwtLayer, Key, Verifier};
use stonework::limit::{ConcurrencyLimiter, KeyedRateLimiter, Quota};
use stonework::observe::Propagation;
use stonework::server::{Server, ServerBuilder, ServerSettings};
use stonework::{Body, Error};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::Service;

use crate::requests::{Lines, field};
use crate::support::soon;

const MS: Duration = Duration::from_millis(1);

/// A server of this service; it stops when this is dropped.
struct Running {
    addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    async fn start<S>(builder: ServerBuilder, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error: Into<stonework::base::BoxError> + Send>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let server = builder.bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr();
        let serving = async move {
            server.serve(service).await;
        };
        Self { addr, serving: tokio::spawn(serving) }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

fn settings() -> ServerSettings {
    ServerSettings::new().lame_duck(Duration::ZERO)
}

/// Without retries, whose story is another one.
fn client(settings: ClientSettings) -> Client {
    Client::builder().settings(settings.without_retry().without_breaker()).build().unwrap()
}

fn empty(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

// ───────────────────────────────────────────────────────────────────────────── deadlines

/// What a hop has heard and seen, and whether it is still at work.
#[derive(Clone, Default)]
struct Hop {
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    left: Arc<Mutex<Vec<Option<Duration>>>>,
    begun: Arc<Notify>,
    dropped: Arc<Notify>,
}

impl Hop {
    fn note(&self, request: &Request<Body>) -> AtTheEnd {
        self.heads.lock().unwrap().push(request.headers().clone());
        let now = Instant::now();
        self.left.lock().unwrap().push(Deadline::current().map(|deadline| deadline.remaining(now)));
        self.begun.notify_one();
        AtTheEnd(Arc::clone(&self.dropped))
    }

    fn told(&self) -> Option<u64> {
        let heads = self.heads.lock().unwrap();
        heads.last()?.get("stonework-timeout-ms")?.to_str().ok()?.parse().ok()
    }

    fn left(&self) -> Option<Duration> {
        *self.left.lock().unwrap().last().expect("a request")
    }
}

struct AtTheEnd(Arc<Notify>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// B, which asks C, which never answers; and what each of them has seen.
async fn b_and_c(http2: bool, detached: bool) -> (Running, Running, Hop, Hop) {
    let (b, c) = (Hop::default(), Hop::default());
    let seen = c.clone();
    let at_c = Running::start(
        Server::builder().settings(settings()),
        tower::service_fn(move |request: Request<Body>| {
            let seen = seen.clone();
            async move {
                let _at_the_end = seen.note(&request);
                std::future::pending::<Result<Response<Body>, Infallible>>().await
            }
        }),
    )
    .await;
    let (seen, next) = (b.clone(), at_c.uri("/"));
    let wire = if http2 { ClientSettings::new().http2_only() } else { ClientSettings::new() };
    let client = client(wire);
    let at_b = Running::start(
        Server::builder().settings(settings()),
        tower::service_fn(move |request: Request<Body>| {
            let (seen, next, client) = (seen.clone(), next.clone(), client.clone());
            async move {
                let _at_the_end = seen.note(&request);
                let call = client.get(next).send();
                let answer = if detached { deadline::detached(call).await } else { call.await };
                Ok::<_, Infallible>(empty(answer.map_or(502, |answer| answer.status().as_u16())))
            }
        }),
    )
    .await;
    (at_b, at_c, b, c)
}

#[tokio::test]
async fn a_deadline_crosses_two_hops_by_itself_and_is_shorter_at_each() {
    for http2 in [false, true] {
        let (at_b, _at_c, b, c) = b_and_c(http2, false).await;
        let limit = 300 * MS;
        let began = Instant::now();
        let answer = soon(client(ClientSettings::new().deadline(limit)).get(at_b.uri("/")).send()).await;
        // B hears of it in time to say so, or A gives up by itself.
        assert!(answer.map_or_else(|error| error.is_timeout(), |answer| answer.status().is_server_error()));
        let took = began.elapsed();
        assert!(took < 2 * limit, "{took:?}");
        soon(c.dropped.notified()).await;
        let late = began.elapsed().saturating_sub(limit);
        assert!(late < 100 * MS, "C worked on for {late:?}");
        let (told_b, told_c) = (b.told().unwrap(), c.told().unwrap());
        assert!(told_c < told_b && told_b <= 290, "{told_b} and then {told_c} ms");
        let (left_b, left_c) = (b.left().unwrap(), c.left().unwrap());
        assert!(left_c < left_b && left_b < limit, "{left_b:?} and then {left_c:?}");
    }
}

#[tokio::test]
async fn when_a_leaves_the_work_of_b_and_of_c_is_dropped_soon() {
    for http2 in [false, true] {
        let (at_b, _at_c, b, c) = b_and_c(http2, false).await;
        let call = tokio::spawn(client(ClientSettings::new()).get(at_b.uri("/")).send());
        soon(c.begun.notified()).await;
        let left = Instant::now();
        call.abort();
        soon(b.dropped.notified()).await;
        soon(c.dropped.notified()).await;
        assert!(left.elapsed() < 500 * MS, "{:?}", left.elapsed());
    }
}

#[tokio::test]
async fn work_that_is_detached_from_its_deadline_says_nothing_of_it() {
    let (at_b, _at_c, b, c) = b_and_c(false, true).await;
    let _ = soon(client(ClientSettings::new().deadline(200 * MS)).get(at_b.uri("/")).send()).await;
    assert!(b.told().is_some_and(|told| told <= 200));
    // That of B's client alone: ten seconds for an attempt.
    assert!(c.told().is_some_and(|told| told > 5_000), "{:?}", c.told());
}

/// A service that counts its calls, and takes its time where the path says so.
fn counted(
    calls: &Arc<AtomicU32>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    let calls = Arc::clone(calls);
    tower::service_fn(move |request: Request<Body>| {
        calls.fetch_add(1, Ordering::Relaxed);
        async move {
            if request.uri().path() == "/slow" {
                std::future::pending::<()>().await;
            }
            Ok(empty(200))
        }
    })
}

async fn asked(
    server: &Running,
    headers: &[(&'static str, &str)],
    path: &str,
) -> stonework::client::Response {
    let mut request = Request::get(server.uri(path)).body(Body::empty()).unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let plain = client(ClientSettings::new().without_deadline_header().http2_only());
    soon(plain.send(request)).await.unwrap()
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn a_deadline_that_is_spent_or_cannot_be_read_is_refused_before_any_work() {
    let calls = Arc::new(AtomicU32::new(0));
    let server = Running::start(Server::builder().settings(settings()), counted(&calls)).await;
    for (value, status) in [("0", 504), ("soon", 400), ("-1", 400)] {
        let answer = asked(&server, &[("stonework-timeout-ms", value)], "/").await;
        assert_eq!(answer.status(), status, "{value}");
        assert_eq!(answer.headers()["x-request-id"].len(), 32, "also what is refused has a name");
    }
    for (value, status) in [("0n", "4"), ("soon", "3")] {
        let answer = asked(&server, &[GRPC, ("grpc-timeout", value)], "/").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["grpc-status"]),
            (200, &status.parse().unwrap())
        );
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    // Each in the header of its kind.
    assert_eq!(asked(&server, &[("grpc-timeout", "0n")], "/").await.status(), 200);
    assert_eq!(asked(&server, &[GRPC, ("stonework-timeout-ms", "0")], "/").await.status(), 200);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_a_caller_says_is_cut_to_the_limit_of_the_server_and_ignored_from_those_who_are_not_believed() {
    let calls = Arc::new(AtomicU32::new(0));
    let strict = settings().deadline(100 * MS);
    let server = Running::start(Server::builder().settings(strict.clone()), counted(&calls)).await;
    for headers in [&[("stonework-timeout-ms", "3600000")][..], &[]] {
        let began = Instant::now();
        assert_eq!(asked(&server, headers, "/slow").await.status(), 504);
        assert!((100 * MS..2_000 * MS).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
    let edge = strict.deadline_from(TrustedPeers::networks(["192.0.2.0/24"]).unwrap());
    let server = Running::start(Server::builder().settings(edge), counted(&calls)).await;
    for value in ["0", "soon"] {
        assert_eq!(asked(&server, &[("stonework-timeout-ms", value)], "/").await.status(), 200, "{value}");
    }
    assert_eq!(asked(&server, &[], "/slow").await.status(), 504, "its own limit stays");
    let deaf = settings().without_deadline_from();
    let server = Running::start(Server::builder().settings(deaf), counted(&calls)).await;
    assert_eq!(asked(&server, &[("stonework-timeout-ms", "0")], "/").await.status(), 200);
}

// ───────────────────────────────────────────────────────────────────────────── names

#[tokio::test]
async fn a_request_id_and_a_trace_cross_two_hops_by_themselves() {
    let trusting = || Server::builder().settings(settings().request_id_from(TrustedPeers::everybody()));
    let c = Hop::default();
    let seen = c.clone();
    let at_c = Running::start(
        trusting(),
        tower::service_fn(move |request: Request<Body>| {
            drop(seen.note(&request));
            async { Ok::<_, Infallible>(empty(200)) }
        }),
    )
    .await;
    let (next, client_of_b) = (at_c.uri("/"), client(ClientSettings::new()));
    let at_b = Running::start(
        trusting(),
        tower::service_fn(move |_: Request<Body>| {
            let (next, client) = (next.clone(), client_of_b.clone());
            async move { Ok::<_, Error>(empty(client.get(next).send().await?.status().as_u16())) }
        }),
    )
    .await;
    let parent = "00-12345678901234567890123456789012-1234567890123456-01";
    let headers = [("x-request-id", "order-42"), ("traceparent", parent), ("tracestate", "a=1,b=2")];
    for _ in 0..2 {
        let answer = asked(&at_b, &headers, "/").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-request-id"]),
            (200, &"order-42".parse().unwrap())
        );
    }
    let heads = c.heads.lock().unwrap();
    let mut spans = HashSet::new();
    for head in heads.iter() {
        assert!(head["x-request-id"] == "order-42" && head["tracestate"] == "a=1,b=2", "{head:?}");
        let told = head["traceparent"].to_str().unwrap().to_owned();
        assert!(told.starts_with("00-12345678901234567890123456789012-") && told.ends_with("-01"), "{told}");
        assert_ne!(told, parent);
        spans.insert(told);
    }
    assert_eq!((heads.len(), spans.len()), (2, 2), "a span for each");
}

#[tokio::test]
async fn a_client_passes_on_what_there_is_and_nothing_else_unless_it_is_told_to() {
    let seen = Hop::default();
    let note = seen.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        drop(note.note(&request));
        async { Ok::<_, Infallible>(empty(200)) }
    });
    let server = Running::start(Server::builder().settings(settings()), service).await;
    for (propagation, begins) in
        [(Propagation::PassOn, false), (Propagation::Off, false), (Propagation::Begin, true)]
    {
        let client = client(ClientSettings::new().propagation(propagation));
        soon(client.get(server.uri("/")).send()).await.unwrap();
        let heads = seen.heads.lock().unwrap();
        let head = heads.last().unwrap();
        assert_eq!(head.contains_key("traceparent"), begins, "{propagation:?}");
        assert!(!head.contains_key("x-request-id"));
    }
}

// ───────────────────────────────────────────────────────────────────────────── the order

const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL2FwaS5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJzY29wZSI6Im9yZGVyczpyZWFkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.PJt8QGJ1_MM_TTYMLhRpI9fHoUt6R-N5A6WdqE32PKU";

type Setter = fn(ServerBuilder) -> ServerBuilder;

/// Every setter that puts something into the stack.
const SETTERS: [Setter; 6] = [
    |builder| {
        let settings =
            settings().max_request_body(10).deadline(10 * 1_000 * MS).access_log().queue_timeout(MS);
        builder.settings(settings.request_id_from(TrustedPeers::everybody()))
    },
    |builder| builder.health(Health::builder().build().unwrap()),
    |builder| {
        let key = Key::secret(Algorithm::Hs256, b"the secret of an example, 32 by.").unwrap();
        let verifier =
            Verifier::builder().keys(key).algorithms([Algorithm::Hs256]).any_issuer().any_audience();
        builder.jwt(JwtLayer::new(verifier.build().unwrap()))
    },
    |builder| builder.idempotency(IdempotencyLayer::new(MemoryStore::new())),
    |builder| {
        let limiter = KeyedRateLimiter::<PrincipalKey>::named("principal", Quota::per_hour(5)).unwrap();
        builder.principal_rate_limiter(limiter)
    },
    |builder| builder.concurrency_limiter(ConcurrencyLimiter::new(1).unwrap()),
];

fn in_this_order(order: &[usize]) -> ServerBuilder {
    order.iter().fold(Server::builder(), |builder, number| SETTERS[*number](builder))
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let insert = |order: &Vec<usize>| {
        let order = order.clone();
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    };
    shorter.iter().flat_map(insert).collect()
}

#[tokio::test]
async fn a_server_is_assembled_in_one_order_whatever_the_order_of_its_setters() {
    let explained = async |order: &[usize]| in_this_order(order).bind("127.0.0.1:0").await.unwrap().explain();
    let first = explained(&[0, 1, 2, 3, 4, 5]).await;
    let lines = [
        "connections:",
        "health:",
        "request id: that of everybody, or a new one\n",
        "trace: that of everybody, or a new one\n",
        "observe: a line of each request\n",
        "client address:",
        "deadline: 10s, or what everybody says in stonework-timeout-ms, in gRPC in grpc-timeout, if that is less\n",
        "rate limit: off\n",
        "concurrency: 1 at once",
        "request body:",
        "request size: up to 10 bytes\n",
        "tokens: looked at here; each request needs one\n",
        "principal rate limit: 5 in 3600s for each sender\n",
        "idempotency: keyed requests are done once\n",
        "service\n",
    ];
    let places: Vec<_> =
        lines.iter().map(|line| first.find(line).unwrap_or_else(|| panic!("{line}: {first}"))).collect();
    assert!(places.is_sorted(), "{first}");
    let all = orders(SETTERS.len());
    assert_eq!(all.len(), 720);
    for order in all {
        assert_eq!(explained(&order).await, first, "{order:?}");
    }
}

#[tokio::test]
async fn a_server_says_whether_each_request_needs_a_token() {
    let verifier = || {
        let key = Key::secret(Algorithm::Hs256, b"the secret of an example, 32 by.").unwrap();
        Verifier::builder()
            .keys(key)
            .algorithms([Algorithm::Hs256])
            .any_issuer()
            .any_audience()
            .build()
            .unwrap()
    };
    for (layer, expected) in [
        (JwtLayer::new(verifier()), "tokens: looked at here; each request needs one\n"),
        (JwtLayer::new(verifier()).optional(), "tokens: looked at here; who has none is let in, too\n"),
        (
            JwtLayer::new(verifier()).when(false),
            "tokens: looked at here; switched off, so everybody is let in\n",
        ),
    ] {
        let server = Server::builder().jwt(layer).bind("127.0.0.1:0").await.unwrap();
        assert!(server.explain().contains(expected), "{}", server.explain());
    }

    let nobody = Client::new();
    let builder =
        Introspector::builder("https://id.example/introspect", ClientAuth::basic("api", "a secret"));
    let introspector = builder.any_audience().build(nobody).unwrap();
    let server = Server::builder().introspect(IntrospectLayer::new(introspector));
    let server = server.bind("127.0.0.1:0").await.unwrap();
    assert!(server.explain().contains("tokens: asked for; each request needs one\n"), "{}", server.explain());
}

/// What a server says to a script in which something is wrong with nearly every request.
async fn faults(builder: ServerBuilder) -> Vec<(u16, Vec<&'static str>)> {
    let service = tower::service_fn(|request: Request<Body>| async {
        let body = stonework::base::body::collect_up_to(request.into_body(), 100).await;
        Ok::<_, Infallible>(if body.is_ok() { empty(201) } else { empty(400) })
    });
    let server = Running::start(builder, service).await;
    let client = client(ClientSettings::new().without_deadline_header());
    let ask = async |path: &str, headers: &[(&'static str, &str)], body: &'static str| {
        let mut request = Request::post(server.uri(path)).body(Body::from(body)).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let answer = soon(client.send(request)).await.unwrap();
        let told = ["x-request-id", "www-authenticate", "idempotency-replayed", "ratelimit", "retry-after"];
        let told = told.into_iter().filter(|name| answer.headers().contains_key(*name)).collect();
        (answer.status().as_u16(), told)
    };
    let (good, bad) = (("authorization", TOKEN), ("authorization", "Bearer forged"));
    let key = ("idempotency-key", "\"one\"");
    let spent = ("stonework-timeout-ms", "0");
    let large = "more than ten bytes";
    vec![
        ask("/", &[], "").await,
        ask("/", &[bad], "").await,
        ask("/", &[bad, spent], large).await,
        ask("/", &[bad], large).await,
        ask("/", &[key], large).await,
        ask("/", &[good, key], "a").await,
        ask("/", &[good, key], "a").await,
        ask("/", &[good, key], "b").await,
        ask("/", &[good], "a").await,
        ask("/", &[good], "a").await,
        ask("/", &[good, key], "a").await,
        ask("/livez", &[spent], "").await,
    ]
}

#[tokio::test]
async fn a_server_answers_the_same_faults_in_the_same_way_whatever_the_order_of_its_setters() {
    let expected = faults(in_this_order(&[0, 1, 2, 3, 4, 5])).await;
    let statuses: Vec<_> = expected.iter().map(|(status, _)| *status).collect();
    assert_eq!(
        statuses,
        [401, 401, 504, 413, 413, 201, 201, 422, 201, 201, 429, 405],
        "cheap refusals come first"
    );
    assert_eq!(expected[0].1, ["x-request-id", "www-authenticate"]);
    assert_eq!(expected[6].1, ["x-request-id", "idempotency-replayed", "ratelimit"]);
    for order in orders(SETTERS.len()).into_iter().step_by(60) {
        assert_eq!(faults(in_this_order(&order)).await, expected, "{order:?}");
    }
}

// ───────────────────────────────────────────────────────────────────────────── probes

#[tokio::test]
async fn a_server_at_the_limit_of_its_calls_answers_probes_over_http_and_grpc() {
    let limiter = ConcurrencyLimiter::new(1).unwrap();
    let rates = KeyedRateLimiter::new(Quota::per_hour(2)).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let builder = in_this_order(&[0, 1, 2, 3, 4]).concurrency_limiter(limiter.clone()).rate_limiter(rates);
    let server = Running::start(builder, counted(&calls)).await;
    let slow = client(ClientSettings::new());
    let request =
        Request::get(server.uri("/slow")).header("authorization", TOKEN).body(Body::empty()).unwrap();
    let _slow = tokio::spawn(async move { slow.send(request).await });
    soon(async {
        while calls.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(limiter.in_flight(), 1);
    assert_eq!(asked(&server, &[("authorization", TOKEN)], "/").await.status(), 503, "it is full");
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(asked(&server, &[], path).await.status(), 200, "{path}");
    }
    let channel = tonic::transport::Endpoint::new(server.uri("")).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let answer = soon(health.check(asked)).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}

// ───────────────────────────────────────────────────────────────────────────── what is said of requests

#[tokio::test]
async fn a_request_that_brings_neither_name_nor_trace_gets_one_number_as_both() {
    const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";
    let service = tower::service_fn(|_: Request<Body>| async {
        let trace = TraceContext::current().expect("a trace by default");
        Ok::<_, Infallible>(Response::new(Body::from(trace.trace_id().to_string())))
    });
    let server = Running::start(Server::builder().settings(settings()), service).await;
    let client = client(ClientSettings::new());
    let mut numbers = HashSet::new();
    for (parent, same) in [(None, true), (Some(PARENT), false), (None, true)] {
        let mut request = client.get(server.uri("/"));
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        let answer = soon(request.send()).await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let trace = soon(answer.text()).await.unwrap();
        assert_eq!(id == trace, same, "{id} and {trace}");
        numbers.insert(id);
    }
    assert_eq!(numbers.len(), 3, "another for each request");
}

#[test]
fn the_lines_of_a_server_are_as_many_as_its_requests_and_have_their_names_and_addresses() {
    for paths in [false, true] {
        lines_of_a_server(paths);
    }
}

fn lines_of_a_server(paths: bool) {
    let lines = Lines::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    crate::support::subscriber::with_default(lines.clone(), || {
        runtime.block_on(async {
            let begun = Arc::new(Notify::new());
            let tells = Arc::clone(&begun);
            let service = tower::service_fn(move |request: Request<Body>| {
                let tells = Arc::clone(&tells);
                async move {
                    match request.uri().path() {
                        "/panics" => panic!("on purpose"),
                        "/slow" => {
                            tells.notify_one();
                            std::future::pending().await
                        }
                        _ => Ok::<_, Infallible>(Response::new(Body::from("12345"))),
                    }
                }
            });
            let settings = if paths { settings().access_log_paths() } else { settings().access_log() };
            let builder = Server::builder().settings(settings).rng(Rng::seeded(1));
            let server = Running::start(builder.health(Health::builder().build().unwrap()), service).await;
            for http2 in [false, true] {
                let wire = ClientSettings::new();
                let client = client(if http2 { wire.http2_only() } else { wire });
                let get = async |path: &str| {
                    let answer = soon(client.get(server.uri(path)).send()).await.unwrap();
                    let status = answer.status();
                    soon(answer.bytes()).await.unwrap();
                    status
                };
                for _ in 0..5 {
                    assert_eq!(get("/menu?token=secret").await, 200);
                }
                assert_eq!(get("/panics").await, StatusCode::INTERNAL_SERVER_ERROR);
                assert_eq!(get("/livez").await, 200);
                let leaves = tokio::spawn(client.get(server.uri("/slow")).send());
                soon(begun.notified()).await;
                leaves.abort();
            }
            soon(async {
                while lines.count() < 14 {
                    tokio::time::sleep(MS).await;
                }
            })
            .await;
            tokio::time::sleep(50 * MS).await;
        });
    });
    let lines = lines.all();
    assert_eq!(lines.len(), 14, "no more, and probes are none");
    let count = |ended| field(&lines, "ended").iter().filter(|field| **field == Some(ended)).count();
    assert_eq!((count("complete"), count("failed"), count("aborted")), (10, 2, 2));
    let panics: Vec<_> = lines.iter().filter(|line| line["ended"] == "failed").collect();
    assert!(
        panics.iter().all(|line| line["http.response.status_code"] == "500" && line["error.type"] == "panic")
    );
    let names: HashSet<_> = field(&lines, "request_id").into_iter().flatten().collect();
    assert_eq!(names.len(), 14);
    assert!(field(&lines, "client.address").iter().all(|client| *client == Some("127.0.0.1")));
    let with = |path| field(&lines, "url.path").iter().filter(|field| **field == path).count();
    let counts = [Some("/menu"), Some("/panics"), Some("/slow"), None].map(with);
    assert_eq!(counts, if paths { [10, 2, 2, 0] } else { [0, 0, 0, 14] });
    assert!(field(&lines, "url.scheme").iter().all(|scheme| *scheme == Some("http")));
}

// ───────────────────────────────────────────────────────────────────────────── a file

#[test]
fn a_whole_server_and_a_whole_client_stand_in_a_file() {
    let server = r#"
        access_log = true
        deadline = "5s"
        deadline_from = ["10.0.0.0/8"]
        deadline_header = "x-time-left"
        max_request_body = 1048576
        metrics = true
        principal_rate_limit = { amount = 10, per = "1s" }
        request_id_from = "everybody"
        request_span = true
        trace_from = "off"
    "#;
    let read: ServerSettings = toml::from_str(server).unwrap();
    let inside = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    let written = ServerSettings::new()
        .access_log()
        .deadline(5_000 * MS)
        .deadline_from(inside)
        .deadline_header("x-time-left".parse().unwrap())
        .max_request_body(1 << 20)
        .metrics()
        .principal_rate_limit(Quota::per_second(10))
        .request_id_from(TrustedPeers::everybody())
        .request_span()
        .without_trace();
    assert_eq!(read, written);
    let again: ServerSettings = toml::from_str(&toml::to_string(&written).unwrap()).unwrap();
    assert_eq!(again, written);

    let read: ClientSettings = toml::from_str("deadline_header = \"off\"\npropagation = \"begin\"").unwrap();
    assert_eq!(read, ClientSettings::new().without_deadline_header().propagation(Propagation::Begin));
    assert_eq!(toml::from_str::<ClientSettings>(&toml::to_string(&read).unwrap()).unwrap(), read);

    for (text, named) in [
        ("deadline = \"0s\"", "`deadline`"),
        ("deadline_header = \"two words\"", "`deadline_header`"),
        ("request_id_from = \"some\"", "some"),
        ("trace_from = [\"10.1.2.3/8\"]", "10.1.2.3/8"),
        ("principal_rate_limit = { amount = 0, per = \"1s\" }", "`amount`"),
        ("access_log_paths = true", "`access_log_paths` says nothing where `access_log` is off"),
    ] {
        let refused = toml::from_str::<ServerSettings>(text).unwrap_err().to_string();
        assert!(refused.contains(named), "{text}: {refused}");
    }
    let refused =
        toml::from_str::<ClientSettings>("deadline_header = \"two words\"").unwrap_err().to_string();
    assert!(refused.contains("`deadline_header`"), "{refused}");
}
