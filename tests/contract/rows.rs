//! The table of layers: one row for each layer in each of its modes.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use stonework::Call;
use stonework::balance::Balancer;
use stonework::base::body::Body;
use stonework::base::{Backoff, BoxError, ClientAuth, Detach, Error, Kind, Outcome, Priority, TimeoutHeader};
use stonework::breaker::{BreakerLayer, Breakers, BreakersLayer};
use stonework::coalesce::CoalesceLayer;
use stonework::fallback::FallbackLayer;
use stonework::health::Health;
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::idempotency::{self, IdempotencyLayer};
use stonework::jwt::{
    Algorithm, IntrospectLayer, IntrospectSettings, Introspector, JwtLayer, Key, RequireLayer, Verifier,
};
use stonework::limit::{
    AdaptiveSettings, AdaptiveThrottle, AdaptiveThrottleLayer, Admission, ClientAddressLayer,
    ConcurrencyLimitLayer, Keyed, KeyedConcurrencyLimiter, KeyedRateLimiter, LimitedBody, MemoryStore, Quota,
    RateLimitLayer, RequestBodyLimitLayer, ResponseBodyLimitLayer, ServerQuotaLayer, SharedRateLimitLayer,
    SharedRateLimiter, TrustedProxies,
};
use stonework::oauth::{BearerLayer, TokenSource};
use stonework::observe::{
    AccessLogLayer, PropagateLayer, RequestIdLayer, RequestSpanLayer, RouteLayer, ServerMetricsLayer,
    SpanLayer, TraceLayer,
};
use stonework::pool::{Manage, Pool, PoolSettings};
use stonework::retry::{CollectLayer, HopLayer, ResumeLayer, RetryLayer, RetrySettings};
use stonework::server::DetachLayer;
use stonework::timeout::{
    AttemptTimeoutLayer, BodyLimits, ReceiveDeadlineLayer, RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer,
    SendDeadlineLayer, TimedBody, TimeoutLayer,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::kit::{Boxed, Inner, Row, Seen, Traits, Wire};

/// Different, so that a test can tell which of them ran out.
const CALL: Duration = Duration::from_secs(60);
const ATTEMPT: Duration = Duration::from_secs(20);
/// What every request says that its caller grants.
const GRANTED: (&str, Duration) = ("40S", Duration::from_secs(40));
/// The pause before each retry.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// How long a call is waited for before the next begins beside it.
pub(crate) const HEDGE: Duration = Duration::from_secs(5);

const CALL_LIMIT: Traits = Traits { always_ready: true, limit: Some(CALL), retries: false, hedges: false };
const ATTEMPT_LIMIT: Traits =
    Traits { always_ready: false, limit: Some(ATTEMPT), retries: false, hedges: false };
const GRANTED_LIMIT: Traits =
    Traits { always_ready: true, limit: Some(GRANTED.1), retries: false, hedges: false };
/// Adds nothing to how a call goes.
const TELLS: Traits = Traits { always_ready: false, limit: None, retries: false, hedges: false };
const HEDGES: Traits = Traits { always_ready: false, limit: None, retries: false, hedges: true };
const RETRIES: Traits = Traits { always_ready: false, limit: None, retries: true, hedges: false };

/// Waits within the call, and adds no limit.
const WAITS: Traits = Traits { always_ready: true, limit: None, retries: false, hedges: false };

const fn off(traits: Traits) -> Traits {
    Traits { limit: None, ..traits }
}

fn receive() -> ReceiveDeadlineLayer {
    ReceiveDeadlineLayer::new(TimeoutHeader::Grpc)
}

fn send() -> SendDeadlineLayer {
    SendDeadlineLayer::new(TimeoutHeader::Grpc)
}

fn retry() -> RetryLayer {
    let backoff = Backoff::constant(PAUSE).expect("more than zero");
    RetryLayer::from(RetrySettings::new().backoff(backoff))
}

fn hedge() -> HedgeLayer {
    HedgeLayer::from(HedgeSettings::new().attempts(3).fixed_delay(HEDGE))
}

/// Without checks, and so without a task.
fn health() -> Health {
    Health::builder().build().expect("nothing that could be wrong")
}

/// A pool whose objects are clones of one service. It is no layer, so this is one for it.
struct Clones<S>(S);

impl<S: Clone + Send + Sync + 'static> Manage for Clones<S> {
    type Object = S;
    type Error = Infallible;

    async fn connect(&self) -> Result<S, Infallible> {
        Ok(self.0.clone())
    }
}

