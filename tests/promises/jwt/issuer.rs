//! Tokens that are issued here, and keys that change while they are good.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stonework::Body;
use stonework::base::{KeyFault, TokenFault};
use stonework::jwt::{
    Algorithm, Backend, InvalidJwt, Issuer, IssuerSettings, JwtSettings, KeySet, Keys, NotSigned, RemoteKeys,
    SigningKey, Verifier,
};
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;

use super::tokens::encode;
use super::{AUDIENCE, ISSUER, NOON, fault, noon};
use crate::support::SECOND;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// At noon, and with these settings.
fn issuer(settings: IssuerSettings) -> Issuer {
    Issuer::builder(ISSUER).clock(noon()).settings(settings).build().expect("valid settings")
}

fn for_us() -> Value {
    json!({ "sub": "alice", "aud": AUDIENCE })
}

/// What it publishes at this path.
async fn get(issuer: &Issuer, method: Method, path: &str) -> (http::response::Parts, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let (head, body) = issuer.service().oneshot(request).await.unwrap().into_parts();
    (head, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_issued_is_good_with_either_algorithm_and_backend() {
    for backend in [Backend::aws_lc(), Backend::rust_crypto()] {
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let builder = Issuer::builder(ISSUER).clock(noon()).algorithm(algorithm).backend(backend);
            let issuer = builder.token_type("at+jwt").build().unwrap();
            let set = KeySet::jwks(&get(&issuer, Method::GET, "/.well-known/jwks.json").await.1).unwrap();
            assert_eq!((set.len(), set.skipped().len()), (1, 0));
            for judge in [Backend::aws_lc(), Backend::rust_crypto()] {
                let builder = Verifier::builder().keys(set.clone()).algorithms([algorithm]);
                let verifier = builder.issuer(ISSUER).audience(AUDIENCE).clock(noon()).backend(judge);
                let settings = JwtSettings::new().types(["at+jwt"]).require(["jti", "iat"]);
                let verifier = verifier.settings(settings).build().unwrap();
                let tokens = [(); 2].map(|()| issuer.sign(&for_us()).unwrap());
                let claims = verifier.verify(&tokens[0]).await.unwrap();
                assert_eq!(claims.subject(), Some("alice"));
                let seconds = |at: Option<std::time::SystemTime>| {
                    at.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
                };
                assert_eq!((seconds(claims.issued_at()), seconds(claims.expires_at())), (NOON, NOON + 900));
                let other = verifier.verify(&tokens[1]).await.unwrap();
                assert_ne!(claims.id(), other.id(), "each has a name of its own");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn through_all_rotations_every_token_is_good_from_its_first_moment_to_its_last() {
    let settings = IssuerSettings::new().rotate_every(2 * HOUR).publish_ahead(HOUR / 2).token_lifetime(HOUR);
    let issuer = issuer(settings);
    let keys = RemoteKeys::oidc(issuer.service(), ISSUER).build().unwrap();
    let builder = Verifier::builder().keys(&keys).algorithms([Algorithm::EdDsa]);
    // Without leeway, so that the last moment is the last.
    let builder = builder.issuer(ISSUER).audience(AUDIENCE).clock(noon());
    let verifier = builder.settings(JwtSettings::new().leeway(Duration::ZERO)).build().unwrap();
    keys.wait_ready().await;
    let start = Instant::now();
    let mut alive: Vec<(Instant, String)> = Vec::new();
    let mut signers = std::collections::HashSet::new();
    let mut forced = 0;
    for minute in 0..60 * 48 {
        sleep_until(start + minute * MINUTE).await;
        let now = Instant::now();
        let before = keys.fetches();
        let token = issuer.sign(&for_us()).unwrap();
        signers.insert(token.split('.').next().unwrap().to_owned());
        alive.push((now, token));
        alive.retain(|(at, _)| now < *at + HOUR - SECOND);
        for (_, token) in [alive.first(), alive.last()].into_iter().flatten() {
            assert!(verifier.verify(token).await.is_ok(), "at minute {minute}");
        }
        forced += keys.fetches() - before;
        assert!(issuer.key_ids().len() <= 3);
    }
    assert_eq!(signers.len(), 24, "one in two hours");
    assert_eq!(forced, 0, "each key was known before it signed");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_over_is_published_no_more_and_its_tokens_are_refused() {
    let clock = noon();
    let issuer = issuer(IssuerSettings::new());
    let (old, old_token) = (issuer.key_ids(), issuer.sign(&for_us()).unwrap());
    sleep(23 * HOUR).await;
    let both = issuer.key_ids();
    assert!(both.len() == 2 && both[0] == old[0], "published an hour before it signs");
    sleep(HOUR).await;
    // The last token of the old one was signed a moment ago, is good for a quarter of an hour, and for ten minutes more where clocks differ.
    sleep(25 * MINUTE - SECOND).await;
    assert_eq!(issuer.key_ids(), both);
    sleep(SECOND).await;
    assert_eq!(issuer.key_ids(), both[1..]);
    let set = KeySet::jwks(&get(&issuer, Method::GET, "/.well-known/jwks.json").await.1).unwrap();
    let builder = Verifier::builder().keys(set).algorithms([Algorithm::EdDsa]);
    let verifier = builder.issuer(ISSUER).audience(AUDIENCE).clock(clock).build().unwrap();
    assert!(verifier.verify(&issuer.sign(&for_us()).unwrap()).await.is_ok());
    assert_eq!(fault(verifier.verify(&old_token).await), TokenFault::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_says_how_long_it_is_good_for_and_is_what_clients_read() {
    let builder =
        Issuer::builder("https://id.example/realm/").metadata("token_endpoint", "https://id.example/token");
    let issuer = builder.metadata("issuer", "https://evil.example").build().unwrap();
    let (head, text) = get(&issuer, Method::GET, "/realm/.well-known/openid-configuration").await;
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(head.headers["cache-control"], "public, max-age=300");
    assert_eq!(head.headers["content-type"], "application/json");
    assert_eq!(
        said,
        json!({
            "issuer": "https://id.example/realm/",
            "jwks_uri": "https://id.example/realm/.well-known/jwks.json",
            "id_token_signing_alg_values_supported": ["EdDSA"],
            "token_endpoint": "https://id.example/token",
        })
    );
    let (head, text) = get(&issuer, Method::GET, "/realm/.well-known/jwks.json").await;
    assert_eq!(head.headers["cache-control"], "public, max-age=300");
    assert!(!text.contains("\"d\""), "no private key: {text}");
    for (method, path, status) in [
        (Method::POST, "/realm/.well-known/jwks.json", 405),
        (Method::HEAD, "/realm/.well-known/jwks.json", 200),
        (Method::GET, "/.well-known/jwks.json", 404),
        (Method::GET, "/", 404),
    ] {
        assert_eq!(get(&issuer, method, path).await.0.status, status, "{path}");
    }
    let keys = RemoteKeys::oidc(issuer.service(), "https://id.example/realm/").build().unwrap();
    keys.wait_ready().await;
    assert_eq!(keys.current().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_issuer_says_itself_nobody_says_for_it() {
    let issuer = issuer(IssuerSettings::new());
    for claim in ["iss", "iat", "exp"] {
        let refused = issuer.sign(&json!({ claim: 1 })).unwrap_err();
        assert!(matches!(refused, NotSigned::Reserved { claim: found, .. } if found == claim));
    }
    assert_eq!(issuer.sign(&[1]).unwrap_err(), NotSigned::NotAnObject);
    assert_eq!(issuer.sign_for(16 * MINUTE, &for_us()).unwrap_err(), NotSigned::Lifetime);
    assert_eq!(issuer.sign_for(SECOND / 2, &for_us()).unwrap_err(), NotSigned::Lifetime);
    let set = KeySet::jwks(&get(&issuer, Method::GET, "/.well-known/jwks.json").await.1).unwrap();
    let short = issuer.sign_for(SECOND, &for_us()).unwrap();
    let verifier = super::verifier(set);
    assert!(verifier.verify(&short).await.is_ok());
    sleep(31 * SECOND).await;
    assert_eq!(fault(verifier.verify(&short).await), TokenFault::Expired);
}

/// RFC 8037, appendix A.1, in PKCS #8.
fn of_rfc_8037() -> Vec<u8> {
    const D: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
        0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    let front =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [&front[..], &D].concat()
}

#[test]
fn a_key_is_named_by_its_thumbprint_as_rfc_8037_has_it() {
    let key = SigningKey::der(Algorithm::EdDsa, &of_rfc_8037()).unwrap();
    assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert!(key.public_jwk().contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    assert!(!format!("{key:?}").contains("nWGxne"));
    // Its body is base64 without the two letters in which the alphabets differ.
    let pem = encode(of_rfc_8037()).replace('-', "+").replace('_', "/");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
    assert_eq!(SigningKey::pem(Algorithm::EdDsa, &pem).unwrap().id(), key.id());
    let public = pem.replace("PRIVATE", "PUBLIC");
    assert_eq!(SigningKey::pem(Algorithm::EdDsa, &public).unwrap_err(), KeyFault::Type);
    for (algorithm, der) in [
        (Algorithm::Es256, of_rfc_8037()),
        (Algorithm::EdDsa, of_rfc_8037()[1..].to_vec()),
        (Algorithm::EdDsa, Vec::new()),
    ] {
        assert_eq!(SigningKey::der(algorithm, &der).unwrap_err(), KeyFault::Malformed);
    }
    for algorithm in [Algorithm::Rs256, Algorithm::Hs256, Algorithm::Es384] {
        assert_eq!(SigningKey::generate(algorithm).unwrap_err(), KeyFault::Algorithm);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_kept_outlives_a_restart_and_one_that_is_handed_in_signs_when_all_can_know_it() {
    let key = || SigningKey::der(Algorithm::EdDsa, &of_rfc_8037()).unwrap();
    let with = || {
        let settings = IssuerSettings::new().without_rotation();
        Issuer::builder(ISSUER).clock(noon()).settings(settings).key(key()).build().unwrap()
    };
    let token = with().sign(&for_us()).unwrap();
    let again = with();
    let verifier = super::verifier(key().public().clone());
    assert!(verifier.verify(&token).await.is_ok());
    sleep(1_000 * HOUR).await;
    assert_eq!(again.key_ids(), [key().id()]);
    again.add_key(SigningKey::generate(Algorithm::Es256).unwrap());
    let ours = Keys::new(key().public().clone());
    let es = Verifier::builder().keys(ours.clone()).algorithms([Algorithm::Es256]);
    let es = es.issuer(ISSUER).audience(AUDIENCE).clock(noon()).build().unwrap();
    sleep(HOUR - SECOND).await;
    assert_eq!(fault(es.verify(&again.sign(&for_us()).unwrap()).await), TokenFault::Algorithm);
    sleep(SECOND).await;
    assert_eq!(fault(es.verify(&again.sign(&for_us()).unwrap()).await), TokenFault::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_an_issuer_names_the_field() {
    let all = IssuerSettings::new;
    for (settings, field) in [
        (all().token_lifetime(SECOND / 2), "token_lifetime"),
        (all().publish_ahead(SECOND), "publish_ahead"),
        (all().rotate_every(MINUTE), "rotate_every"),
        (all().token_lifetime(25 * HOUR), "rotate_every"),
    ] {
        let refused = Issuer::builder(ISSUER).settings(settings).build().unwrap_err();
        assert!(refused.to_string().contains(&format!("`{field}`")), "{refused}");
    }
    assert!(
        Issuer::builder(ISSUER).settings(all().token_lifetime(25 * HOUR).without_rotation()).build().is_ok()
    );
    for issuer in ["", "id.example", "http://id.example", "https://id.example?a"] {
        let refused = Issuer::builder(issuer).build().unwrap_err();
        assert!(matches!(refused, InvalidJwt::Address { field: "issuer", .. }), "{issuer}");
    }
    assert!(Issuer::builder("http://127.0.0.1:80").allow_plain_http().build().is_ok());
    let refused = Issuer::builder(ISSUER).algorithm(Algorithm::Rs256).build().unwrap_err();
    assert!(matches!(refused, InvalidJwt::Unwritable { field: "algorithm", .. }));
    let written = serde_json::to_string(&all().without_rotation()).unwrap();
    assert!(written.contains(r#""rotate_every":"off""#));
    assert_eq!(serde_json::from_str::<IssuerSettings>(&written).unwrap(), all().without_rotation());
}
