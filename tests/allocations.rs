//! What a call costs that goes well: no layer allocates but what it exists to keep. And what an upload costs that is larger
//! than the memory it may take.

#[path = "allocations/upload.rs"]
mod upload;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use stonework::balance::{Balancer, BalancerSettings, Member, Pick, StickyHeader};
use stonework::base::{Error, Peer, Ratio, TimeoutHeader};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings, BreakersLayer};
use stonework::fallback::FallbackLayer;
use stonework::health::{Health, Impact};
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::idempotency::{IdempotencyLayer, MemoryStore};
use stonework::limit::{
    AdaptiveThrottle, AdaptiveThrottleLayer, Admission, ConcurrencyLimitLayer, ForwardingHeader,
    KeyedConcurrencyLimiter, KeyedRateLimiter, Quota, RateLimitLayer, RateLimiter, ServerQuotaLayer,
    TrustedProxies,
};
use stonework::observe::SpanLayer;
use stonework::pool::{Manage, Pool, PoolSettings};
use stonework::retry::{CollectLayer, ResumeLayer, RetryLayer};
use stonework::timeout::{AttemptTimeoutLayer, ReceiveDeadlineLayer, SendDeadlineLayer, TimeoutLayer};
use tower::{Layer, Service, ServiceBuilder};

type Content = Full<Bytes>;

/// Always ready, and answers at once.
#[derive(Clone)]
struct AtOnce;

impl<R> Service<R> for AtOnce {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Content>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        ready(Ok(Response::new(Content::default())))
    }
}

/// Allocations of the hundredth call; what is set up once is over by then.
fn allocations<S>(mut service: S, request: impl Fn() -> Request<Content>) -> u64
where
    S: Service<Request<Content>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut last = 0;
    for _ in 0..100 {
        let request = request();
        last = measure(|| {
            assert!(service.poll_ready(&mut cx).is_ready());
            let mut call = std::pin::pin!(service.call(request));
            assert!(call.as_mut().poll(&mut cx).is_ready());
        })
        .count_total;
    }
    last
}

/// Always ready, and answers at once with what was put there.
#[derive(Clone, Default)]
struct Downloads(Arc<Mutex<Option<Response<Content>>>>);

impl<R> Service<R> for Downloads {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Content>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        ready(Ok(self.0.lock().unwrap().take().expect("put there before the call")))
    }
}

/// Allocations of the hundredth call through `layer`, its answer read to its end.
fn allocations_of_a_download<L, B>(layer: L, request: impl Fn() -> Request<Content>) -> u64
where
    L: Layer<Downloads>,
    L::Service: Service<Request<Content>, Response = Response<B>>,
    B: http_body::Body,
{
    let downloads = Downloads::default();
    let mut service = layer.layer(downloads.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let mut last = 0;
    for _ in 0..100 {
        let request = request();
        // Copying the tag is free here, as it is of one that a transport cut out of what it read.
        let tag = http::HeaderValue::from_static("\"v1\"");
        let answer = Response::builder().header("etag", tag).header("content-length", 7);
        *downloads.0.lock().unwrap() = Some(answer.body(Content::from("content")).expect("valid"));
        last = measure(|| {
            assert!(service.poll_ready(&mut cx).is_ready());
            let mut call = std::pin::pin!(service.call(request));
            let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) else {
                panic!("not answered at once")
            };
            let mut body = std::pin::pin!(response.into_body());
            assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
            assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(None)));
        })
        .count_total;
    }
    last
}

fn get() -> Request<Content> {
    Request::get("http://example.test/").body(Content::from("in memory")).expect("valid")
}

fn with_headers() -> Request<Content> {
    Request::get("http://example.test/")
        .header("accept", "text/plain")
        .body(Content::from("x"))
        .expect("valid")
}

#[test]
fn the_measure_sees_an_allocation() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
    assert_eq!(allocations(AtOnce, get), 0);
}

/// Listens, and wants nothing.
struct Uninterested;