/// With enough of them at hand: connecting is a story of its own.
fn pool<S: Clone + Send + Sync + 'static>(inner: S) -> Pool<Clones<S>> {
    let settings = PoolSettings::new().max(10).without_wait_timeout();
    let pool = Pool::builder(Clones(inner.clone())).settings(settings).build().expect("possible");
    while pool.add(inner.clone()).is_ok() {}
    pool
}

/// What every request has: a good token until the year 2100.
const TOKEN: &str = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJodHRwczovL2FwaS5leGFtcGxlIiwic3ViIjoiYWxpY2UiLCJzY29wZSI6Im9yZGVyczpyZWFkIiwiZXhwIjo0MTAyNDQ0ODAwfQ.PJt8QGJ1_MM_TTYMLhRpI9fHoUt6R-N5A6WdqE32PKU";

fn jwt() -> JwtLayer {
    JwtLayer::new(verifier(false))
}

/// One that is asked about each token, and says that it was not revoked.
fn verifier(asks: bool) -> Verifier {
    let key = Key::secret(Algorithm::Hs256, b"the secret of an example, 32 by.").expect("32 bytes");
    let builder = Verifier::builder().keys(key).algorithms([Algorithm::Hs256]).any_issuer().any_audience();
    let builder = if asks { builder.revocation(|_| async { Ok::<_, Infallible>(false) }) } else { builder };
    builder.build().expect("nothing that could be wrong")
}

/// Knows the token of every request already. That it asks is a story of its own.
static INTROSPECTOR: LazyLock<Introspector> = LazyLock::new(|| {
    let server = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from(r#"{"active":true,"sub":"alice"}"#)))
    });
    let auth = ClientAuth::basic("me", "a secret");
    let builder = Introspector::builder("https://id.example/introspect", auth).any_audience();
    let builder = builder.settings(IntrospectSettings::new().cache_ttl(Duration::from_secs(86_400)));
    let introspector = builder.build(server).expect("an address");
    elsewhere(introspector.clone(), async |introspector| {
        let token = TOKEN.trim_start_matches("Bearer ");
        drop(introspector.check(token).await.expect("it is good"));
    });
    introspector
});

fn introspect() -> IntrospectLayer {
    IntrospectLayer::new(INTROSPECTOR.clone())
}

fn require() -> RequireLayer {
    RequireLayer::scopes(["orders:read"]).expect("a scope")
}

/// Has a token at hand. That it waits for the first one is a story of its own.
static SOURCE: LazyLock<TokenSource> = LazyLock::new(|| {
    let provider = service_fn(|_: Request<Body>| async {
        // The one that every request has, since there are layers that look at it.
        let token = TOKEN.trim_start_matches("Bearer ");
        let token = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":86400}}"#);
        Ok::<_, Infallible>(Response::new(Body::from(token)))
    });
    let source = TokenSource::builder("https://id.example/token", ClientAuth::basic("me", "a secret"));
    let source = source.build(provider).expect("an address");
    elsewhere(source.clone(), async |source| drop(source.token().await.expect("a token")));
    source
});

fn bearer() -> BearerLayer {
    BearerLayer::new(SOURCE.clone(), ["https://api.example"]).expect("an origin")
}

/// In a runtime of its own, since those of the script come and go.
fn elsewhere<T: Send + 'static>(what: T, work: impl AsyncFnOnce(T) + Send + 'static) {
    let ended = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(work(what));
    });
    ended.join().expect("it ends");
}

/// What goes to where tokens go, and has none of its own.
fn without_token(mut request: HttpRequest) -> HttpRequest {
    request.headers_mut().remove("authorization");
    *request.uri_mut() = http::Uri::from_static("https://api.example/thing");
    request
}

fn client_address() -> ClientAddressLayer {
    ClientAddressLayer::new(TrustedProxies::hops(1).expect("at least one"))
}

/// So wide that it refuses nobody.
const WIDE: Quota = Quota::per_second(1_000_000);

