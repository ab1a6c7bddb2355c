//! A provider that is down, slow, wrong or hostile.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Request;
use stonework::base::{Backoff, BoxError, Event, HealthState, Jitter, Kind, Observer, Rng, TokenFault};
use stonework::health::{Health, HealthSettings, Impact};
use stonework::jwt::{CannotTell, JwtLayer, RemoteKeys, RemoteKeysSettings};
use stonework::testing::Recorder;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use super::provider::{Does, Provider, named, token_of};
use super::tokens::{ED25519, Signer};
use super::{AUDIENCE, ISSUER, NOON, fault, verifier};
use crate::support::SECOND;

const HOUR: Duration = Duration::from_secs(3_600);

fn keys_of(provider: &Provider) -> RemoteKeys {
    RemoteKeys::oidc(provider.clone(), ISSUER).rng(Rng::seeded(1)).build().expect("valid settings")
}

/// Good for three days.
fn long(signer: &Signer, name: &str) -> String {
    let end = NOON + 3 * 86_400;
    token_of(signer, name, &format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{end}}}"#))
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_provider_is_an_hour_with_the_old_keys() {
    let provider = Provider::with(named(&ED25519, "a"));
    let keys = keys_of(&provider);
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    provider.does(Does::Refuse);
    let good = long(&ED25519, "a");
    for _ in 0..60 {
        sleep(60 * SECOND).await;
        assert!(verifier.verify(&good).await.is_ok());
    }
    assert_eq!(keys.health(), HealthState::Warn);
    // From 1 s to 1 min apart, with jitter: no more than two a minute, but for the first few.
    assert!((55..=130).contains(&keys.fetches()), "{}", keys.fetches());

    provider.does(Does::Answer(200));
    sleep(60 * SECOND).await;
    assert_eq!(keys.health(), HealthState::Pass);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_used_no_longer() {
    let provider = Provider::with(named(&ED25519, "a"));
    provider.header("cache-control", "max-age=100");
    let settings = RemoteKeysSettings::new().max_stale(HOUR);
    let keys = RemoteKeys::oidc(provider.clone(), ISSUER).settings(settings).build().unwrap();
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    let fetched = Instant::now();
    provider.does(Does::Answer(503));
    let good = long(&ED25519, "a");
    tokio::time::sleep_until(fetched + HOUR + 99 * SECOND).await;
    assert!(verifier.verify(&good).await.is_ok());
    sleep(2 * SECOND).await;
    let error = verifier.verify(&good).await.unwrap_err();
    assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Keys));
    assert!(error.retry_after().is_some_and(|after| after <= 62 * SECOND), "{error:?}");
    assert_eq!(keys.health(), HealthState::Fail);
    provider.does(Does::Answer(200));
    sleep(61 * SECOND).await;
    assert!(verifier.verify(&good).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_too_old_are_used_no_longer_whatever_becomes_of_whoever_fetches_them() {
    async fn ready() -> (Provider, RemoteKeys) {
        let provider = Provider::with(named(&ED25519, "a"));
        provider.header("cache-control", "max-age=100");
        let settings = RemoteKeysSettings::new().max_stale(HOUR).timeout(HOUR);
        let keys = RemoteKeys::oidc(provider.clone(), ISSUER).settings(settings).build().unwrap();
        keys.wait_ready().await;
        provider.does(Does::Hang);
        (provider, keys)
    }
    let good = long(&ED25519, "a");
    for its_task_has_ended in [true, false] {
        let (_provider, keys) = if its_task_has_ended {
            let other = || tokio::runtime::Runtime::new().unwrap().block_on(ready());
            std::thread::spawn(other).join().unwrap()
        } else {
            ready().await
        };
        let verifier = verifier(&keys);
        sleep(HOUR + 99 * SECOND).await;
        assert!(verifier.verify(&good).await.is_ok(), "{its_task_has_ended}");
        sleep(2 * SECOND).await;
        let error = verifier.verify(&good).await.unwrap_err();
        assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Keys), "{its_task_has_ended}");
        assert_eq!((keys.health(), keys.current().is_none()), (HealthState::Fail, true));
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_after_failures_grow_also_where_each_depends_on_the_one_before() {
    let provider = Provider::with(named(&ED25519, "a"));
    provider.does(Does::Refuse);
    let backoff = Backoff::exponential(SECOND, HOUR).unwrap().jitter(Jitter::Decorrelated);
    let settings = RemoteKeysSettings::new().backoff(backoff);
    let keys = RemoteKeys::oidc(provider.clone(), ISSUER).settings(settings).rng(Rng::seeded(1));
    let keys = keys.build().unwrap();
    sleep(HOUR).await;
    assert!((5..=30).contains(&keys.fetches()), "{}", keys.fetches());
}

#[tokio::test(start_paused = true)]
async fn no_answer_that_is_bad_or_empty_takes_good_keys_away() {
    let told = Recorder::new();
    let provider = Provider::with(named(&ED25519, "a"));
    let builder = RemoteKeys::oidc(provider.clone(), ISSUER).observer(told.clone());
    let keys = builder.build().unwrap();
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    let good = long(&ED25519, "a");
    let failures = || {
        let mut kinds: Vec<Kind> = Vec::new();
        for event in told.events() {
            if let Event::KeysNotFetched { kind, .. } = event {
                kinds.push(kind);
            }
        }
        kinds
    };
    let odd = r#"{"keys":[{"kty":"AKP","alg":"ML-DSA-44","pub":"AQAB"}]}"#;
    let large = format!(r#"{{"keys":[],"more":"{}"}}"#, "x".repeat(256 << 10));
    for (does, kind) in [
        (Does::Say(r#"{"keys":[]}"#.into()), Kind::Invalid),
        (Does::Say(odd.into()), Kind::Invalid),
        (Does::Say("<html>maintenance</html>".into()), Kind::Invalid),
        (Does::Say(String::new()), Kind::Invalid),
        (Does::Say(large), Kind::Body),
        (Does::Answer(500), Kind::Other),
        (Does::Answer(204), Kind::Other),
        (Does::Answer(302), Kind::Other),
        (Does::Refuse, Kind::Other),
        (Does::Hang, Kind::Timeout),
        (Does::Panic, Kind::Other),
    ] {
        provider.does(does);
        // What was asked before may be answered, or given up, only now.
        sleep(60 * SECOND).await;
        let before = failures().len();
        sleep(600 * SECOND).await;
        let all = failures();
        assert!(all.len() > before && all[before..].iter().all(|found| *found == kind), "{kind}: {all:?}");
        assert!(verifier.verify(&good).await.is_ok(), "{kind}");
    }
    let replaced =
        || told.events().iter().filter(|event| matches!(event, Event::KeysReplaced { .. })).count();
    provider.does(Does::Answer(200));
    sleep(HOUR).await;
    assert_eq!((keys.health(), replaced()), (HealthState::Pass, 1), "the same keys again are no news");
    provider.publish([named(&ED25519, "a"), named(&ED25519, "b")]);
    sleep(HOUR).await;
    assert_eq!(replaced(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_starts_without_its_provider_and_is_there_when_it_comes() {
    let provider = Provider::with(named(&ED25519, "a"));
    provider.does(Does::Refuse);
    let keys = keys_of(&provider);
    let health = keys.clone();
    let health =
        Health::builder().settings(HealthSettings::new()).readiness("identity", Impact::Shared, move || {
            let health = health.health();
            async move { health }
        });
    let health = health.build().unwrap();
    let closed = Router::new().route("/closed", get(|| async {}));
    let app = closed.layer(JwtLayer::new(verifier(&keys)).answer()).route("/open", get(|| async {}));
    let good = long(&ED25519, "a");
    let ask = async |path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {good}"));
        app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap()
    };
    sleep(600 * SECOND).await;
    let answer = ask("/closed").await;
    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(answer.status() == 503 && (1..=61).contains(&after), "{after}");
    assert_eq!(ask("/open").await.status(), 200);
    assert!(!health.ready() && keys.health() == HealthState::Fail);
    assert!(timeout(SECOND / 2, keys.wait_ready()).await.is_err(), "who wants to fail does");

    provider.does(Does::Answer(200));
    keys.wait_ready().await;
    assert_eq!(ask("/closed").await.status(), 200);
    health.wait_ready().await;
    // From then on it stays ready.
    provider.does(Does::Refuse);
    sleep(HOUR).await;
    assert!(health.ready() && keys.health() == HealthState::Warn);
    assert_eq!(ask("/closed").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_asks_for_a_pause_gets_it_within_limits() {
    for (says, least, most) in [("300", 300, 302), ("31536000", 3_600, 3_602), ("0", 0, 3)] {
        let provider = Provider::with(named(&ED25519, "a"));
        provider.does(Does::Answer(429));
        provider.header("retry-after", says);
        let keys = keys_of(&provider);
        let start = Instant::now();
        while keys.fetches() < 2 {
            sleep(SECOND / 10).await;
        }
        let after = start.elapsed().as_secs();
        assert!((least..=most).contains(&after), "{says}: {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_of_somebody_else_brings_no_keys() {
    for document in [
        r#"{"issuer":"https://evil.example","jwks_uri":"https://id.example/keys"}"#,
        r#"{"issuer":"https://id.example/","jwks_uri":"https://id.example/keys"}"#,
        r#"{"issuer":"https://id.example","jwks_uri":"http://id.example/keys"}"#,
        r#"{"issuer":"https://id.example","issuer":"https://id.example","jwks_uri":"https://id.example/keys"}"#,
        r#"{"issuer":"https://id.example"}"#,
    ] {
        let provider = Provider::with(named(&ED25519, "a"));
        provider.document(document);
        let keys = keys_of(&provider);
        sleep(600 * SECOND).await;
        assert!(keys.current().is_none() && provider.asked().1 == 0, "{document}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_have_moved_are_found_and_a_document_that_is_away_changes_nothing() {
    let provider = Provider::with(named(&ED25519, "a"));
    let keys = keys_of(&provider);
    keys.wait_ready().await;
    sleep(HOUR).await;
    assert_eq!(provider.asked().0, 1, "it is asked for once");
    // Its keys are away: perhaps they have moved, so it is asked again; and it cannot be read.
    provider.does(Does::Say("{}".into()));
    sleep(HOUR).await;
    assert!(provider.asked().0 > 10);
    provider.document("{}");
    provider.does(Does::Answer(200));
    sleep(120 * SECOND).await;
    assert_eq!(keys.health(), HealthState::Pass, "they are where they were");
}

#[tokio::test(start_paused = true)]
async fn a_place_of_keys_that_hangs_is_asked_for_again_with_each_fetch() {
    let provider = Provider::with(named(&ED25519, "a"));
    provider.does(Does::HangKeys);
    let keys = keys_of(&provider);
    sleep(HOUR).await;
    let (documents, sets) = provider.asked();
    assert!(documents > 10 && documents >= sets, "{documents} documents, {sets} sets");
    provider.does(Does::Answer(200));
    keys.wait_ready().await;
    // From now on they are believed to be there, until they hang again.
    let (documents, _) = provider.asked();
    sleep(HOUR).await;
    assert_eq!(provider.asked().0, documents);
    provider.does(Does::HangKeys);
    sleep(HOUR).await;
    assert!(provider.asked().0 > documents + 10, "{:?} after {documents}", provider.asked());
}

#[tokio::test(start_paused = true)]
async fn a_document_that_hangs_takes_no_time_from_keys_that_answer() {
    let provider = Provider::with(named(&ED25519, "a"));
    let keys = keys_of(&provider);
    let verifier = verifier(&keys);
    keys.wait_ready().await;
    sleep(25 * HOUR).await;
    provider.does(Does::HangDocument);
    let new = Signer::ed25519();
    provider.publish([named(&new, "new")]);
    sleep(25 * HOUR).await;
    assert!(verifier.verify(&long(&new, "new")).await.is_ok());
    assert_eq!(keys.health(), HealthState::Pass);
    // Nor from whoever brings a token of a key that was made just now.
    let newest = Signer::ed25519();
    provider.publish([named(&newest, "newest")]);
    assert!(verifier.verify(&long(&newest, "newest")).await.is_ok());
}

/// Whoever is told, and falls.
struct Falls;

impl Observer for Falls {
    fn observe(&self, _: &Event) {
        panic!("an observer panics, on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_ends_nothing() {
    let provider = Provider::with(named(&ED25519, "a"));
    let keys = RemoteKeys::oidc(provider.clone(), ISSUER).observer(Falls).build().unwrap();
    let verifier = verifier(&keys);
    timeout(SECOND, keys.wait_ready()).await.expect("they are there");
    provider.does(Does::Refuse);
    sleep(HOUR).await;
    provider.does(Does::Answer(200));
    let new = Signer::ed25519();
    provider.publish([named(&new, "new")]);
    sleep(120 * SECOND).await;
    assert!(verifier.verify(&long(&new, "new")).await.is_ok());
    assert_eq!(fault(verifier.verify(&long(&ED25519, "a")).await), TokenFault::UnknownKey);
}

#[tokio::test]
async fn keys_come_over_sockets_and_a_port_that_opens_late_is_found() -> Result<(), BoxError> {
    use axum::Json;
    use stonework::client::Client;
    use tokio::net::TcpListener;

    // A port where nobody listens yet.
    let port = TcpListener::bind("127.0.0.1:0").await?;
    let at = port.local_addr()?;
    drop(port);
    let issuer = format!("http://{at}");
    let backoff = stonework::base::Backoff::constant(Duration::from_millis(20))?;
    let settings = RemoteKeysSettings::new().backoff(backoff);
    let client = Client::builder().build()?;
    let keys = RemoteKeys::oidc(client, &issuer).settings(settings).allow_plain_http().build()?;
    while keys.health() != HealthState::Fail {
        sleep(Duration::from_millis(1)).await;
    }

    let document = serde_json::json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
    let set: serde_json::Value = serde_json::from_str(&format!(r#"{{"keys":[{}]}}"#, named(&ED25519, "a")))?;
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(|| async { Json(document) }))
        .route("/keys", get(|| async { Json(set) }));
    let listener = TcpListener::bind(at).await?;
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    timeout(10 * SECOND, keys.wait_ready()).await?;
    assert_eq!(keys.current().expect("they are there").len(), 1);
    server.abort();
    Ok(())
}
