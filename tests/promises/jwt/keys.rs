//! Keys: what they are read from, what is left out, and how they are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stonework::base::{Event, KeyFault, TokenFault};
use stonework::jwt::{Algorithm, CannotTell, JwtSettings, Key, KeySet, Keys, Verifier};
use stonework::testing::Recorder;

use super::tokens::{ALGORITHMS, ED25519, P256, P384, P521, RSA, SECRET, Signer, plain, signer, token};
use super::{AUDIENCE, ISSUER, claims, fault, noon, verifier, with};

#[tokio::test]
async fn a_key_is_the_same_from_pem_der_and_json() {
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| !algorithm.name().starts_with("HS")) {
        let signer = signer(algorithm);
        let keys = [
            Key::pem(algorithm, &signer.pem()).unwrap(),
            Key::der(algorithm, &signer.der()).unwrap(),
            Key::jwk(&signer.jwk("")).unwrap(),
            Key::jwk(&signer.jwk(&format!(r#","alg":"{algorithm}","use":"sig""#))).unwrap(),
        ];
        for key in keys {
            let shown = format!("{key:?}");
            assert!(
                verifier(key).verify(&plain(algorithm, &claims(""))).await.is_ok(),
                "{algorithm} {shown}"
            );
        }
    }
    let secret = Key::jwk(&SECRET.jwk(r#","alg":"HS384""#)).unwrap();
    assert!(!format!("{secret:?}").contains("63"), "a secret is not shown: {secret:?}");
    assert!(verifier(secret).verify(&plain(Algorithm::Hs384, &claims(""))).await.is_ok());
}

/// Two that are good among eight that are not.
fn odd() -> String {
    let rsa = RSA.jwk(r#","kid":"good rsa","use":"sig""#);
    let ec = P256.jwk(r#","kid":"good ec","alg":"ES256""#);
    let entries = [
        r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"new","pub":"AQAB"}"#.to_owned(),
        P384.jwk(r#","kid":"x","use":"enc""#),
        rsa,
        P384.jwk(r#","kid":"x","alg":"ES999""#),
        r#"{"kty":"RSA","kid":"short","n":"AQAB","e":"AQAB"}"#.to_owned(),
        P384.jwk(r#","kid":"x","d":"AQAB""#),
        RSA.jwk(r#","kid":"good rsa""#),
        SECRET.jwk(r#","kid":"x""#),
        r#"["not even a key"]"#.to_owned(),
        ec,
        P521.jwk(r#","kid":"x","key_ops":["sign"]"#),
    ];
    format!(r#"{{"keys":[{}],"more":"of no interest"}}"#, entries.join(","))
}

#[tokio::test]
async fn one_odd_key_does_not_break_the_set_and_each_says_why_it_is_left_out() {
    let set = KeySet::jwks(&odd()).unwrap();
    let why = [
        KeyFault::Type,
        KeyFault::Encryption,
        KeyFault::Algorithm,
        KeyFault::RsaTooShort,
        KeyFault::Private,
        KeyFault::DuplicateId,
        KeyFault::SecretInSet,
        KeyFault::Malformed,
        KeyFault::NotForVerifying,
    ];
    assert_eq!((set.len(), set.skipped()), (2, &why[..]));

    let told = Recorder::new();
    let keys = Keys::new(set).observer(told.clone());
    let count = |of: KeyFault| {
        told.events()
            .iter()
            .filter(|event| matches!(event, Event::KeySkipped { why, .. } if *why == of))
            .count()
    };
    assert!(why.iter().all(|why| count(*why) == 1), "{:?}", told.events());
    let replaced = |event: &Event| matches!(event, Event::KeysReplaced { usable: 2, skipped: 9, .. });
    assert!(told.events().iter().any(replaced));

    let verifier = verifier(keys);
    for (algorithm, kid) in
        [(Algorithm::Rs256, "good rsa"), (Algorithm::Ps512, "good rsa"), (Algorithm::Es256, "good ec")]
    {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        assert!(verifier.verify(&token(algorithm, &header, &claims(""))).await.is_ok(), "{kid}");
    }
}

#[tokio::test]
async fn keys_are_replaced_while_they_are_in_use() {
    let keys = Keys::from(RSA.key(Algorithm::Rs256));
    let verifier = verifier(keys.clone());
    let (old, new) = (plain(Algorithm::Rs256, &claims("")), plain(Algorithm::EdDsa, &claims("")));
    assert!(verifier.verify(&old).await.is_ok());
    assert_eq!(fault(verifier.verify(&new).await), TokenFault::Algorithm);

    keys.replace(ED25519.key(Algorithm::EdDsa));
    assert_eq!(fault(verifier.verify(&old).await), TokenFault::Algorithm);
    assert!(verifier.clone().verify(&new).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_keys_nobody_is_let_in_and_nobody_is_called_a_liar() {
    let keys = Keys::pending();
    let verifier = verifier(keys.clone());
    let good = plain(Algorithm::EdDsa, &claims(""));
    let error = verifier.verify(&good).await.unwrap_err();
    assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Keys));
    assert!(error.is_overload() && error.retry_after() == Some(Duration::from_secs(5)));
    // What can be known without keys is known.
    assert_eq!(fault(verifier.verify("eyJhbGciOiJub25lIn0.e30.AA").await), TokenFault::Algorithm);

    keys.replace(ED25519.key(Algorithm::EdDsa));
    assert!(verifier.verify(&good).await.is_ok());
    keys.set_unavailable(Duration::from_secs(7));
    assert_eq!(verifier.verify(&good).await.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
    // An empty set is another thing: there are keys, and none is that one.
    keys.replace(KeySet::default());
    assert_eq!(fault(verifier.verify(&good).await), TokenFault::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_unknown_is_looked_for_once_and_then_the_token_is_looked_at_again() {
    let other = Signer::ed25519();
    let keys = Keys::new(ED25519.key(Algorithm::EdDsa).named("old"));
    let asked = Arc::new(AtomicU32::new(0));
    let (place, count, found) = (keys.clone(), Arc::clone(&asked), other.key(Algorithm::EdDsa).named("new"));
    let keys = keys.when_unknown(move |id| {
        count.fetch_add(1, Ordering::Relaxed);
        let (place, found, known) = (place.clone(), found.clone(), id == "new");
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if known {
                place.replace(found);
            }
        }
    });
    let verifier = verifier(keys);
    let of = |signer: &Signer, kid: &str| {
        signer.token(Algorithm::EdDsa, &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), &claims(""))
    };
    assert!(verifier.verify(&of(&ED25519, "old")).await.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(fault(verifier.verify(&of(&other, "nobody")).await), TokenFault::UnknownKey);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert!(verifier.verify(&of(&other, "new")).await.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // Its signature is not looked for: a key of that name is there.
    assert_eq!(fault(verifier.verify(&of(&ED25519, "new")).await), TokenFault::Signature);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn tokens_with_one_header_are_each_looked_at() {
    // None says which key is its own, and all say the same of themselves.
    let header = r#"{"alg":"EdDSA","typ":"JWT"}"#;
    let [first, second, stranger] = [(); 3].map(|()| Signer::ed25519());
    let set = KeySet::new([&first, &second].map(|signer| signer.key(Algorithm::EdDsa))).unwrap();
    let any = verifier(set.clone());
    for round in 0..3 {
        for signer in [&first, &second] {
            let token = signer.token(Algorithm::EdDsa, header, &claims(""));
            assert!(any.verify(&token).await.is_ok(), "{round}");
        }
        let token = stranger.token(Algorithm::EdDsa, header, &claims(""));
        assert_eq!(fault(any.verify(&token).await), TokenFault::Signature, "{round}");
    }

    // Nor does what one verifier knows of a header make it good for another that has the same keys.
    let good = first.token(Algorithm::EdDsa, header, &claims(""));
    let access = with(set.clone(), JwtSettings::new().types(["at+jwt"]));
    assert_eq!(fault(access.verify(&good).await), TokenFault::Type);
    let replaceable = Keys::new(set);
    let rsa_only = Verifier::builder().keys(replaceable.clone()).algorithms([Algorithm::Rs256]);
    let rsa_only = rsa_only.issuer(ISSUER).audience(AUDIENCE).clock(noon()).build().unwrap();
    assert_eq!(fault(rsa_only.verify(&good).await), TokenFault::Algorithm);
}

#[tokio::test]
async fn a_large_token_after_a_small_one_and_a_small_one_after_that_are_good() {
    let verifier = verifier(RSA.key(Algorithm::Rs256));
    for more in [0, 2_000, 0, 300] {
        let claims = claims(&format!(r#","x":"{}""#, "x".repeat(more)));
        assert!(verifier.verify(&plain(Algorithm::Rs256, &claims)).await.is_ok(), "{more}");
    }
}