type ByPath = fn(&HttpRequest) -> String;

/// A store in memory, which answers at once.
fn shared() -> SharedRateLimitLayer<Keyed<SharedRateLimiter, ByPath>> {
    let limiter = SharedRateLimiter::new(MemoryStore::new(), [WIDE]).expect("a valid quota");
    SharedRateLimitLayer::keyed(limiter, path as ByPath)
}

fn rate() -> RateLimitLayer {
    RateLimitLayer::new(WIDE).expect("a valid quota")
}

fn places() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(1_000_000).expect("more than none")
}

fn rates<K: std::hash::Hash + Eq + Clone>() -> KeyedRateLimiter<K> {
    KeyedRateLimiter::new(WIDE).expect("a valid quota")
}

fn found_places() -> ConcurrencyLimitLayer {
    let settings = AdaptiveSettings::new().max(1_000_000).initial(1_000_000);
    ConcurrencyLimitLayer::new(settings).expect("possible settings")
}

fn places_by_key<K: std::hash::Hash + Eq + Clone>() -> KeyedConcurrencyLimiter<K> {
    KeyedConcurrencyLimiter::new(1_000_000).expect("more than none")
}

fn path(request: &HttpRequest) -> String {
    request.uri().path().to_owned()
}

fn is_probe(request: &HttpRequest) -> bool {
    path(request) == "/healthz"
}

fn is_content(request: &HttpRequest) -> bool {
    !is_probe(request)
}

/// Fails whatever it is asked, before it is sent.
fn unreachable()
-> impl Service<HttpRequest, Response = HttpAnswer, Error = Error, Future: Send> + Clone + Send + Sync {
    service_fn(|request: HttpRequest| async {
        let error = Error::new(Kind::Connect, "unreachable");
        Err::<HttpAnswer, _>(error.with_request(request))
    })
}

/// Another service that nobody is to ask.
fn unasked()
-> impl Service<HttpRequest, Response = HttpAnswer, Error = Error, Future: Send> + Clone + Send + Sync {
    service_fn(|_: HttpRequest| async { Ok(no_value(&Error::wrap(Kind::Other))) })
}

fn no_value(_: &Error) -> HttpAnswer {
    panic!("asked")
}

/// The layer, whose type has this name.
fn named<L>(layer: L, name: &str) -> L {
    let full = std::any::type_name::<L>();
    let path = full.split('<').next().unwrap_or(full);
    assert!(path.ends_with(&format!("::{name}")), "a row says {name} and makes {full}");
    layer
}

/// A row: the layer, its mode, how it is made, what it does. The name of the layer is that of its type.
macro_rules! rows {
    ($seal:path; $($layer:ident $mode:literal = $make:expr => $traits:expr;)*) => {
        vec![$(
            Row {
                layer: stringify!($layer),
                mode: $mode,
                traits: $traits,
                wrap: |inner| {
                    $seal(named($make, stringify!($layer)).layer(inner))
                },
            },
        )*]
    };
}

/// A row of a layer that puts something around the request body. The bottom takes it off again.
macro_rules! around_the_body {
    ($($layer:ident $body:ident $mode:literal = $make:expr;)*) => {
        vec![$(
            Row {
                layer: stringify!($layer),
                mode: $mode,
                traits: TELLS,
                wrap: |inner: Boxed<Http>| {
                    let bare = |request: Request<$body<Full<Bytes>>>| request.map(|_| Full::from("content"));
                    seal_http(named($make, stringify!($layer)).layer(inner.map_request(bare)))
                },
            },
        )*]
    };
}

