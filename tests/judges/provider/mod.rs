//! Tokens of a provider that others wrote, the package `oidc-provider`: for clients that get them, and for servers that are called with them.

mod kit;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use futures_util::future::join_all;
use http::StatusCode;
use stonework::base::{ClientAuth, Delivery, Kind, TokenFault};
use stonework::jwt::{Algorithm, CannotTell, Claims, IntrospectLayer, Introspected, JwtLayer, SigningKey};
use stonework::oauth::NoToken;
use tokio::time::{Instant, sleep, timeout};

use self::kit::{EDDSA, OPAQUE, PATIENCE, Provider, RESOURCES, SECRET, call, fault, secret, serve};

#[tokio::test]
async fn however_a_client_proves_who_it_is_its_tokens_are_good_with_every_algorithm_of_the_provider() {
    let Some(mut provider) = Provider::start().await else { return };
    let keys = provider.keys();
    timeout(PATIENCE, keys.wait_ready()).await.expect("it is found, and has keys");
    let mut all = vec![
        ("orders: 1%".to_owned(), ClientAuth::basic("orders: 1%", SECRET)),
        ("billing".to_owned(), ClientAuth::body("billing", SECRET)),
    ];
    all.extend(provider.keyed.clone());
    for (id, auth) in &all {
        for resource in RESOURCES {
            let source = provider.source(auth.clone(), resource);
            let token = source.token().await.unwrap_or_else(|error| panic!("{id}: {error:#}"));
            assert_eq!(token.scope(), Some("stock:read"));
            assert!(source.stats().good_for.unwrap() <= Duration::from_secs(600));
            let claims = provider.verifier(&keys, resource).verify(token.secret()).await;
            let claims = claims.unwrap_or_else(|error| panic!("{id} {resource}: {error:#}"));
            assert_eq!((claims.subject(), claims.issuer()), (Some(&**id), Some(&*provider.issuer)));
            assert!(claims.principal().has_scope("stock:read"));
            let elsewhere = provider.verifier(&keys, "https://another.example");
            assert_eq!(fault(elsewhere.verify(token.secret()).await), Some(TokenFault::Audience));
        }
    }
    let (sets, tokens) = (provider.asked("/jwks").await, provider.asked("/token").await);
    assert_eq!((sets, tokens), (1, (all.len() * RESOURCES.len()) as u64));
}

