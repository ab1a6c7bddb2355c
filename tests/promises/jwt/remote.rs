//! Keys that are fetched: when, how often, and what a stranger's token can make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use stonework::base::{HealthState, Rng, TokenFault};
use stonework::jwt::{CannotTell, InvalidJwt, RemoteKeys, RemoteKeysSettings};
use tokio::time::{Instant, sleep, timeout};

use super::provider::{Does, Provider, named, token_of};
use super::tokens::{ED25519, P256, Signer};
use super::{ISSUER, claims, fault, verifier};
use crate::support::{SECOND, timed};

/// Of the usual issuer.
fn keys_of(provider: &Provider) -> RemoteKeys {
    RemoteKeys::oidc(provider.clone(), ISSUER).rng(Rng::seeded(1)).build().expect("valid settings")
}

#[tokio::test(start_paused = true)]
async fn a_hundred_first_calls_are_one_fetch_and_until_it_is_over_nobody_is_called_a_liar() {
    let provider = Provider::with(named(&ED25519, "a"));
    let keys = keys_of(&provider);
    let verifier = verifier(&keys);
    let good = token_of(&ED25519, "a", &claims(""));
    let first = join_all((0..100).map(|_| verifier.verify(&good))).await;
    for error in first.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Keys));
        assert!(error.is_overload() && error.retry_after().is_some());
    }
    join_all((0..100).map(|_| keys.wait_ready())).await;
    assert!(join_all((0..100).map(|_| verifier.verify(&good))).await.iter().all(Result::is_ok));
    assert_eq!(provider.asked(), (1, 1));
    assert_eq!(keys.health(), HealthState::Pass);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tokens_with_names_that_nobody_has_cost_one_fetch_and_good_tokens_pass() {
    for answer in [Does::Answer(200), Does::Answer(500), Does::Say(r#"{"keys":[]}"#.into()), Does::Hang] {
        let provider = Provider::with(named(&ED25519, "a"));
        let keys = keys_of(&provider);
        let verifier = verifier(&keys);
        keys.wait_ready().await;
        provider.does(answer);
        let good = token_of(&ED25519, "a", &claims(""));
        let attacker = Signer::ed25519();
        let bad = token_of(&attacker, "a", &claims(""));
        let (_, rest) = bad.split_once('.').unwrap();
        let mut strangers = tokio::task::JoinSet::new();
        for at in 0..10_000 {
            let header = super::tokens::encode(format!(r#"{{"alg":"EdDSA","kid":"{at}"}}"#));
            let (verifier, token) = (verifier.clone(), format!("{header}.{rest}"));
            strangers.spawn(async move { fault(verifier.verify(&token).await) });
            if at % 100 == 0 {
                sleep(Duration::from_millis(10)).await;
                let (passed, took) = timed(verifier_of(&keys).verify(&good)).await;
                assert!(passed.is_ok() && took.is_zero());
            }
        }
        let (faults, took) = timed(strangers.join_all()).await;
        assert!(faults.iter().all(|fault| *fault == TokenFault::UnknownKey));
        assert!(took <= 2 * SECOND, "nobody waits for longer than that: {took:?}");
        assert_eq!(provider.asked().1, 2, "one to begin with, and one for all of them");
        assert_eq!(keys.fetches(), 2);
    }
}

fn verifier_of(keys: &RemoteKeys) -> stonework::jwt::Verifier {
    verifier(keys)
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_with_the_first_token_that_it_has_signed() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let provider = Provider::with(named(&old, "old"));
    let keys = keys_of(&provider);
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    provider.publish([named(&old, "old"), named(&new, "new")]);
    let tokens = [token_of(&old, "old", &claims("")), token_of(&new, "new", &claims(""))];
    // A hundred at once, of either.
    let all = join_all(tokens.iter().cycle().take(100).map(|token| verifier.verify(token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(provider.asked(), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_beside_one_without_a_name_and_strangers_still_cost_one_fetch() {
    let new = Signer::ed25519();
    // Of the same kind as the new one, and of another.
    for (nameless, expected) in
        [(ED25519.jwk(""), TokenFault::Signature), (P256.jwk(""), TokenFault::Algorithm)]
    {
        let provider = Provider::with(nameless.clone());
        provider.header("cache-control", "max-age=3600");
        let keys = keys_of(&provider);
        let verifier = verifier(&keys);
        keys.wait_ready().await;
        provider.publish([nameless, named(&new, "new")]);
        assert!(verifier.verify(&token_of(&new, "new", &claims(""))).await.is_ok());
        assert_eq!(provider.asked().1, 2);
        sleep(60 * SECOND).await;
        let attacker = Signer::ed25519();
        for name in 0..100 {
            let token = token_of(&attacker, &name.to_string(), &claims(""));
            assert_eq!(fault(verifier.verify(&token).await), expected);
        }
        assert_eq!(provider.asked().1, 3, "one for all of them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_withdrawn_is_gone_with_the_next_fetch() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let provider = Provider::with(named(&old, "old"));
    provider.header("cache-control", "max-age=120");
    let keys = keys_of(&provider);
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    provider.publish([named(&new, "new")]);
    let token = token_of(&old, "old", &claims(""));
    assert!(verifier.verify(&token).await.is_ok());
    sleep(120 * SECOND).await;
    assert_eq!(fault(verifier.verify(&token).await), TokenFault::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_ahead_of_time_as_the_answer_says_and_within_limits() {
    for (says, least, most) in [
        // Of an hour: three quarters and nine tenths.
        ("max-age=100", 75, 90),
        ("max-age=1", 45, 54),
        ("no-store", 45, 54),
        ("max-age=31536000", 2_700, 3_240),
        ("public", 225, 270),
    ] {
        let provider = Provider::with(named(&ED25519, "a"));
        provider.header("cache-control", says);
        let mut all = Vec::new();
        for seed in 0..8 {
            let built = RemoteKeys::oidc(provider.clone(), ISSUER).rng(Rng::seeded(seed)).build();
            let keys = built.unwrap();
            keys.wait_ready().await;
            let start = Instant::now();
            while keys.fetches() < 2 {
                sleep(SECOND / 10).await;
            }
            let after = start.elapsed().as_secs();
            assert!((least..=most).contains(&after), "{says}: {after}");
            assert_eq!(keys.health(), HealthState::Pass);
            all.push(after);
        }
        all.dedup();
        assert!(all.len() > 4, "replicas do not fetch at once: {all:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_not_found_is_not_looked_for_again_for_a_while_and_others_are() {
    let provider = Provider::with(named(&ED25519, "a"));
    provider.header("cache-control", "max-age=3600");
    let keys = keys_of(&provider);
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    let gone = token_of(&ED25519, "gone", &claims(""));
    for minute in 0..6 {
        assert_eq!(fault(verifier.verify(&gone).await), TokenFault::UnknownKey, "{minute}");
        assert_eq!(provider.asked().1, if minute < 5 { 2 } else { 3 });
        sleep(60 * SECOND).await;
    }
    // If it comes after all, with whatever fetch, it is good at once.
    provider.publish([named(&ED25519, "a"), named(&ED25519, "gone")]);
    let new = token_of(&ED25519, "another", &claims(""));
    assert_eq!(fault(verifier.verify(&new).await), TokenFault::UnknownKey);
    assert_eq!(provider.asked().1, 4);
    assert!(verifier.verify(&gone).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_key_longer_than_was_said_and_giving_up_ends_nothing() {
    let provider = Provider::with(named(&ED25519, "a"));
    let settings = RemoteKeysSettings::new().unknown_wait(Duration::from_millis(300));
    let keys = RemoteKeys::oidc(provider.clone(), ISSUER).settings(settings).build().unwrap();
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    provider.does(Does::Hang);
    let token = token_of(&ED25519, "b", &claims(""));
    let (refused, took) = timed(verifier.verify(&token)).await;
    assert_eq!((fault(refused), took), (TokenFault::UnknownKey, Duration::from_millis(300)));
    assert!(timeout(Duration::from_millis(1), verifier.verify(&token)).await.is_err());
    assert_eq!(keys.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle_and_a_verifier_is_one() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let provider = Provider::with(named(&ED25519, "a"));
    let before = tasks();
    for _ in 0..1_000 {
        let keys = keys_of(&provider);
        let verifier = verifier(&keys);
        assert_eq!(tasks(), before + 1);
        drop(keys);
        assert_eq!(tasks(), before + 1, "the verifier needs it");
        drop(verifier);
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_an_address_is_refused_before_anything_is_fetched() {
    let provider = Provider::with(named(&ED25519, "a"));
    let of = |issuer: &str| RemoteKeys::oidc(provider.clone(), issuer);
    for issuer in ["", "id.example", "http://id.example", "https://id.example?x", "https://me@id.example"] {
        let refused = of(issuer).build().unwrap_err();
        assert!(matches!(refused, InvalidJwt::Address { field: "issuer", .. }), "{issuer}: {refused}");
        let refused = RemoteKeys::jwks(provider.clone(), issuer).build();
        assert_eq!(refused.is_err(), issuer != "https://id.example?x");
    }
    assert!(of("http://127.0.0.1:1").allow_plain_http().build().is_ok());
    let shown =
        format!("{:?}", RemoteKeys::jwks(provider.clone(), "https://id.example/k?key=secret").build());
    assert!(shown.contains("https://id.example/k") && !shown.contains("secret"), "{shown}");
    assert_eq!(provider.asked(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn impossible_settings_name_the_field() {
    let all = RemoteKeysSettings::new;
    let zero = Duration::ZERO;
    for (settings, field) in [
        (all().cooldown(zero), "cooldown"),
        (all().lifetime(zero), "lifetime"),
        (all().min_lifetime(zero), "min_lifetime"),
        (all().timeout(zero), "timeout"),
        (all().max_lifetime(SECOND), "max_lifetime"),
        (all().max_size(0), "max_size"),
        (all().max_size(1 << 21), "max_size"),
    ] {
        let provider = Provider::with(named(&ED25519, "a"));
        let refused = RemoteKeys::oidc(provider, ISSUER).settings(settings).build().unwrap_err();
        assert!(refused.to_string().contains(&format!("`{field}`")), "{refused}");
    }
    for (text, field) in [(r#"{"cooldown":"0s"}"#, "cooldown"), (r#"{"cooldwon":"1s"}"#, "cooldwon")] {
        let refused = serde_json::from_str::<RemoteKeysSettings>(text).unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
    let written = serde_json::to_string(&all()).unwrap();
    assert_eq!(serde_json::from_str::<RemoteKeysSettings>(&written).unwrap(), all());
}

#[tokio::test(start_paused = true)]
async fn the_service_that_was_made_ready_is_the_one_that_fetches() {
    use stonework::testing::Strict;

    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let provider = Provider::with(named(&ED25519, "a"));
    let strict = Strict::new(tower::service_fn(move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        tower::Service::call(&mut provider.clone(), request)
    }));
    let ledger = strict.ledger();
    let keys = RemoteKeys::oidc(strict, ISSUER).build().unwrap();
    keys.wait_ready().await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    drop(keys);
    tokio::task::yield_now().await;
    ledger.assert_settled();
}