/// Over `http::Request` and `http::Response`.
pub(crate) fn http() -> Vec<Row<Http>> {
    let mut rows = pass_the_body_on();
    rows.push(Row {
        layer: "FallbackLayer",
        mode: "::service(what is below)",
        traits: WAITS,
        // The other way round: every call comes to what is below when the first service has failed.
        wrap: |inner| seal_http(FallbackLayer::service(inner).layer(unreachable())),
    });
    rows.push(Row {
        layer: "BearerLayer",
        mode: " of a request that gets a token",
        traits: WAITS,
        wrap: |inner| seal_http(bearer().layer(inner).map_request(without_token)),
    });
    rows.push(Row {
        layer: "CoalesceLayer",
        mode: " of requests that could be shared",
        traits: WAITS,
        wrap: |inner| {
            seal_http(CoalesceLayer::new().layer(inner.map_request(as_it_was)).map_request(harmless))
        },
    });
    rows.extend(require_rows());
    rows.extend(keyed_rows());
    rows.extend(around_the_body! {
        RequestBodyLimitLayer LimitedBody "" = RequestBodyLimitLayer::new(1_000);
        RequestBodyLimitLayer LimitedBody ".answer()" = RequestBodyLimitLayer::new(1_000).answer();
        RequestBodyLimitLayer LimitedBody ".when(false)" = RequestBodyLimitLayer::new(1_000).when(false);
        RequestBodyTimeoutLayer TimedBody "" = RequestBodyTimeoutLayer::new(BodyLimits::new());
        RequestBodyTimeoutLayer TimedBody ".when(false)" = RequestBodyTimeoutLayer::new(BodyLimits::new()).when(false);
    });
    rows
}

/// A request that could be shared. Each is another one: that they are shared is a story of its own.
fn harmless(mut request: HttpRequest) -> HttpRequest {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    request.headers_mut().insert("number", number.into());
    *request.method_mut() = http::Method::GET;
    request.map(|_| Full::default())
}

fn as_it_was(mut request: HttpRequest) -> HttpRequest {
    request.headers_mut().remove("number");
    *request.method_mut() = http::Method::PUT;
    request.map(|_| Full::from("content"))
}

/// Above a service that takes the body of this crate. One that is keyed is another each time: what is kept is a story of its own.
fn keyed_rows() -> Vec<Row<Http>> {
    fn bare(
        inner: Boxed<Http>,
    ) -> impl Service<Request<Body>, Response = HttpAnswer, Error = BoxError, Future: Send> + Clone + Send + Sync
    {
        inner.map_request(|request: Request<Body>| request.map(|_| Full::from("content")))
    }
    let row = |mode, wrap| Row { layer: "IdempotencyLayer", mode, traits: TELLS, wrap };
    vec![
        row(".attached()", |inner| seal_http(idempotency().layer(bare(inner)))),
        row(".when(false)", |inner| {
            seal_http(idempotency().when(false).layer(bare(inner)).map_request(with_key))
        }),
        row(".attached() of a keyed request", |inner| {
            seal_http(idempotency().layer(bare(inner)).map_request(with_key))
        }),
    ]
}

/// A call of theirs is not dropped with its future.
pub(crate) fn detached() -> Vec<Row<Http>> {
    let row = |mode, wrap| Row { layer: "DetachLayer", mode, traits: TELLS, wrap };
    vec![
        row("", |inner| seal_http(detach().layer(inner))),
        row(".answer()", |inner| seal_http(detach().answer().layer(inner))),
        row(".plain()", |inner| seal_http(detach().plain().layer(inner))),
    ]
}

fn detach() -> DetachLayer {
    DetachLayer::new(Detach::default())
}

fn idempotency() -> IdempotencyLayer<idempotency::MemoryStore> {
    // What is detached is not dropped with its future, which is what most of the script is about.
    IdempotencyLayer::new(idempotency::MemoryStore::new()).attached()
}

fn with_key(mut request: HttpRequest) -> HttpRequest {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let key = format!("key-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    request.headers_mut().insert("idempotency-key", key.parse().expect("a key"));
    *request.method_mut() = http::Method::POST;
    request
}

/// Below what finds out who is asking.
fn require_rows() -> Vec<Row<Http>> {
    let row = |mode, wrap| Row { layer: "RequireLayer", mode, traits: WAITS, wrap };
    vec![
        row("", |inner| seal_http(jwt().layer(require().layer(inner)))),
        row(".answer()", |inner| seal_http(jwt().layer(require().answer().layer(inner)))),
        row(".plain()", |inner| seal_http(jwt().layer(require().plain().layer(inner)))),
        row(".when(false)", |inner| seal_http(jwt().layer(require().when(false).layer(inner)))),
    ]
}

/// A balancer of one endpoint, which is a clone of this service.
fn balancer<S: Clone + Send + Sync + 'static>(inner: S) -> Balancer<S> {
    Balancer::builder(move |_| inner.clone()).members(["one"]).build().expect("possible")
}