#[tokio::test]
async fn who_proves_nothing_gets_no_token_and_is_told_why() {
    let Some(provider) = Provider::start().await else { return };
    let stranger = || SigningKey::generate(Algorithm::EdDsa).unwrap();
    for auth in [
        ClientAuth::basic("orders: 1%", "another"),
        ClientAuth::body("billing", "another"),
        ClientAuth::private_key("keyed-EdDSA", &provider.issuer, stranger()),
        ClientAuth::private_key("nobody", &provider.issuer, stranger()),
    ] {
        let error = provider.source(auth, EDDSA).token().await.unwrap_err();
        let Some(NoToken::Refused { why, .. }) = error.cause() else { panic!("{error:#}") };
        assert_eq!((why.status().as_u16(), why.error()), (401, Some("invalid_client")), "{error:#}");
    }
    let error = provider.usual("https://unknown.example").token().await.unwrap_err();
    let Some(NoToken::Refused { why, .. }) = error.cause() else { panic!("{error:#}") };
    assert_eq!((why.status().as_u16(), why.error()), (400, Some("invalid_target")), "{error:#}");
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_found_by_one_fetch_however_many_come_with_it() {
    let Some(mut provider) = Provider::start().await else { return };
    let keys = provider.keys();
    let verifier = provider.verifier(&keys, EDDSA);
    timeout(PATIENCE, keys.wait_ready()).await.expect("it has keys");
    let old = secret(&provider.usual(EDDSA)).await;
    assert_eq!(fault(verifier.verify(&old).await), None);
    assert_eq!(provider.asked("/jwks").await, 1);

    provider.does("rotate").await;
    let new = secret(&provider.usual(EDDSA)).await;
    let good = join_all([&old, &new].into_iter().cycle().take(100).map(|token| verifier.verify(token))).await;
    assert!(good.iter().all(Result::is_ok));
    assert_eq!((provider.asked("/jwks").await, keys.fetches()), (2, 2));

    // So soon after, it is not asked again, whoever comes; what is known is good.
    provider.does("rotate").await;
    let third = secret(&provider.usual(EDDSA)).await;
    for _ in 0..10 {
        assert_eq!(fault(verifier.verify(&third).await), Some(TokenFault::UnknownKey));
        assert_eq!(fault(verifier.verify(&new).await), None);
    }
    assert_eq!((provider.asked("/jwks").await, keys.fetches()), (2, 2));
    // A server that has just begun knows it.
    let keys = provider.keys();
    timeout(PATIENCE, keys.wait_ready()).await.expect("it has keys");
    assert_eq!(fault(provider.verifier(&keys, EDDSA).verify(&third).await), None);
}

#[tokio::test]
async fn a_token_whose_key_is_withdrawn_is_refused_and_the_request_is_sent_once_more_with_another() {
    let Some(mut provider) = Provider::start().await else { return };
    // The key that signed it goes before the server has seen any.
    let source = provider.usual(EDDSA);
    let old = secret(&source).await;
    provider.does("replace").await;
    let keys = provider.keys();
    let verifier = provider.verifier(&keys, EDDSA);
    timeout(PATIENCE, keys.wait_ready()).await.expect("it has keys");
    let hello = |claims: Claims| async move { claims.subject().unwrap_or_default().to_owned() };
    let app = Router::new().route("/", get(hello)).layer(JwtLayer::new(verifier).answer());
    let (origin, received) = serve(app).await;

    for _ in 0..3 {
        assert_eq!(call(&source, &origin).await.unwrap(), (StatusCode::OK, "billing".to_owned()));
    }
    assert_ne!(secret(&source).await, old);
    assert_eq!((received.load(Ordering::Relaxed), provider.asked("/token").await), (4, 2));
}

#[tokio::test]
async fn what_the_provider_says_of_a_token_is_believed_and_of_one_that_was_called_back_as_well() {
    let Some(provider) = Provider::start().await else { return };
    let source = provider.usual(OPAQUE);
    let token = secret(&source).await;
    let mut asking = vec![ClientAuth::basic("api", SECRET), ClientAuth::body("billing", SECRET)];
    asking.extend(provider.keyed.iter().map(|(_, auth)| auth.clone()));
    let all: Vec<_> = asking.into_iter().map(|auth| provider.introspector(auth, OPAQUE)).collect();
    for introspector in &all {
        let found = introspector.check(&token).await.unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!((found.client(), found.issuer()), (Some("billing"), Some(&*provider.issuer)));
        assert!(found.principal().has_scope("stock:read"));
        assert!(found.expires_at().is_some());
        assert_eq!(fault(introspector.check("never-given").await), Some(TokenFault::Inactive));
    }
    let elsewhere = provider.introspector(ClientAuth::basic("api", SECRET), "https://another.example");
    assert_eq!(fault(elsewhere.check(&token).await), Some(TokenFault::Audience));

    let introspector = all[0].clone();
    let hello = |request: Request| async move {
        let found = request.extensions().get::<Introspected>().expect("it was let in");
        found.client().unwrap_or_default().to_owned()
    };
    let app = Router::new().route("/", get(hello)).layer(IntrospectLayer::new(introspector).answer());
    let (origin, received) = serve(app).await;
    let good = (StatusCode::OK, "billing".to_owned());
    assert_eq!(call(&source, &origin).await.unwrap(), good);
    provider.revoke(&token).await;
    for introspector in &all {
        assert_eq!(fault(introspector.check(&token).await), Some(TokenFault::Inactive));
    }
    // Refused once, and then sent with another.
    assert_eq!(call(&source, &origin).await.unwrap(), good);
    assert_eq!((received.load(Ordering::Relaxed), source.stats().fetches), (3, 2));
}

#[tokio::test]
async fn while_the_provider_is_down_a_token_is_used_to_its_end_then_it_is_said_why_and_then_it_goes_on() {
    let Some(mut provider) = Provider::start().await else { return };
    let keys = provider.keys();
    // It signs, for three seconds, what is good for this.
    let short = "https://eddsa-3.example";
    let verifier = provider.verifier(&keys, short);
    timeout(PATIENCE, keys.wait_ready()).await.expect("it has keys");
    let source = provider.usual(short);
    let begun = Instant::now();
    let token = secret(&source).await;
    provider.does("down").await;

    let until_there_is_none = async {
        loop {
            match source.token().await {
                Ok(same) => assert_eq!(same.secret(), token),
                Err(error) => return error,
            }
            assert_eq!(fault(verifier.verify(&token).await), None, "keys are there without it");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let error = timeout(PATIENCE, until_there_is_none).await.expect("it is not good for ever");
    assert!(begun.elapsed() >= Duration::from_secs(3), "to its end: {:?}", begun.elapsed());
    assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
    assert!(matches!(error.cause(), Some(NoToken::Failed { .. })), "{error:#}");
    assert!(error.retry_after().is_some());
    // A call that needs one is not sent.
    let (origin, received) = serve(Router::new().route("/", get(|| async {}))).await;
    let error = call(&source, &origin).await.unwrap_err();
    assert!(error.cause::<NoToken>().is_some());
    assert_eq!((error.delivery(), received.load(Ordering::Relaxed)), (Delivery::NotSent, 0));
    // Nobody says of a token that it is not good.
    let introspector = provider.introspector(ClientAuth::basic("api", SECRET), OPAQUE);
    let error = introspector.check("any").await.unwrap_err();
    assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Revocation));

    provider.does("up").await;
    let again = async {
        while source.token().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("there are tokens again");
    let new = secret(&source).await;
    assert_ne!(new, token);
    assert_eq!(fault(verifier.verify(&new).await), None);
}
