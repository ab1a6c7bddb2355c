//! The stack of a client, where it has to do with a host: tokens, endpoints, circuits, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use stonework::Body;
use stonework::balance::Balancer;
use stonework::base::{BoxError, ClientAuth, EndpointId, Rng};
use stonework::breaker::{Breaker, BreakerLayer};
use stonework::limit::{AdaptiveThrottle, AdaptiveThrottleLayer, ConcurrencyLimitLayer, ThrottleSettings};
use stonework::oauth::{BearerLayer, TokenSource};
use stonework::testing::{Seen, Step};
use stonework::timeout::AttemptTimeoutLayer;
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};

use super::{MS, get, hangs, pausing, retry, sent};
use crate::balance::kit::plain;
use crate::support::{Backend, Content, SECOND, answer, answered, polled, request, timed, with_header};

// ───────────────────────────────────────────────────────────────────────────── tokens

const API: &str = "https://api.example";

/// Tokens `t1`, `t2`, …, each good for so many seconds, and each a while in coming.
fn tokens(good_for: u32, after: Duration) -> BearerLayer {
    let count = Arc::new(AtomicU32::new(0));
    let provider = service_fn(move |_: Request<Body>| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            sleep(after).await;
            let text =
                format!(r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":{good_for}}}"#);
            Ok::<_, BoxError>(Response::new(Body::from(text)))
        }
    });
    let builder = TokenSource::builder("https://id.example/token", ClientAuth::basic("orders", "a secret"));
    BearerLayer::new(builder.build(provider).unwrap(), [API]).unwrap()
}