/// What is a service and no layer.
pub(crate) fn http_services() -> Vec<Row<Http>> {
    let balanced = |mode, wrap| Row { layer: "Balancer", mode, traits: WAITS, wrap };
    let row = |mode, wrap| Row { layer: "Pool", mode, traits: WAITS, wrap };
    vec![
        row(".service()", |inner| seal_http(pool(inner).service())),
        row(".service().answer()", |inner| seal_http(pool(inner).service().answer())),
        row(".service().plain()", |inner| seal_http(pool(inner).service().plain())),
        balanced(".service()", |inner| seal_http(balancer(inner).service())),
        balanced(".service().plain()", |inner| seal_http(balancer(inner).service().plain())),
    ]
}

/// The same over requests that are not HTTP.
pub(crate) fn text_services() -> Vec<Row<Text>> {
    let wrap = |inner| seal_text(pool(inner).service().plain());
    let balanced = |inner| seal_text(balancer(inner).service().classify(is_good).plain());
    vec![
        Row { layer: "Pool", mode: ".service().plain()", traits: WAITS, wrap },
        Row { layer: "Balancer", mode: ".service().plain()", traits: WAITS, wrap: balanced },
    ]
}

fn pass_the_body_on() -> Vec<Row<Http>> {
    rows! { seal_http;
        TimeoutLayer "" = TimeoutLayer::new(CALL) => CALL_LIMIT;
        TimeoutLayer ".answer()" = TimeoutLayer::new(CALL).answer() => CALL_LIMIT;
        TimeoutLayer ".plain()" = TimeoutLayer::new(CALL).plain() => CALL_LIMIT;
        TimeoutLayer ".when(false)" = TimeoutLayer::new(CALL).when(false) => off(CALL_LIMIT);
        TimeoutLayer ".answer().when(false)" = TimeoutLayer::new(CALL).answer().when(false) => off(CALL_LIMIT);
        AttemptTimeoutLayer "" = AttemptTimeoutLayer::new(ATTEMPT) => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".answer()" = AttemptTimeoutLayer::new(ATTEMPT).answer() => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".plain()" = AttemptTimeoutLayer::new(ATTEMPT).plain() => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".when(false)" = AttemptTimeoutLayer::new(ATTEMPT).when(false) => off(ATTEMPT_LIMIT);
        ReceiveDeadlineLayer "" = receive() => GRANTED_LIMIT;
        ReceiveDeadlineLayer ".answer()" = receive().answer() => GRANTED_LIMIT;
        ReceiveDeadlineLayer ".plain()" = receive().plain() => GRANTED_LIMIT;
        ReceiveDeadlineLayer ".when(false)" = receive().when(false) => off(GRANTED_LIMIT);
        SendDeadlineLayer "" = send() => TELLS;
        SendDeadlineLayer ".answer()" = send().answer() => TELLS;
        SendDeadlineLayer ".plain()" = send().plain() => TELLS;
        SendDeadlineLayer ".when(false)" = send().when(false) => TELLS;
        CoalesceLayer "" = CoalesceLayer::new() => WAITS;
        CoalesceLayer ".when(false)" = CoalesceLayer::new().when(false) => WAITS;
        RetryLayer "" = retry() => RETRIES;
        HedgeLayer "" = hedge() => HEDGES;
        HedgeLayer ".when(false)" = hedge().when(false) => TELLS;
        FallbackLayer "::service()" = FallbackLayer::service(unasked()).on([Kind::CircuitOpen]) => WAITS;
        FallbackLayer "::service().when(false)" = FallbackLayer::service(unasked()).when(false) => WAITS;
        FallbackLayer "::value()" = FallbackLayer::value(no_value).on([Kind::CircuitOpen]) => WAITS;
        FallbackLayer "::value().when(false)" = FallbackLayer::value(no_value).when(false) => WAITS;
        BreakerLayer "" = BreakerLayer::new() => TELLS;
        BreakerLayer ".answer()" = BreakerLayer::new().answer() => TELLS;
        BreakerLayer ".plain()" = BreakerLayer::new().plain() => TELLS;
        BreakerLayer ".not_ready_when_open()" = BreakerLayer::new().not_ready_when_open() => TELLS;
        BreakerLayer ".when(false)" = BreakerLayer::new().when(false) => TELLS;
        BreakersLayer "" = BreakersLayer::new() => TELLS;
        BreakersLayer ".answer()" = BreakersLayer::new().answer() => TELLS;
        BreakersLayer ".plain()" = BreakersLayer::new().plain() => TELLS;
        BreakersLayer ".when(false)" = BreakersLayer::new().when(false) => TELLS;
        ResponseBodyLimitLayer "" = ResponseBodyLimitLayer::new(1_000) => TELLS;
        ResponseBodyLimitLayer ".when(false)" = ResponseBodyLimitLayer::new(1_000).when(false) => TELLS;
        ResponseBodyTimeoutLayer "" = ResponseBodyTimeoutLayer::new(BodyLimits::new()) => TELLS;
        ResponseBodyTimeoutLayer ".when(false)" = ResponseBodyTimeoutLayer::new(BodyLimits::new()).when(false) => TELLS;
        HealthLayer "" = health().layer() => WAITS;
        HealthLayer ".when(false)" = health().layer().when(false) => WAITS;
        ClientAddressLayer "" = client_address() => TELLS;
        ClientAddressLayer ".when(false)" = client_address().when(false) => TELLS;
        JwtLayer "" = jwt() => WAITS;
        JwtLayer ".answer()" = jwt().answer() => WAITS;
        JwtLayer ".plain()" = jwt().plain() => WAITS;
        JwtLayer ".optional()" = jwt().optional() => WAITS;
        JwtLayer "::new(that asks)" = JwtLayer::new(verifier(true)) => WAITS;
        JwtLayer ".when(false)" = jwt().when(false) => TELLS;
        IntrospectLayer "" = introspect() => WAITS;
        IntrospectLayer ".answer()" = introspect().answer() => WAITS;
        IntrospectLayer ".plain().optional()" = introspect().plain().optional() => WAITS;
        IntrospectLayer ".when(false)" = introspect().when(false) => TELLS;
        RateLimitLayer "" = rate() => WAITS;
        RateLimitLayer ".answer()" = rate().answer() => WAITS;
        RateLimitLayer ".plain()" = rate().plain() => WAITS;
        RateLimitLayer ".wait_up_to()" = rate().wait_up_to(PAUSE) => WAITS;
        RateLimitLayer ".admission(Backpressure)" = rate().admission(Admission::Backpressure) => TELLS;
        RateLimitLayer ".admission(Backpressure).except(all)" = rate().admission(Admission::Backpressure).except(is_content) => TELLS;
        RateLimitLayer "::keyed().and()" = RateLimitLayer::keyed(rates(), path).and_keyed(rates(), path) => WAITS;
        RateLimitLayer ".cost().except().answer()" = rate().cost(|_: &HttpRequest| 2).except(is_probe).answer() => WAITS;
        RateLimitLayer ".when(false)" = rate().when(false) => TELLS;
        SharedRateLimitLayer "::keyed()" = shared() => WAITS;
        SharedRateLimitLayer "::keyed().answer()" = shared().answer() => WAITS;
        SharedRateLimitLayer "::keyed().cost().except().plain()" = shared().cost(|_: &HttpRequest| 2).except(is_probe).plain() => WAITS;
        SharedRateLimitLayer "::keyed().when(false)" = shared().when(false) => TELLS;
        AdaptiveThrottleLayer "" = AdaptiveThrottleLayer::default() => TELLS;
        AdaptiveThrottleLayer "::from(one)" = AdaptiveThrottleLayer::from(AdaptiveThrottle::default()) => TELLS;
        AdaptiveThrottleLayer ".when(false)" = AdaptiveThrottleLayer::default().when(false) => TELLS;
        ServerQuotaLayer "" = ServerQuotaLayer::new() => WAITS;
        ServerQuotaLayer ".wait_up_to()" = ServerQuotaLayer::new().wait_up_to(PAUSE) => WAITS;
        ServerQuotaLayer ".when(false)" = ServerQuotaLayer::new().when(false) => TELLS;
        ConcurrencyLimitLayer "" = places() => WAITS;
        ConcurrencyLimitLayer ".answer()" = places().answer() => WAITS;
        ConcurrencyLimitLayer ".plain()" = places().plain() => WAITS;
        ConcurrencyLimitLayer ".wait_up_to()" = places().wait_up_to(PAUSE) => WAITS;
        ConcurrencyLimitLayer ".queue()" = places().queue() => WAITS;
        ConcurrencyLimitLayer ".priority()" = places().priority(|_: &_| Priority::Interactive) => WAITS;
        ConcurrencyLimitLayer "(adaptive).queue().answer()" = found_places().queue().answer() => WAITS;
        ConcurrencyLimitLayer ".admission(Backpressure)" = places().admission(Admission::Backpressure) => TELLS;
        ConcurrencyLimitLayer ".admission(Backpressure).except(all)" = places().admission(Admission::Backpressure).except(is_content) => TELLS;
        ConcurrencyLimitLayer "::keyed().except()" = ConcurrencyLimitLayer::keyed(places_by_key(), path).except(is_probe) => WAITS;
        ConcurrencyLimitLayer ".until_head()" = places().until_head() => WAITS;
        ConcurrencyLimitLayer ".when(false)" = places().when(false) => TELLS;
        // The same.
        DetachLayer ".when(false)" = DetachLayer::new(Detach::default()).when(false) => TELLS;
        BearerLayer "" = bearer() => WAITS;
        BearerLayer ".when(false)" = bearer().when(false) => TELLS;
        SpanLayer "::call()" = SpanLayer::call() => TELLS;
        SpanLayer "::attempt()" = SpanLayer::attempt() => TELLS;
        SpanLayer ".when(false)" = SpanLayer::call().when(false) => TELLS;
        RequestIdLayer "" = RequestIdLayer::new() => TELLS;
        RequestIdLayer ".when(false)" = RequestIdLayer::new().when(false) => TELLS;
        TraceLayer "" = TraceLayer::new() => TELLS;
        TraceLayer ".when(false)" = TraceLayer::new().when(false) => TELLS;
        RequestSpanLayer "" = RequestSpanLayer::new() => TELLS;
        RequestSpanLayer ".when(false)" = RequestSpanLayer::new().when(false) => TELLS;
        AccessLogLayer "" = AccessLogLayer::new() => TELLS;
        AccessLogLayer ".when(false)" = AccessLogLayer::new().when(false) => TELLS;
        ServerMetricsLayer "" = ServerMetricsLayer::new() => TELLS;
        ServerMetricsLayer ".when(false)" = ServerMetricsLayer::new().when(false) => TELLS;
        RouteLayer "::new()" = RouteLayer::new("/thing") => TELLS;
        RouteLayer ".when(false)" = RouteLayer::new("/thing").when(false) => TELLS;
        PropagateLayer "::call()" = PropagateLayer::call() => TELLS;
        PropagateLayer "::attempt()" = PropagateLayer::attempt() => TELLS;
        PropagateLayer ".when(false)" = PropagateLayer::attempt().when(false) => TELLS;
        HopLayer "" = HopLayer::new() => TELLS;
        HopLayer ".when(false)" = HopLayer::new().when(false) => TELLS;
        CollectLayer "" = CollectLayer::new(64 * 1024) => TELLS;
        CollectLayer ".when(false)" = CollectLayer::new(64 * 1024).when(false) => TELLS;
        ResumeLayer "" = ResumeLayer::new() => TELLS;
        ResumeLayer ".when(false)" = ResumeLayer::new().when(false) => TELLS;
    }
}

