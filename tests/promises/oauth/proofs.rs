//! Who asks: what is sent to the server.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use stonework::base::{Sign, WallClock};
use stonework::jwt::{Algorithm, JwtSettings, Key, SigningKey, Verifier};

use super::*;
use crate::jwt::tokens::encode;

const ENDPOINT: &str = "https://id.example/token?tenant=1";

async fn sent(auth: ClientAuth) -> Asked {
    let provider = Provider::hourly();
    let builder = TokenSource::builder(ENDPOINT, auth).scope("stock:read stock:write");
    let source = builder.parameter("resource", "https://stock.example/?a=b").build(provider.clone()).unwrap();
    good(&source).await;
    provider.last()
}

const GRANT: &str = "grant_type=client_credentials&scope=stock%3Aread+stock%3Awrite&resource=https%3A%2F%2Fstock.example%2F%3Fa%3Db";

#[tokio::test(start_paused = true)]
async fn a_secret_is_sent_by_http_basic_and_encoded_before() {
    let Asked { head, form } = sent(ClientAuth::basic("orders:1", "a secret%")).await;
    assert_eq!((head.method().as_str(), head.uri().to_string().as_str()), ("POST", ENDPOINT));
    // "orders%3A1:a+secret%25"
    assert_eq!(head.headers()["authorization"], "Basic b3JkZXJzJTNBMTphK3NlY3JldCUyNQ==");
    assert!(head.headers()["authorization"].is_sensitive());
    assert_eq!(head.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(head.headers()["accept"], "application/json");
    assert_eq!(form, GRANT);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_sent_in_the_body_where_that_is_said() {
    let Asked { head, form } = sent(ClientAuth::body("orders", "a secret%")).await;
    assert!(!head.headers().contains_key("authorization"));
    assert_eq!(form, format!("{GRANT}&client_id=orders&client_secret=a+secret%25"));
}

struct Ed25519(Ed25519KeyPair);

impl Sign for Ed25519 {
    fn algorithm(&self) -> &str {
        "EdDSA"
    }

    fn key_id(&self) -> Option<&str> {
        Some("2026")
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_signs_a_token_for_each_request_which_is_good_for_a_minute() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let spki = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
        pair.public_key().as_ref(),
    ]
    .concat();
    let noon = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_268_800);
    let clock = WallClock::fixed_at(noon);
    let verifier = Verifier::builder()
        .keys(Key::der(Algorithm::EdDsa, &spki).unwrap().named("2026"))
        .algorithms([Algorithm::EdDsa])
        .issuer("orders")
        .audience("https://id.example")
        .settings(JwtSettings::new().leeway(Duration::ZERO).require(["sub", "jti", "iat"]))
        .clock(clock.clone())
        .build()
        .unwrap();
    let provider = Provider::new(Says::Token(r#","expires_in":1"#));
    let auth = ClientAuth::private_key("orders", "https://id.example", Ed25519(pair));
    let source = TokenSource::builder(ENDPOINT, auth).clock(clock).build(provider.clone()).unwrap();
    let mut names = Vec::new();
    for _ in 0..3 {
        good(&source).await;
        let form = provider.last().form;
        let (before, assertion) = form.rsplit_once('=').unwrap();
        assert_eq!(
            before,
            "grant_type=client_credentials&client_id=orders&client_assertion_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion"
        );
        let claims = verifier.verify(assertion).await.expect("the server takes it");
        assert_eq!(claims.subject(), Some("orders"));
        let life = claims.expires_at().unwrap().duration_since(claims.issued_at().unwrap());
        assert_eq!(life.unwrap(), MINUTE);
        names.push(claims.id().unwrap().to_owned());
        tokio::time::sleep(SECOND).await;
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "each has a name of its own");
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_nothing_by_chance_is_asked_once_more_with_another_proof() {
    use stonework::retry::RetryLayer;
    use tower::Layer;

    let pair = || Ed25519KeyPair::generate().unwrap();
    let key = || ClientAuth::private_key("orders", "https://id.example", Ed25519(pair()));
    let broken = || Says::Status(502, None, String::new());
    let busy = || Says::Status(503, Some(("retry-after", "3600")), String::new());
    for (auth, first, then, asked, is_good) in [
        (key(), broken(), Says::Same("t"), 2, true),
        // Not a third time, also where a retry stands below: it would send the same proof again.
        (key(), broken(), broken(), 2, false),
        (key(), busy(), Says::Same("t"), 1, false),
        // What proves itself again and again is for the retry.
        (ClientAuth::body("orders", SECRET), broken(), Says::Same("t"), 2, true),
        (ClientAuth::body("orders", SECRET), broken(), broken(), 3, false),
    ] {
        let provider = Provider::new(first);
        provider.takes(SECOND);
        let below = RetryLayer::new().layer(provider.clone());
        let source = TokenSource::builder(ENDPOINT, auth).rng(Rng::seeded(1)).build(below).unwrap();
        let asks = tokio::spawn(async move { source.token().await.is_ok() });
        sleep(SECOND / 2).await;
        provider.says(then);
        assert_eq!((asks.await.unwrap(), provider.asked()), (is_good, asked));
        let forms: std::collections::HashSet<_> = provider.forms().into_iter().collect();
        let proofs = if provider.last().form.contains("client_assertion") { asked } else { 1 };
        assert_eq!(forms.len(), proofs);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_an_issuer_signs_as_well_and_says_its_name() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let verifier = Verifier::builder()
            .keys(key.public().clone())
            .algorithms([algorithm])
            .issuer("orders")
            .audience("https://id.example")
            .build()
            .unwrap();
        let id = key.id().to_owned();
        let provider = Provider::hourly();
        let auth = ClientAuth::private_key("orders", "https://id.example", key);
        good(&TokenSource::builder(ENDPOINT, auth).build(provider.clone()).unwrap()).await;
        let form = provider.last().form;
        let (_, assertion) = form.rsplit_once('=').unwrap();
        let claims = verifier.verify(assertion).await.expect("the server takes it");
        assert_eq!(claims.subject(), Some("orders"));
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{id}","typ":"JWT"}}"#);
        assert_eq!(assertion.split('.').next(), Some(&*encode(header)));
    }
}

struct Broken;

impl Sign for Broken {
    fn algorithm(&self) -> &str {
        "EdDSA"
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BoxError> {
        Err("the token in its slot is gone".into())
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_signature_nothing_is_sent() {
    let provider = Provider::hourly();
    let auth = ClientAuth::private_key("orders", "https://id.example", Broken);
    let source = TokenSource::builder(ENDPOINT, auth).build(provider.clone()).unwrap();
    let (error, why) = bad(&source).await;
    assert!(matches!(why, NoToken::NotSigned { .. }));
    assert!(format!("{error:#}").ends_with("the token in its slot is gone"));
    assert_eq!(provider.asked(), 0);
}