fn to_the_api() -> Request<Content> {
    let mut request = request(Method::GET);
    *request.uri_mut() = API.parse().unwrap();
    request
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_added_outside_of_retry_may_be_over_when_the_next_attempt_is_sent() {
    let overloaded = || {
        let later = || Step::Answer(with_header(answer(503), "retry-after", "30"));
        Backend::script(move |call, _| if call == 1 { later() } else { answered(200) })
    };
    let shown = |seen: Seen<Request<Content>>| -> Vec<String> {
        let token = |request: &Request<Content>| request.headers()["authorization"].to_str().unwrap().into();
        seen.with(|all| all.iter().map(token).collect())
    };
    let backend = overloaded();
    let seen = backend.seen();
    sent(retry().layer(tokens(10, MS).layer(backend)), to_the_api()).await.unwrap();
    assert_eq!(shown(seen), ["Bearer t1", "Bearer t2"]);

    let backend = overloaded();
    let seen = backend.seen();
    sent(tokens(10, MS).layer(retry().layer(backend)), to_the_api()).await.unwrap();
    assert!(seen.gaps()[0] >= 30 * SECOND, "it was good for ten");
    assert_eq!(shown(seen), ["Bearer t1", "Bearer t1"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_waited_for_inside_of_the_limit_on_an_attempt_takes_the_servers_time() {
    let limit = AttemptTimeoutLayer::new(SECOND);
    let slow = || Backend::script(|_, _| Step::AnswerAfter(800 * MS, answer(200)));
    let late = || tokens(3_600, 800 * MS);
    assert_eq!(sent(late().layer(limit.layer(slow())), to_the_api()).await.unwrap(), 200);

    let error = sent(limit.layer(late().layer(slow())), to_the_api()).await.unwrap_err();
    assert!(error.is_timeout(), "the server had 200 ms");
}

// ───────────────────────────────────────────────────────────────────────────── endpoints, circuits, limits

#[tokio::test(start_paused = true)]
async fn a_retry_below_a_balancer_asks_the_same_sick_endpoint_again() {
    let endpoint = |id: &EndpointId| {
        let status = if id.as_str() == "sick" { 503 } else { 200 };
        Backend::script(move |_, _| answered(status))
    };
    let one = Balancer::builder(endpoint).members(["sick", "well"]).rng(Rng::seeded(1)).settings(plain());
    let service = retry().layer(one.build().unwrap().service());
    for _ in 0..20 {
        assert_eq!(get(service.clone()).await.unwrap(), 200);
    }

    let each = move |id: &EndpointId| retry().layer(endpoint(id));
    let one = Balancer::builder(each).members(["sick", "well"]).rng(Rng::seeded(1)).settings(plain());
    let service = one.build().unwrap().service();
    let mut failed = 0;
    for _ in 0..20 {
        failed += u32::from(get(service.clone()).await.unwrap() == 503);
    }
    assert!(failed > 0, "whoever came to the sick one was answered 503, after three attempts at it");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_outside_of_retry_opens_after_three_times_as_many_failures() {
    let fails = || Backend::script(|_, _| answered(500));
    let circuit = || BreakerLayer::from(Breaker::default());

    let backend = fails();
    let (seen, service) = (backend.seen(), pausing(MS).layer(circuit().layer(backend)));
    for _ in 0..30 {
        let _ = get(service.clone()).await;
    }
    assert_eq!(seen.count(), 20);

    let backend = fails();
    let (seen, service) = (backend.seen(), circuit().layer(pausing(MS).layer(backend)));
    for _ in 0..30 {
        let _ = get(service.clone()).await;
    }
    assert_eq!(seen.count(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_outside_of_retry_does_not_see_what_retry_makes_good() {
    let every_other_fails = || Backend::script(|call, _| answered(if call % 2 == 1 { 500 } else { 200 }));
    let circuit = || BreakerLayer::from(Breaker::default());

    let service = pausing(MS).layer(circuit().layer(every_other_fails()));
    for _ in 0..10 {
        assert_eq!(get(service.clone()).await.unwrap(), 200);
    }
    assert!(get(service).await.unwrap_err().is_circuit_open(), "of twenty attempts ten have failed");

    let service = circuit().layer(pausing(MS).layer(every_other_fails()));
    for _ in 0..500 {
        assert_eq!(get(service.clone()).await.unwrap(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttle_outside_of_retry_sends_three_times_what_a_service_takes_and_sees_nothing_of_it() {
    // It takes one of three, and refuses the others.
    let overloaded = || Backend::script(|call, _| answered(if call % 3 == 0 { 200 } else { 429 }));
    let throttle = || {
        let throttle = AdaptiveThrottle::new(ThrottleSettings::new()).unwrap();
        AdaptiveThrottleLayer::from(throttle.rng(Rng::seeded(1)))
    };
    let backend = overloaded();
    let (seen, service) = (backend.seen(), pausing(MS).layer(throttle().layer(backend)));
    let mut held_back = 0;
    for _ in 0..300 {
        held_back += u32::from(get(service.clone()).await.is_err_and(|error| error.is_overload()));
    }
    assert!(held_back > 0 && seen.count() < 600, "{held_back} of 300, {} sent", seen.count());

    let backend = overloaded();
    let (seen, service) = (backend.seen(), throttle().layer(pausing(MS).layer(backend)));
    for _ in 0..300 {
        assert_eq!(get(service.clone()).await.unwrap(), 200);
    }
    assert_eq!(seen.count(), 900);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_inside_of_a_queue_refuses_only_those_whose_turn_has_come() {
    let queue = || ConcurrencyLimitLayer::new(1).unwrap().wait_up_to(5 * SECOND);
    let breaker = Breaker::default();
    let service = BreakerLayer::from(breaker.clone()).layer(queue().layer(hangs()));
    let mut under_way = Box::pin(service.clone().oneshot(request(Method::GET)));
    assert!(polled(&mut under_way).await.is_pending());
    breaker.force_open();
    let (result, took) = timed(get(service)).await;
    assert!(result.unwrap_err().is_circuit_open());
    assert_eq!(took, Duration::ZERO);

    let breaker = Breaker::default();
    let service = queue().layer(BreakerLayer::from(breaker.clone()).layer(hangs()));
    let mut under_way = Box::pin(service.clone().oneshot(request(Method::GET)));
    assert!(polled(&mut under_way).await.is_pending());
    breaker.force_open();
    let (result, took) = timed(get(service)).await;
    assert!(result.unwrap_err().is_overload());
    assert_eq!(took, 5 * SECOND, "for a service that was known to be down");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_and_the_limit_on_an_attempt_may_stand_either_way() {
    let limit = AttemptTimeoutLayer::new(MS);
    let circuit = || BreakerLayer::from(Breaker::default());
    let (inside, outside) = (hangs(), hangs());
    let (seen_inside, seen_outside) = (inside.seen(), outside.seen());
    let (inside, outside) = (limit.layer(circuit().layer(inside)), circuit().layer(limit.layer(outside)));
    for _ in 0..30 {
        assert!(get(inside.clone()).await.is_err());
        assert!(get(outside.clone()).await.is_err());
    }
    assert_eq!((seen_inside.count(), seen_outside.count()), (20, 20));
}