/// Over requests that are not HTTP: what is generic, in the modes that do not need it.
pub(crate) fn text() -> Vec<Row<Text>> {
    rows! { seal_text;
        TimeoutLayer "" = TimeoutLayer::new(CALL) => CALL_LIMIT;
        TimeoutLayer ".plain()" = TimeoutLayer::new(CALL).plain() => CALL_LIMIT;
        TimeoutLayer ".when(false)" = TimeoutLayer::new(CALL).when(false) => off(CALL_LIMIT);
        AttemptTimeoutLayer "" = AttemptTimeoutLayer::new(ATTEMPT) => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".plain()" = AttemptTimeoutLayer::new(ATTEMPT).plain() => ATTEMPT_LIMIT;
        AttemptTimeoutLayer ".when(false)" = AttemptTimeoutLayer::new(ATTEMPT).when(false) => off(ATTEMPT_LIMIT);
        RateLimitLayer ".plain()" = rate().plain() => WAITS;
        RateLimitLayer ".admission(Backpressure).plain()" = rate().admission(Admission::Backpressure).plain() => TELLS;
        RateLimitLayer "::keyed().plain()" = RateLimitLayer::keyed(rates(), String::clone).plain() => WAITS;
        ConcurrencyLimitLayer ".plain()" = places().plain() => WAITS;
        ConcurrencyLimitLayer "(adaptive).queue().plain()" = found_places().queue().plain() => WAITS;
        ConcurrencyLimitLayer ".admission(Backpressure).plain()" = places().admission(Admission::Backpressure).plain() => TELLS;
        ConcurrencyLimitLayer "::keyed().plain()" = ConcurrencyLimitLayer::keyed(places_by_key(), String::clone).plain() => WAITS;
        BreakerLayer ".plain()" = BreakerLayer::new().classify(is_good).plain() => TELLS;
        AdaptiveThrottleLayer "::from(one)" = AdaptiveThrottleLayer::from(AdaptiveThrottle::default()).classify(is_good) => TELLS;
        BreakersLayer ".plain()" = keyed_by_text().classify(is_good).plain() => TELLS;
    }
}

