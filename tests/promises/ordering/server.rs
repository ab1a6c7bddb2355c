//! The stack of a server: first as it should be, then with two layers swapped.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use stonework::Body;
use stonework::base::{Answer, BoxError, ByClient, Peer, Problem};
use stonework::health::{Health, HealthLayer};
use stonework::limit::{
    ClientAddressLayer, ConcurrencyLimitLayer, ConcurrencyLimiter, KeyedRateLimiter, Quota, RateLimitLayer,
    TrustedProxies,
};
use stonework::observe::{AccessLogLayer, RequestIdLayer};
use stonework::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::sent;
use crate::requests::Lines;
use crate::support::{SECOND, polled, timed};

/// Never answers `/slow`.
async fn handle(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/slow" {
        return pending().await;
    }
    Ok(Response::new(Body::from("hello")))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// So many calls at once, and more are answered with a refusal.
type InFlight = ConcurrencyLimitLayer<ConcurrencyLimiter, Answer<Problem>>;

fn one_at_a_time() -> InFlight {
    ConcurrencyLimitLayer::new(1).unwrap().answer()
}

/// What this is answered while a call to `/slow` is under way.
async fn while_busy<S, B>(service: S, request: Request<Body>) -> Response<B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
{
    let mut slow = Box::pin(service.clone().oneshot(get("/slow")));
    assert!(polled(&mut slow).await.is_pending());
    service.oneshot(request).await.unwrap()
}

// ───────────────────────────────────────────────────────────────────────────── what is there for all

#[tokio::test]
async fn probes_behind_a_limit_fail_when_the_server_has_much_to_do() {
    let health = || HealthLayer::from(Health::builder().build().unwrap());
    let service = health().layer(one_at_a_time().layer(service_fn(handle)));
    assert_eq!(while_busy(service, get("/livez")).await.status(), 200);

    let service = one_at_a_time().layer(health().layer(service_fn(handle)));
    assert_eq!(while_busy(service, get("/livez")).await.status(), 503, "and whoever asked restarts it");
}

#[tokio::test]
async fn what_is_refused_outside_of_the_request_id_has_no_name() {
    let named = RequestIdLayer::new();
    let service = named.layer(one_at_a_time().layer(service_fn(handle)));
    let refused = while_busy(service, get("/")).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("x-request-id")), (503, true));

    let service = one_at_a_time().layer(named.layer(service_fn(handle)));
    let refused = while_busy(service, get("/")).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("x-request-id")), (503, false));
}

#[test]
fn what_is_refused_outside_of_the_access_log_is_in_no_line() {
    let log = AccessLogLayer::new();
    let once = || RateLimitLayer::new(Quota::per_hour(1)).unwrap().answer();
    let lines = Lines::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    crate::support::subscriber::with_default(lines.clone(), || {
        runtime.block_on(async {
            let service = log.layer(once().layer(service_fn(handle)));
            assert_eq!(read_twice(service).await, [200, 429]);
            assert_eq!(lines.count(), 2);

            let service = once().layer(log.layer(service_fn(handle)));
            assert_eq!(read_twice(service).await, [200, 429]);
            assert_eq!(lines.count(), 3, "one of two");
        });
    });
}

/// The statuses of two answers, each read to its end.
async fn read_twice<S, B>(service: S) -> [u16; 2]
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let mut statuses = [0; 2];
    for status in &mut statuses {
        let answer = service.clone().oneshot(get("/")).await.unwrap();
        *status = answer.status().as_u16();
        answer.into_body().collect().await.unwrap();
    }
    statuses
}

// ───────────────────────────────────────────────────────────────────────────── limits

#[tokio::test]
async fn a_limit_for_each_client_outside_of_who_it_is_takes_all_behind_a_proxy_for_one() {
    let address = || ClientAddressLayer::new(TrustedProxies::hops(1).unwrap());
    let limit = || {
        let clients = KeyedRateLimiter::new(Quota::per_hour(1)).unwrap();
        RateLimitLayer::keyed(clients, ByClient).answer()
    };
    let from = |client: &str| {
        let mut request = get("/");
        request.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        let proxy: SocketAddr = "10.0.0.1:4711".parse().unwrap();
        request.extensions_mut().insert(Peer::from(proxy));
        request
    };
    let service = address().layer(limit().layer(service_fn(handle)));
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.1", 429), ("192.0.2.2", 200)] {
        assert_eq!(sent(service.clone(), from(client)).await.unwrap(), status, "{client}");
    }

    let service = limit().layer(address().layer(service_fn(handle)));
    for (client, status) in [("192.0.2.1", 200), ("192.0.2.2", 429)] {
        assert_eq!(sent(service.clone(), from(client)).await.unwrap(), status, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_outside_of_the_deadline_keeps_those_whose_time_is_over() {
    let limit = || TimeoutLayer::new(SECOND).answer();
    let queue = || ConcurrencyLimitLayer::new(1).unwrap().wait_up_to(10 * SECOND).answer();
    let queued = queue();
    let mut slow = Box::pin(queued.layer(service_fn(handle)).oneshot(get("/slow")));
    assert!(polled(&mut slow).await.is_pending());
    let (result, took) = timed(sent(limit().layer(queued.layer(service_fn(handle))), get("/"))).await;
    assert!(result.unwrap() >= 500);
    assert_eq!(took, SECOND);

    let (result, took) = timed(sent(queued.layer(limit().layer(service_fn(handle))), get("/"))).await;
    assert_eq!((result.unwrap(), took), (503, 10 * SECOND));
}

#[tokio::test]
async fn a_full_server_inside_of_a_rate_limit_charges_for_what_it_refuses() {
    let once = || RateLimitLayer::new(Quota::per_hour(1)).unwrap().answer();
    let in_flight = one_at_a_time();
    let service = in_flight.layer(once().layer(service_fn(handle)));
    assert_eq!(refused_and_then_asked(&in_flight, service).await, [503, 200]);

    let in_flight = one_at_a_time();
    let service = once().layer(in_flight.layer(service_fn(handle)));
    assert_eq!(refused_and_then_asked(&in_flight, service).await, [503, 429]);
}

/// What it answers while there is no room, and when there is.
async fn refused_and_then_asked<S, B>(in_flight: &InFlight, service: S) -> [u16; 2]
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
{
    let mut slow = Box::pin(in_flight.layer(service_fn(handle)).oneshot(get("/slow")));
    assert!(polled(&mut slow).await.is_pending());
    let refused = sent(service.clone(), get("/")).await.unwrap();
    drop(slow);
    [refused, sent(service, get("/")).await.unwrap()]
}