impl tracing::Subscriber for Uninterested {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        panic!("nobody wanted it")
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn spans_that_a_subscriber_does_not_want_allocate_nothing() {
    tracing::subscriber::with_default(Uninterested, || {
        assert_eq!(allocations(SpanLayer::call().layer(AtOnce), get), 0);
        assert_eq!(allocations(SpanLayer::attempt().layer(AtOnce), get), 0);
    });
}

#[test]
fn spans_that_nobody_wants_allocate_nothing() {
    assert_eq!(allocations(SpanLayer::call().layer(AtOnce), get), 0);
    assert_eq!(allocations(SpanLayer::attempt().layer(AtOnce), get), 0);
}

#[tokio::test(start_paused = true)]
async fn limits_allocate_nothing() {
    let limit = Duration::from_secs(1);
    assert_eq!(allocations(TimeoutLayer::new(limit).layer(AtOnce), get), 0);
    assert_eq!(allocations(AttemptTimeoutLayer::new(limit).layer(AtOnce), get), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_received_allocates_nothing_and_neither_does_one_that_need_not_be_sent() {
    let told = || {
        let mut request = with_headers();
        request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static("1S"));
        request
    };
    let (receive, send) =
        (ReceiveDeadlineLayer::new(TimeoutHeader::Grpc), SendDeadlineLayer::new(TimeoutHeader::Grpc));
    for request in [with_headers, told] {
        assert_eq!(allocations(receive.layer(AtOnce), request), 0);
        assert_eq!(allocations(send.layer(AtOnce), request), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_allocates_nothing_but_the_copy_of_the_head() {
    let copies = |request: fn() -> Request<Content>| {
        let request = request();
        measure(|| drop(std::hint::black_box((request.headers().clone(), request.uri().clone())))).count_total
    };
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(RetryLayer::new())
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        .service(AtOnce);
    assert_eq!(allocations(service.clone(), get), copies(get));
    assert_eq!(allocations(service.clone(), with_headers), copies(with_headers));
    let never = || {
        let mut request = with_headers();
        stonework::Call::edit(request.extensions_mut(), stonework::Call::never_retry);
        request
    };
    assert_eq!(allocations(service, never), 0, "a request that is sent once is not copied");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_not_fired_allocates_nothing_but_the_copy_of_the_head() {
    let copies = |request: fn() -> Request<Content>| {
        let request = request();
        measure(|| drop(std::hint::black_box((request.headers().clone(), request.uri().clone())))).count_total
    };
    let layer = HedgeLayer::from(HedgeSettings::new().fixed_delay(Duration::from_secs(1)));
    assert_eq!(allocations(layer.clone().layer(AtOnce), get), copies(get));
    assert_eq!(allocations(layer.clone().layer(AtOnce), with_headers), copies(with_headers));
    let post = || {
        let mut request = with_headers();
        *request.method_mut() = http::Method::POST;
        request
    };
    assert_eq!(allocations(layer.layer(AtOnce), post), 0, "a request that is sent once is not copied");
    // Inside of a retry, before anything was learned.
    let both = ServiceBuilder::new().layer(RetryLayer::new()).layer(HedgeLayer::new()).service(AtOnce);
    assert_eq!(allocations(both, with_headers), copies(with_headers), "the copy of the retry");
}

#[tokio::test(start_paused = true)]
async fn a_closed_circuit_allocates_nothing_whatever_it_counts() {
    let settings = BreakerSettings::new;
    let slow = settings().slow_calls(Duration::from_secs(1), Ratio::percent(50));
    for settings in [settings(), slow, settings().window_of_calls(100), settings().consecutive_failures(5)] {
        let layer = BreakerLayer::from(Breaker::new(settings).expect("valid settings"));
        assert_eq!(allocations(layer.clone().layer(AtOnce), get), 0);
        assert_eq!(allocations(layer.clone().answer().layer(AtOnce), get), 0);
        assert_eq!(allocations_of_a_download(layer, get), 0, "until the body has ended");
    }
    // Copies of the request's host are counted references.
    assert_eq!(allocations(BreakersLayer::new().layer(AtOnce), with_headers), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pick_allocates_nothing_however_it_is_made_and_neither_does_a_call_until_its_body_has_ended() {
    let members = || (0..100).map(|at| Member::new(format!("{at}")).weight(1 + at % 3));
    for pick in [Pick::PeakEwma, Pick::LeastLoaded, Pick::WeightedRoundRobin] {
        let settings = BalancerSettings::new().pick(pick);
        let balancer = Balancer::builder(|_| AtOnce).members(members()).settings(settings).build().unwrap();
        assert_eq!(allocations(balancer.service(), get), 0, "{pick:?}");
        assert_eq!(allocations(balancer.service().plain(), get), 0, "{pick:?}");
        // Some of them come later than the others, so that they begin slowly.
        balancer.set((0..120).map(|at| Member::new(format!("{at}"))));
        assert_eq!(allocations(balancer.service(), get), 0, "{pick:?}");
        let sticky = balancer.service().sticky(StickyHeader::new(http::header::ACCEPT));
        assert_eq!(allocations(sticky, with_headers), 0, "with a key");
    }
    let downloads = tower::layer::layer_fn(|inner: Downloads| {
        Balancer::builder(move |_| inner.clone()).members(members()).build().unwrap().service()
    });
    assert_eq!(allocations_of_a_download(downloads, get), 0, "until the body has ended");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_allocates_nothing_but_the_copy_of_the_head_and_a_value_not_even_that() {
    let copies = |request: fn() -> Request<Content>| {
        let request = request();
        measure(|| drop(std::hint::black_box((request.headers().clone(), request.uri().clone())))).count_total
    };
    let other = FallbackLayer::service(AtOnce);
    assert_eq!(allocations(other.layer(AtOnce), get), copies(get));
    assert_eq!(allocations(other.layer(AtOnce), with_headers), copies(with_headers));
    let never = || {
        let mut request = with_headers();
        stonework::Call::edit(request.extensions_mut(), stonework::Call::never_retry);
        request
    };
    assert_eq!(allocations(other.layer(AtOnce), never), 0, "a request that is sent once is not copied");
    assert_eq!(allocations(other.when(false).layer(AtOnce), with_headers), 0);
    let value = FallbackLayer::value(|_: &Error| Response::new(Content::default()));
    assert_eq!(allocations(value.layer(AtOnce), with_headers), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_allocates_nothing_but_the_head_of_its_answer_and_what_is_none_not_even_that() {
    let check = || std::future::ready(true);
    let health = Health::builder().liveness("heart", || true).readiness("disk", Impact::Hard, check);
    let health = health.readiness("database", Impact::Shared, check).build().expect("valid");
    assert!(health.wait_ready().await);
    assert_eq!(measure(|| assert!(health.live() && health.ready() && health.started())).count_total, 0);
    let head = measure(|| {
        let mut response = Response::new(());
        let value = http::HeaderValue::from_static;
        response.headers_mut().insert("content-type", value("text/plain"));
        response.headers_mut().insert("cache-control", value("no-store"));
        drop(std::hint::black_box(response));
    });
    let probe = || Request::get("/readyz").body(Content::default()).expect("valid");
    assert_eq!(allocations(health.layer().layer(AtOnce), probe), head.count_total);
    assert_eq!(allocations(health.layer().layer(AtOnce), get), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_one_frame_is_collected_without_an_allocation() {
    assert_eq!(allocations_of_a_download(CollectLayer::new(64), get), 0);
    assert_eq!(
        allocations_of_a_download(CollectLayer::new(1), get),
        0,
        "and one that is too large passed on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_download_that_does_not_break_off_costs_the_copy_of_its_head_if_it_can_be_resumed_at_all() {
    let copy = |request: Request<Content>| {
        measure(|| drop(std::hint::black_box((request.headers().clone(), request.uri().clone())))).count_total
    };
    let resume = ResumeLayer::new();
    let empty = || with_headers().map(|_| Content::default());
    assert_eq!(allocations_of_a_download(resume.clone(), empty), copy(empty()));
    let with_a_range = || {
        let mut request = empty();
        request.headers_mut().insert("range", http::HeaderValue::from_static("bytes=0-"));
        request
    };
    assert_eq!(allocations_of_a_download(resume.clone(), with_a_range), 0);
    assert_eq!(allocations_of_a_download(resume.when(false), empty), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_client_does_not_hold_back_allocates_nothing() {
    assert_eq!(allocations(AdaptiveThrottleLayer::default().layer(AtOnce), with_headers), 0);
    assert_eq!(allocations(AdaptiveThrottleLayer::from(AdaptiveThrottle::default()).layer(AtOnce), get), 0);
    assert_eq!(allocations(ServerQuotaLayer::new().layer(AtOnce), with_headers), 0);
    let waits = ServerQuotaLayer::new().wait_up_to(Duration::from_secs(1));
    assert_eq!(allocations(waits.layer(AtOnce), get), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_limit_lets_in_allocates_nothing() {
    let key = |_: &Request<Content>| 7_u32;
    let exempt = |_: &Request<Content>| false;
    for quota in [Quota::per_hour(1_000_000), Quota::per_hour(1_000_000).strict()] {
        let rate = RateLimitLayer::new(quota).expect("valid");
        assert_eq!(allocations(rate.clone().layer(AtOnce), get), 0);
        assert_eq!(allocations(rate.clone().plain().layer(AtOnce), get), 0);
        assert_eq!(allocations(rate.clone().wait_up_to(Duration::from_secs(1)).layer(AtOnce), get), 0);
        assert_eq!(allocations(rate.clone().admission(Admission::Backpressure).layer(AtOnce), get), 0);
        assert_eq!(allocations(rate.clone().answer().without_fields().layer(AtOnce), get), 0);
        let second = RateLimiter::new(quota).expect("valid");
        let two = rate.clone().and(second).cost(|_: &Request<Content>| 2).except(exempt);
        assert_eq!(allocations(two.layer(AtOnce), get), 0);
        let keyed = RateLimitLayer::keyed(KeyedRateLimiter::new(quota).expect("valid"), key);
        assert_eq!(allocations(keyed.layer(AtOnce), get), 0, "of a key that is in use");
        assert_eq!(allocations_of_a_download(rate, get), 0);
    }
    let places = ConcurrencyLimitLayer::new(10).expect("valid");
    assert_eq!(allocations(places.clone().layer(AtOnce), get), 0);
    assert_eq!(allocations(places.clone().plain().layer(AtOnce), get), 0);
    assert_eq!(allocations(places.clone().wait_up_to(Duration::from_secs(1)).layer(AtOnce), get), 0);
    assert_eq!(allocations(places.clone().admission(Admission::Backpressure).layer(AtOnce), get), 0);
    assert_eq!(allocations(places.clone().answer().layer(AtOnce), get), 0);
    assert_eq!(allocations_of_a_download(places, get), 0, "until the body has ended");
    let limiter = KeyedConcurrencyLimiter::new(10).expect("valid");
    let _in_use = limiter.try_acquire(&7);
    let keyed = ConcurrencyLimitLayer::keyed(limiter, key);
    assert_eq!(allocations(keyed.layer(AtOnce), get), 0, "of a key that is in use");
}

#[tokio::test(start_paused = true)]
async fn the_fields_of_a_rate_limit_cost_what_they_are_made_of() {
    let answering = RateLimitLayer::new(Quota::per_hour(1_000_000)).expect("valid").answer();
    // The list of limits and the box they are kept in, two texts, two values, and the map of the head.
    assert_eq!(allocations(answering.layer(AtOnce), get), 8);
}

#[tokio::test]
async fn a_request_without_a_key_costs_nothing_and_one_with_a_key_what_it_keeps() {
    let layer = IdempotencyLayer::new(MemoryStore::new()).attached();
    let post = |key: Option<HeaderValue>| {
        let mut request =
            Request::post("http://example.test/").body(Content::from("in memory")).expect("valid");
        request.headers_mut().extend(key.map(|key| (stonework::base::IDEMPOTENCY_KEY, key)));
        request
    };
    assert_eq!(allocations(layer.layer(AtOnce), get), 0);
    assert_eq!(allocations(layer.layer(AtOnce), || post(None)), 0);
    assert_eq!(
        allocations(layer.clone().when(false).layer(AtOnce), || post(Some(HeaderValue::from_static("a")))),
        0
    );
    let again = allocations(layer.layer(AtOnce), || post(Some(HeaderValue::from_static("a"))));
    let number = std::sync::atomic::AtomicU64::new(0);
    let next = || HeaderValue::from(number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    // The least of twenty: keys of one millisecond stand in an order of chance, whose tree now and then needs another node.
    let first =
        (0..20).map(|_| allocations(layer.layer(AtOnce), || post(Some(next())))).min().expect("twenty");
    // The head and its body, the route, the key and the call in its box; what is kept of it, and the map that has it.
    assert_eq!((again, first), (9, 13));
}

/// Connects at once, and says at once that all is well.
struct Numbers;

impl Manage for Numbers {
    type Object = u32;
    type Error = Infallible;

    async fn connect(&self) -> Result<u32, Infallible> {
        Ok(7)
    }
}

#[tokio::test]
async fn an_object_that_lies_ready_is_handed_out_without_an_allocation_also_if_it_is_asked_how_it_is() {
    for unused in [Duration::from_secs(60), Duration::ZERO] {
        let settings = PoolSettings::new().max(1).check_after(unused);
        let pool = Pool::builder(Numbers).settings(settings).build().unwrap();
        for _ in 0..3 {
            pool.get().await.unwrap().put_back();
        }
        let cost = measure(|| pool.get().now_or_never().expect("it is there").unwrap().put_back());
        assert_eq!(cost.count_total, 0, "{unused:?}");
    }
}

#[test]
fn finding_out_who_is_asking_allocates_nothing() {
    let peer = Peer::from(std::net::SocketAddr::from(([10, 0, 0, 1], 80)));
    for (header, line) in [
        (ForwardingHeader::XForwardedFor, "203.0.113.9, [2001:db8::7]:80, 10.0.0.2"),
        (ForwardingHeader::Forwarded, "for=\"a, for=\"[2001:db8::7]\";host=\",\\\"\", for=10.0.0.2"),
    ] {
        let headers = HeaderMap::from_iter([(header.name(), HeaderValue::from_static(line))]);
        for (proxies, client) in [
            (TrustedProxies::none(), "10.0.0.1"),
            (TrustedProxies::hops(2).unwrap().header(header), "2001:db8::7"),
            (TrustedProxies::networks(["10.0.0.0/8"]).unwrap().header(header), "2001:db8::7"),
        ] {
            let mut found = None;
            let cost = measure(|| found = Some(proxies.client(peer, &headers)));
            assert_eq!((cost.count_total, found.unwrap().to_string().as_str()), (0, client), "{proxies}");
        }
    }
}