fn keyed_by_text() -> BreakersLayer<String, fn(&String) -> String> {
    BreakersLayer::keyed(Breakers::default(), String::clone)
}

fn is_good(result: Result<&String, &Error>) -> Outcome {
    match result {
        Ok(answer) if answer == "good" => Outcome::Success,
        _ => Outcome::Failure,
    }
}

pub(crate) struct Http;

pub(crate) type HttpRequest = Request<Full<Bytes>>;
pub(crate) type HttpAnswer = Response<UnsyncBoxBody<Bytes, BoxError>>;

pub(crate) fn seal_http<S, B>(service: S) -> Boxed<Http>
where
    S: Service<HttpRequest, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let one_type = |answer: Response<B>| answer.map(|body| body.map_err(Into::into).boxed_unsync());
    BoxCloneSyncService::new(service.map_response(one_type).map_err(Into::into))
}

impl Wire for Http {
    type Request = HttpRequest;
    type Bottom = Response<Full<Bytes>>;
    type Answer = HttpAnswer;

    fn request() -> HttpRequest {
        let request = Request::put("/thing").header("grpc-timeout", GRANTED.0).header("authorization", TOKEN);
        request.body(Full::from("content")).expect("a request")
    }

    fn once() -> HttpRequest {
        let mut request = Self::request();
        Call::edit(request.extensions_mut(), Call::never_retry);
        request
    }

