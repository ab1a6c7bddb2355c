//! The stack of a server, where it has to do with who sends a request: first as it should be, then with two layers swapped.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use stonework::Body;
use stonework::base::{Answer, ByPrincipal, Principal, Problem};
use stonework::idempotency::{IdempotencyLayer, MemoryStore};
use stonework::jwt::{Algorithm, JwtLayer, Verifier};
use stonework::limit::{KeyedRateLimiter, Quota, RateLimitLayer};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::sent;
use crate::jwt::tokens::{ED25519, plain};

/// Says who asks.
async fn whoami(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let who = Principal::of(request.extensions()).and_then(|who| who.id().map(|id| id.subject().to_owned()));
    Ok(Response::new(Body::from(who.unwrap_or_else(|| "nobody".to_owned()))))
}

/// A request by this one, whose token is good until the year 2100; or with a token that is none.
fn by(who: Option<&str>) -> Request<Body> {
    let token = who.map_or_else(
        || "forged".to_owned(),
        |who| plain(Algorithm::EdDsa, &format!(r#"{{"sub":"{who}","exp":4102444800}}"#)),
    );
    let mut request = Request::post("/charges").body(Body::from("5 EUR")).unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("idempotency-key", "\"8e03978e\"".parse().unwrap());
    request
}

fn jwt() -> JwtLayer<(), Answer<Problem>> {
    let verifier = Verifier::builder().keys(ED25519.key(Algorithm::EdDsa)).algorithms([Algorithm::EdDsa]);
    JwtLayer::new(verifier.any_issuer().any_audience().build().unwrap()).answer()
}

#[tokio::test]
async fn tokens_that_are_checked_outside_of_the_limit_by_address_are_guessed_at_without_a_limit() {
    let twice = || RateLimitLayer::new(Quota::per_hour(2)).unwrap().answer();
    let service = twice().layer(jwt().layer(service_fn(whoami)));
    for status in [401, 401, 429, 429] {
        assert_eq!(sent(service.clone(), by(None)).await.unwrap(), status);
    }

    let service = jwt().layer(twice().layer(service_fn(whoami)));
    for _ in 0..100 {
        assert_eq!(sent(service.clone(), by(None)).await.unwrap(), 401);
    }
}

#[tokio::test]
async fn a_limit_for_each_sender_outside_of_who_it_is_takes_all_senders_for_one() {
    let once = || {
        let senders = KeyedRateLimiter::new(Quota::per_hour(1)).unwrap();
        RateLimitLayer::keyed(senders, ByPrincipal).answer()
    };
    let service = jwt().layer(once().layer(service_fn(whoami)));
    for (who, status) in [("alice", 200), ("alice", 429), ("bob", 200)] {
        assert_eq!(sent(service.clone(), by(Some(who))).await.unwrap(), status, "{who}");
    }

    let service = once().layer(jwt().layer(service_fn(whoami)));
    for (who, status) in [("alice", 200), ("bob", 429)] {
        assert_eq!(sent(service.clone(), by(Some(who))).await.unwrap(), status, "{who}");
    }
}

#[tokio::test]
async fn keyed_requests_outside_of_the_limit_for_each_sender_ask_their_store_without_a_limit() {
    let keys = || IdempotencyLayer::new(MemoryStore::new());
    let once = || {
        let senders = KeyedRateLimiter::new(Quota::per_hour(1)).unwrap();
        RateLimitLayer::keyed(senders, ByPrincipal).answer()
    };
    let service = jwt().layer(once().layer(keys().layer(service_fn(whoami))));
    for status in [200, 429, 429] {
        assert_eq!(sent(service.clone(), by(Some("alice"))).await.unwrap(), status);
    }

    let service = jwt().layer(keys().layer(once().layer(service_fn(whoami))));
    for _ in 0..100 {
        assert_eq!(sent(service.clone(), by(Some("alice"))).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn keyed_requests_outside_of_who_sends_them_are_answered_with_what_somebody_else_was_told() {
    let keys = || IdempotencyLayer::new(MemoryStore::new());
    let service = jwt().layer(keys().layer(service_fn(whoami)));
    assert_eq!(said(&service, Some("alice")).await, (200, "alice".to_owned()));
    assert_eq!(said(&service, Some("bob")).await, (200, "bob".to_owned()), "another sender's key is another");
    assert_eq!(said(&service, None).await.0, 401);

    let service = keys().layer(jwt().layer(service_fn(whoami)));
    assert_eq!(said(&service, Some("alice")).await, (200, "alice".to_owned()));
    assert_eq!(said(&service, Some("bob")).await, (200, "alice".to_owned()));
    assert_eq!(said(&service, None).await, (200, "alice".to_owned()), "and nobody looked at the token");
}

async fn said<S, B>(service: &S, who: Option<&str>) -> (u16, String)
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (head, body) = service.clone().oneshot(by(who)).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}
