//! Callers of whom nobody knows anything, and who give no time: what is called on their behalf is not blamed.

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderName, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::Body;
use stonework::balance::Balancer;
use stonework::base::{
    BoxError, CircuitState, Detach, EndpointState, Error, Kind, Peer, Ratio, TimeoutHeader, TrustedPeers,
    deadline,
};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::limit::{
    AdaptiveSettings, AdaptiveThrottle, AdaptiveThrottleLayer, ConcurrencyLimitLayer, ConcurrencyLimiter,
    MemoryStore, Quota, QuotaStore, Refill, SharedRateLimiter, Taken,
};
use stonework::timeout::{BodyLimits, ReceiveDeadlineLayer, ResponseBodyTimeoutLayer, TimeoutLayer};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Content, SECOND, answer};

const MS: Duration = Duration::from_millis(1);
const LEFT: HeaderName = HeaderName::from_static("stonework-timeout-ms");

/// Healthy, and takes twenty milliseconds.
async fn backend(_: Request<Content>) -> Result<Response<Content>, Error> {
    sleep(20 * MS).await;
    Ok(answer(200))
}

/// What a server answers that asks it: 504 if it does not answer in time.
fn asked<S, B>(
    client: S,
    believed: TrustedPeers,
) -> impl Service<Request<Content>, Response = u16, Error = Infallible> + Clone
where
    S: Service<Request<Content>, Response = Response<B>, Error = Error> + Clone,
{
    let handler = service_fn(move |_: Request<Content>| {
        let client = client.clone();
        async move {
            let request = Request::get("http://backend.test/").body(Content::default()).unwrap();
            let answered = client.oneshot(request).await.map(|response| response.status().as_u16());
            let failed = |error: Error| if error.kind() == Kind::Timeout { 504 } else { 503 };
            Ok::<_, Infallible>(answer(answered.unwrap_or_else(failed)))
        }
    });
    let deadline = ReceiveDeadlineLayer::new(TimeoutHeader::Millis(LEFT)).believe(believed);
    deadline.at_most(10 * SECOND).answer().layer(handler).map_response(|response| response.status().as_u16())
}

/// Asks as somebody from there who has so much time left.
async fn ask<S>(server: &S, left: Option<u32>) -> u16
where
    S: Service<Request<Content>, Response = u16, Error = Infallible> + Clone,
{
    let mut request = Request::get("/").body(Content::default()).unwrap();
    if let Some(left) = left {
        request.headers_mut().insert(LEFT, left.into());
    }
    request.extensions_mut().insert(Peer::from("10.1.2.3:1".parse::<std::net::SocketAddr>().unwrap()));
    server.clone().oneshot(request).await.unwrap()
}