    fn good() -> Self::Bottom {
        Response::new(Full::from("done"))
    }

    fn bad() -> Self::Bottom {
        Response::builder().status(StatusCode::BAD_GATEWAY).body(Full::default()).expect("a response")
    }

    fn seal(bottom: Inner<Self>) -> Boxed<Self> {
        seal_http(bottom)
    }

    fn read(answer: &HttpAnswer) -> Seen {
        match answer.status() {
            StatusCode::OK => Seen::Good,
            StatusCode::GATEWAY_TIMEOUT => Seen::Late,
            _ => Seen::Bad,
        }
    }
}

pub(crate) struct Text;

fn seal_text<S>(service: S) -> Boxed<Text>
where
    S: Service<String, Response = String> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service.map_err(Into::into))
}

impl Wire for Text {
    type Request = String;
    type Bottom = String;
    type Answer = String;

    fn request() -> String {
        "request".to_owned()
    }

    fn once() -> String {
        Self::request()
    }

    fn good() -> String {
        "good".to_owned()
    }

    fn bad() -> String {
        "bad".to_owned()
    }

    fn seal(bottom: Inner<Self>) -> Boxed<Self> {
        seal_text(bottom)
    }

    fn read(answer: &String) -> Seen {
        if answer == "good" { Seen::Good } else { Seen::Bad }
    }
}
