//! What is remembered of tokens, for how long, and what is asked of it every time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use stonework::base::TokenFault;
use stonework::jwt::{Algorithm, CannotTell, JwtSettings, Keys, TokenInfo, Verifier};
use tokio::time::advance;

use super::tokens::{ALGORITHMS, ED25519, RSA, SECRET, plain};
use super::{AUDIENCE, ISSUER, NOON, claims, fault, noon, with};

const SECOND: Duration = Duration::from_secs(1);

fn remembers(tokens: usize) -> JwtSettings {
    JwtSettings::new().cache(tokens).cache_ttl(Duration::from_secs(600))
}

fn until(end: u64, more: &str) -> String {
    format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{end}{more}}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_remembered_is_refused_when_its_time_is_over_and_forgotten() {
    let settings = remembers(100).leeway(Duration::from_secs(5));
    let verifier = with(ED25519.key(Algorithm::EdDsa), settings);
    let token = plain(Algorithm::EdDsa, &until(NOON + 60, ""));
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(verifier.remembered(), 1);
    advance(Duration::from_millis(64_999)).await;
    assert!(verifier.verify(&token).await.is_ok());
    advance(Duration::from_millis(1)).await;
    assert_eq!(fault(verifier.verify(&token).await), TokenFault::Expired);
    assert_eq!(verifier.remembered(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_greatest_size_is_remembered_and_one_byte_more_is_refused() {
    let token = plain(Algorithm::EdDsa, &claims(""));
    for (size, fault_of_it) in [(token.len(), None), (token.len() - 1, Some(TokenFault::TooLong))] {
        let verifier = with(ED25519.key(Algorithm::EdDsa), remembers(100).max_token_size(size));
        for _ in 0..2 {
            let verified = verifier.verify(&token).await;
            match fault_of_it {
                None => assert!(verified.is_ok()),
                Some(expected) => assert_eq!(fault(verified), expected),
            }
        }
        assert_eq!(verifier.remembered(), usize::from(fault_of_it.is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_remembered_is_refused_as_soon_as_its_key_is_gone() {
    let keys = Keys::new(ED25519.key(Algorithm::EdDsa));
    let verifier = with(keys.clone(), remembers(100));
    let token = plain(Algorithm::EdDsa, &claims(""));
    assert!(verifier.verify(&token).await.is_ok());
    // The same key, fetched again, is the same key.
    keys.replace(ED25519.key(Algorithm::EdDsa));
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(verifier.remembered(), 1);

    keys.replace(RSA.key(Algorithm::Rs256));
    assert_eq!(fault(verifier.verify(&token).await), TokenFault::Algorithm);
    assert_eq!(verifier.remembered(), 0);
    keys.replace(ED25519.key(Algorithm::EdDsa));
    assert!(verifier.verify(&token).await.is_ok());
    // Nobody knows whether it is still there.
    keys.set_unavailable(SECOND);
    assert!(verifier.verify(&token).await.unwrap_err().is_overload());
}

#[tokio::test(start_paused = true)]
async fn whether_a_token_was_revoked_is_asked_of_every_good_one_remembered_or_not_and_of_no_other() {
    let (asked, revoked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, is_revoked) = (Arc::clone(&asked), Arc::clone(&revoked));
    let builder = Verifier::builder().keys(SECRET.key(Algorithm::Hs256)).algorithms(ALGORITHMS);
    let builder = builder.issuer(ISSUER).audience(AUDIENCE).clock(noon()).settings(remembers(100));
    let verifier = builder
        .revocation(move |token: TokenInfo| {
            count.fetch_add(1, Ordering::Relaxed);
            assert_eq!(
                (token.subject(), token.issuer(), token.id()),
                (Some("alice"), Some(ISSUER), Some("7"))
            );
            assert_eq!(token.issued_at(), Some(UNIX_EPOCH + Duration::from_secs(NOON - 60)));
            let is_revoked = is_revoked.load(Ordering::Relaxed);
            async move { Ok::<_, Infallible>(is_revoked) }
        })
        .build()
        .unwrap();
    let good = plain(Algorithm::Hs256, &claims(&format!(r#","jti":"7","iat":{}"#, NOON - 60)));
    for round in 1..=3 {
        assert!(verifier.verify(&good).await.is_ok());
        assert_eq!((asked.load(Ordering::Relaxed), verifier.remembered()), (round, 1));
    }
    revoked.store(true, Ordering::Relaxed);
    assert_eq!(fault(verifier.verify(&good).await), TokenFault::Revoked);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // Before a signature nobody is asked: strangers could have anything looked up.
    let forged = format!("{}A", &good[..good.len() - 1]);
    assert!(verifier.verify(&forged).await.is_err());
    assert_eq!(fault(verifier.verify(&plain(Algorithm::Hs256, &until(1, ""))).await), TokenFault::Expired);
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn if_nobody_says_whether_a_token_was_revoked_nobody_is_let_in() {
    let builder = Verifier::builder().keys(SECRET.key(Algorithm::Hs256)).algorithms(ALGORITHMS);
    let verifier = builder
        .any_issuer()
        .any_audience()
        .clock(noon())
        .revocation(|_| async { Err::<bool, _>("the list is away") })
        .build()
        .unwrap();
    let error = verifier.verify(&plain(Algorithm::Hs256, &claims(""))).await.unwrap_err();
    assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Revocation));
    assert!(error.is_overload() && error.retry_after() == Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_good_is_not_remembered_and_what_is_good_is_up_to_the_bound() {
    let verifier = with(SECRET.key(Algorithm::Hs256), remembers(1_000));
    for number in 0..1_000 {
        let forged = format!("{}.{number}", plain(Algorithm::Hs384, &claims("")));
        assert!(verifier.verify(&forged).await.is_err());
    }
    assert_eq!(verifier.remembered(), 0);
    for number in 0..5_000 {
        let token = plain(Algorithm::Hs256, &claims(&format!(r#","jti":"{number}""#)));
        assert_eq!(verifier.verify(&token).await.unwrap().id(), Some(&*number.to_string()));
        assert!(verifier.remembered() <= 1_000);
    }
    assert!(verifier.remembered() >= 400, "{}", verifier.remembered());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_verified_again_when_it_was_remembered_for_long_enough() {
    let keys = Keys::new(SECRET.key(Algorithm::Hs256));
    let settings = JwtSettings::new().cache(100).cache_ttl(Duration::from_secs(10));
    let verifier = with(keys, settings);
    let token = plain(Algorithm::Hs256, &claims(""));
    let first = verifier.verify(&token).await.unwrap();
    let is_first =
        |claims: &stonework::jwt::Claims| std::ptr::eq(claims.subject().unwrap(), first.subject().unwrap());
    advance(Duration::from_millis(9_999)).await;
    assert!(is_first(&verifier.clone().verify(&token).await.unwrap()));
    advance(Duration::from_millis(1)).await;
    assert!(!is_first(&verifier.verify(&token).await.unwrap()));

    // Without being told to, nothing is.
    let forgetful = with(SECRET.key(Algorithm::Hs256), JwtSettings::new());
    assert!(forgetful.verify(&token).await.is_ok());
    assert_eq!(forgetful.remembered(), 0);
}