/// A circuit to the backend, without and with a limit on each call inside of it, which is the one who speaks then.
fn circuits() -> [Breaker; 2] {
    [(); 2].map(|()| Breaker::new(BreakerSettings::new()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn callers_who_give_a_millisecond_open_no_circuit() {
    for (nth, breaker) in circuits().into_iter().enumerate() {
        let layer = BreakerLayer::from(breaker.clone());
        let limit = TimeoutLayer::new(3 * SECOND).when(nth == 1);
        let server = asked(layer.layer(limit.layer(service_fn(backend))), TrustedPeers::everybody());
        for _ in 0..600 {
            for _ in 0..2 {
                assert_eq!(ask(&server, Some(1)).await, 504);
            }
            assert_eq!(ask(&server, None).await, 200);
            sleep(100 * MS).await;
        }
        assert_eq!((breaker.state(), breaker.stats().failures()), (CircuitState::Closed, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_in_a_time_that_means_something_is_blamed() {
    let own = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    for (believed, left) in [
        // Peers of one's own may be as short as they like; and strangers are believed from a second on.
        (own, Some(10)),
        (TrustedPeers::everybody(), Some(1_000)),
        // The server's own limit.
        (TrustedPeers::everybody(), None),
    ] {
        for (nth, breaker) in circuits().into_iter().enumerate() {
            let layer = BreakerLayer::from(breaker.clone());
            let limit = TimeoutLayer::new(20 * SECOND).when(nth == 1);
            let silent =
                service_fn(|_: Request<Content>| std::future::pending::<Result<Response<Content>, Error>>());
            let server = asked(layer.layer(limit.layer(silent)), believed.clone());
            futures_util::future::join_all([(); 100].map(|()| ask(&server, left))).await;
            assert_eq!(breaker.state(), CircuitState::Open, "{believed}, {left:?}");
        }
    }
}

/// What answers under this circuit, asked ten times by a stranger who has a millisecond.
async fn failures<S, B, E>(breaker: &Breaker, handler: S) -> u64
where
    S: Service<Request<Content>, Response = Response<B>, Error = E, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: std::fmt::Debug>,
    E: std::fmt::Debug,
{
    let deadline = ReceiveDeadlineLayer::new(TimeoutHeader::Millis(LEFT)).at_most(10 * SECOND).answer();
    let server = deadline.layer(handler);
    for _ in 0..10 {
        let mut request = Request::get("/").body(Content::default()).unwrap();
        request.headers_mut().insert(LEFT, 1.into());
        let answer = server.clone().oneshot(request).await.unwrap();
        // It is cut off, where it is a body that takes so long.
        let _ = answer.into_body().collect().await;
        sleep(50 * MS).await;
    }
    breaker.stats().failures()
}

#[tokio::test(start_paused = true)]
async fn haste_goes_with_what_is_carried_or_detached() {
    for by_detach in [false, true] {
        let breaker = Breaker::new(BreakerSettings::new()).unwrap();
        let limit = TimeoutLayer::new(3 * SECOND);
        let client = BreakerLayer::from(breaker.clone()).layer(limit.layer(service_fn(backend)));
        let detach = Detach::new(100);
        let handler = service_fn(move |_: Request<Content>| {
            let (client, detach) = (client.clone(), detach.clone());
            async move {
                let request = Request::get("http://backend.test/").body(Content::default()).unwrap();
                let work = async move { client.oneshot(request).await.map(drop) };
                if by_detach {
                    let _ = detach.spawn(work).unwrap().await;
                } else {
                    let _ = tokio::spawn(deadline::carry(work)).await;
                }
                Ok::<_, Infallible>(answer(200))
            }
        });
        assert_eq!(failures(&breaker, handler).await, 0, "{by_detach}");
    }
}

/// The head at once, and the body after twenty milliseconds.
async fn head_first(_: Request<Content>) -> Result<Response<Body>, Error> {
    let late = Box::pin(async {
        sleep(20 * MS).await;
        Ok::<_, Infallible>(Frame::data(bytes::Bytes::from("late")))
    });
    Ok(Response::new(Body::new(StreamBody::new(futures_util::stream::once(late)))))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_a_stranger_gives_no_time_is_not_blamed_either() {
    let until = ResponseBodyTimeoutLayer::new(BodyLimits::new().until_deadline());
    let breaker = Breaker::new(BreakerSettings::new()).unwrap();
    let client = BreakerLayer::from(breaker.clone()).layer(until.layer(service_fn(head_first)));
    // Passed on, as a gateway does.
    let balancer = Balancer::builder(move |_| client.clone()).members(["a"]).build().unwrap();
    assert_eq!(failures(&breaker, balancer.service()).await, 0);
    let stats = balancer.stats();
    assert!(stats.endpoints().iter().all(|endpoint| endpoint.state() == EndpointState::Ready));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_ones_own_that_is_earlier_than_what_a_stranger_says_counts() {
    let breaker = Breaker::new(BreakerSettings::new()).unwrap();
    let silent = service_fn(|_: Request<Content>| std::future::pending::<Result<Response<Content>, Error>>());
    let client = BreakerLayer::from(breaker.clone()).layer(silent);
    let deadline = ReceiveDeadlineLayer::new(TimeoutHeader::Millis(LEFT)).at_most(10 * SECOND);
    let server = TimeoutLayer::new(500 * MS).layer(deadline.layer(client));
    for _ in 0..10 {
        let mut request = Request::get("/").body(Content::default()).unwrap();
        request.headers_mut().insert(LEFT, 900.into());
        let error = server.clone().oneshot(request).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
    }
    assert_eq!(breaker.stats().failures(), 10);
}

#[tokio::test(start_paused = true)]
async fn callers_who_give_a_millisecond_have_no_endpoint_ejected_and_nothing_throttled() {
    let balancer = Balancer::builder(|_| service_fn(backend)).members(["a", "b"]).build().unwrap();
    let throttle = AdaptiveThrottle::default();
    let throttled = AdaptiveThrottleLayer::from(throttle.clone()).layer(service_fn(backend));
    let servers =
        (asked(balancer.service(), TrustedPeers::everybody()), asked(throttled, TrustedPeers::everybody()));
    for _ in 0..500 {
        assert_eq!((ask(&servers.0, Some(1)).await, ask(&servers.1, Some(1)).await), (504, 504));
    }
    let stats = balancer.stats();
    assert!(stats.endpoints().iter().all(|endpoint| endpoint.state() == EndpointState::Ready));
    assert_eq!((throttle.chance(), throttle.throttled()), (Ratio::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn callers_who_give_a_millisecond_bring_no_adaptive_limit_down() {
    let limiter = ConcurrencyLimiter::new(AdaptiveSettings::new()).unwrap();
    let client = TimeoutLayer::new(3 * SECOND).layer(service_fn(backend));
    let inner = asked(client, TrustedPeers::everybody());
    // As a server has it: within the deadline, and around all that is called.
    let handler = service_fn(move |request: Request<Content>| {
        let inner = inner.clone();
        async move { inner.oneshot(request).await.map(answer) }
    });
    let limited = ConcurrencyLimitLayer::from(limiter.clone()).answer().layer(handler);
    let deadline = ReceiveDeadlineLayer::new(TimeoutHeader::Millis(LEFT)).at_most(10 * SECOND).answer();
    let server = deadline.layer(limited).map_response(|response| response.status().as_u16());
    let before = limiter.limit();
    for _ in 0..2_000 {
        let both = [(); 10].map(|()| async { (ask(&server, Some(1)).await, ask(&server, None).await) });
        for (stranger, honest) in futures_util::future::join_all(both).await {
            assert_eq!((stranger, honest), (504, 200));
        }
    }
    assert!(limiter.limit() >= before, "{} of {before}", limiter.limit());
}

/// A store that takes two milliseconds.
struct Slow(MemoryStore);

impl QuotaStore for Slow {
    async fn take(&self, key: &str, quotas: &[Refill], cost: u32) -> Result<Taken, BoxError> {
        sleep(2 * MS).await;
        self.0.take(key, quotas, cost).await
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_give_a_millisecond_keep_no_store_away() {
    let limiter = SharedRateLimiter::new(Slow(MemoryStore::new()), [Quota::per_second(1_000)]).unwrap();
    let asks = limiter.clone();
    let client = service_fn(move |_: Request<Content>| {
        let limiter = asks.clone();
        async move {
            limiter.take("key", 1).await?;
            Ok::<_, Error>(answer(200))
        }
    });
    let server = asked(client, TrustedPeers::everybody());
    for _ in 0..500 {
        ask(&server, Some(1)).await;
        assert!(!limiter.is_away());
        sleep(10 * MS).await;
    }
}
