//! What must hold of every parser of tokens and keys, whatever the bytes: as in `parsers.rs`.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Request, Response, Uri};
use serde_json::Value;
use stonework::Body;
use stonework::base::{Error, HealthState, KeyFault, TokenFault, TokenRefused, WallClock};
use stonework::jwt::{Algorithm, Claims, InvalidKeySet, Key, KeySet, RemoteKeys, Verifier};
use tokio::runtime::{Builder, Runtime};
use tower::service_fn;

const SECRET: &[u8] = b"a secret that everybody may know";
const NOW: u64 = 1_000_000_000;
const LEEWAY: f64 = 30.0;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let public =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let keys = [Key::jwk(public), Key::secret(Algorithm::Hs256, SECRET)].map(|key| key.expect("a key"));
    Verifier::builder()
        .keys(KeySet::new(keys).expect("two keys"))
        .algorithms([Algorithm::Hs256, Algorithm::EdDsa])
        .issuer("i")
        .audience("a")
        .clock(WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)))
        .build()
        .expect("nothing that could be wrong")
});

/// Nobody is asked, so it is known at once.
fn verify(token: &str) -> Result<Claims, TokenFault> {
    let verified: Result<Claims, Error> =
        match pin!(VERIFIER.verify(token)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(verified) => verified,
            Poll::Pending => panic!("nothing to wait for"),
        };
    verified.map_err(|error| error.cause::<TokenRefused>().expect("why it was refused").fault())
}

/// Signed, whatever it is.
fn signed(header: &[u8], payload: &[u8]) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    format!("{message}.{}", encode(hmac::sign(&key, message.as_bytes()).as_ref()))
}

fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 4);
    for three in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=three.len()].copy_from_slice(three);
        let value = u32::from_be_bytes(padded);
        text.extend(
            (0..=three.len()).map(|place| char::from(ALPHABET[(value >> (18 - 6 * place) & 63) as usize])),
        );
    }
    text
}

/// A token; and a header and a payload of a token that is signed.
pub(crate) fn token(bytes: &[u8]) -> bool {
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(verify(text).is_err(), "nobody has signed it: {text:?}");
    }
    let claims = br#"{"iss":"i","aud":"a","exp":1e300}"#;
    let as_header = verify(&signed(bytes, claims));
    if let Ok(claims) = &as_header {
        let header: Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(header["alg"], "HS256");
        assert!(["crit", "b64", "zip"].iter().all(|name| header.get(name).is_none()), "{header}");
        let kind = header.get("typ").map(|kind| kind.as_str().expect("a text").to_lowercase());
        let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
        assert!(matches!(kind, None | Some("jwt" | "at+jwt")), "{header}");
        assert_eq!(claims.issuer(), Some("i"));
    }
    let as_claims = verify(&signed(br#"{"alg":"HS256"}"#, bytes));
    match &as_claims {
        Ok(claims) => {
            let said: Value = serde_json::from_slice(bytes).expect("JSON");
            assert_eq!(said["iss"], "i");
            let audience = |aud: &Value| aud == "a";
            assert!(
                audience(&said["aud"]) || said["aud"].as_array().is_some_and(|all| all.iter().any(audience))
            );
            assert!(said["exp"].as_f64().expect("a date") > NOW as f64 - LEEWAY);
            for name in ["nbf", "iat"] {
                // This runs for a while, and its clock runs, too.
                let hour = 3_600.0;
                assert!(
                    said.get(name)
                        .is_none_or(|at| at.as_f64().expect("a date") <= NOW as f64 + LEEWAY + hour)
                );
            }
            assert_eq!(said.get("sub").map(|sub| sub.as_str().expect("a text")), claims.subject());
            assert_eq!(said.get("jti").map(|jti| jti.as_str().expect("a text")), claims.id());
        }
        Err(TokenFault::Signature | TokenFault::Algorithm | TokenFault::UnknownKey) => {
            panic!("it was signed")
        }
        Err(_) => {}
    }
    as_header.is_ok() || as_claims.is_ok()
}

/// A key alone, which is the same in a set.
pub(crate) fn jwk(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if text.matches(['[', '{']).count() > 100 {
        // In a set it would be too deep.
        return false;
    }
    let alone = Key::jwk(text);
    let json = serde_json::from_str::<Value>(text);
    if let Ok(key) = &alone {
        let json = json.as_ref().expect("JSON");
        assert!(json.get("d").is_none_or(Value::is_null), "a private key");
        assert_eq!(json.get("kid").and_then(Value::as_str), key.id());
        assert!(["EC", "OKP", "RSA", "oct"].iter().any(|kind| json["kty"] == *kind));
    }
    // Without members that stand there twice, of which a set takes the last.
    let Ok(json) = json else { return alone.is_ok() };
    let alone = Key::jwk(&json.to_string());
    let set = KeySet::jwks(&format!(r#"{{"keys":[{json}]}}"#)).expect("a set");
    match alone {
        Ok(_) if json["kty"] == "oct" => assert_eq!(set.skipped(), [KeyFault::SecretInSet]),
        Ok(key) => assert!(set.keys().eq([&key])),
        Err(_) if json["kty"] == "oct" => assert_eq!(set.len(), 0),
        Err(fault) => assert_eq!(set.skipped(), [fault]),
    }
    !set.is_empty()
}

/// A set of keys.
pub(crate) fn jwks(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let json = serde_json::from_str::<Value>(text).ok();
    let entries = json.as_ref().and_then(|json| json.get("keys")).and_then(Value::as_array);
    match KeySet::jwks(text) {
        Ok(set) => {
            let entries = entries.expect("an array of keys");
            assert!(set.len() <= 256 && set.skipped().len() <= 256);
            assert!(entries.len() > 256 || set.len() + set.skipped().len() == entries.len());
            !set.is_empty()
        }
        Err(InvalidKeySet::TooLarge) => panic!("it is small"),
        Err(_) => {
            // Of two sets in one, nobody knows which is meant.
            assert!(entries.is_none() || text.matches("keys").count() > 1 || text.contains('\\'), "{text}");
            false
        }
    }
}

/// A discovery document, as somebody answers with it who may not be the issuer.
pub(crate) fn discovery(bytes: &[u8]) -> bool {
    const SET: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (document, places) = (Bytes::copy_from_slice(bytes), Arc::clone(&asked));
    let client = service_fn(move |request: Request<Body>| {
        let mut places = places.lock().expect("nobody panics here");
        places.push(request.uri().clone());
        let answer = if places.len() == 1 { document.clone() } else { Bytes::from(SET) };
        ready(Ok::<_, Infallible>(Response::new(Body::from(answer))))
    });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let keys = RemoteKeys::oidc(client, "https://i.example").build().expect("an address");
            while keys.health() == HealthState::Unknown {
                tokio::task::yield_now().await;
            }
        });
    });
    let asked = asked.lock().expect("nobody panicked");
    assert_eq!(asked[0], "https://i.example/.well-known/openid-configuration");
    let Some(place) = asked.get(1) else { return false };
    let said: Value = serde_json::from_slice(bytes).expect("JSON");
    assert_eq!(said["issuer"], "https://i.example", "{said}");
    let uri: Uri = said["jwks_uri"].as_str().expect("a text").parse().expect("an address");
    assert_eq!((place, place.scheme_str()), (&uri, Some("https")));
    assert!(!place.authority().expect("a host").as_str().contains('@'), "{place}");
    true
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}
