//! Tokens and keys of ours, as others find and read them: jose and oauth4webapi in JavaScript, joserfc in Python.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use serde_json::json;
use stonework::jwt::{Algorithm, Issuer, IssuerSettings};
use stonework::server::Server;
use tokio::time::{Instant, sleep};

use crate::kit::{Talking, node, python, script};

const AUDIENCE: &str = "https://api.example";
const SECOND: Duration = Duration::from_secs(1);
/// A test with tokens for so short has seen enough keys long before that.
const PATIENCE: Duration = Duration::from_secs(30);

/// An issuer that can be found, whose keys sign for two seconds each.
struct Found {
    issuer: Issuer,
    address: String,
    /// How often its keys were fetched.
    sets: Arc<AtomicUsize>,
}

impl Found {
    async fn at(path: &str, algorithm: Algorithm) -> Self {
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}{path}", server.local_addr());
        let settings = IssuerSettings::new().max_age(SECOND).publish_ahead(2 * SECOND);
        let builder = Issuer::builder(&address).allow_plain_http().token_type("at+jwt").algorithm(algorithm);
        let builder = builder.settings(settings.rotate_every(2 * SECOND).token_lifetime(2 * SECOND));
        let issuer = builder.build().unwrap();
        let sets = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sets);
        let look = middleware::from_fn(move |request: Request, next: Next| {
            count.fetch_add(usize::from(request.uri().path().ends_with("/jwks.json")), Ordering::Relaxed);
            next.run(request)
        });
        tokio::spawn(server.serve(Router::new().fallback_service(issuer.service()).layer(look)));
        Self { issuer, address, sets }
    }

    fn token(&self, audience: &str) -> String {
        let claims = json!({ "sub": "alice", "aud": audience, "client_id": "orders" });
        self.issuer.sign(&claims).unwrap()
    }

    /// Shows this one tokens until it has seen those of three keys, and some that are not good: the number of tokens, and of keys.
    async fn judged_by(&self, mut peer: Talking) -> (usize, usize) {
        peer.says("ready").await;
        let begun = Instant::now();
        let (mut tokens, mut keys) = (0, BTreeSet::new());
        while keys.len() < 3 {
            let good = self.token(AUDIENCE);
            let bad = [self.token("https://another.example"), forged(&good)];
            // The header names the key, and all else in it is always the same.
            keys.extend([&good, &bad[0]].map(|token| token.split('.').next().unwrap_or_default().to_owned()));
            assert_eq!(answer(&mut peer, &good).await, "alice", "after {tokens} tokens of {keys:?}");
            tokens += 1;
            for bad in bad {
                assert_ne!(answer(&mut peer, &bad).await, "alice");
            }
            assert!(begun.elapsed() < PATIENCE, "keys change: {keys:?}");
            sleep(Duration::from_millis(30)).await;
        }
        (tokens, keys.len())
    }
}

async fn answer(peer: &mut Talking, token: &str) -> String {
    peer.tell(token).await;
    peer.line().await.expect("it answers")
}

/// The same, for somebody else.
fn forged(token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let swapped: String = parts[1].chars().rev().collect();
    format!("{}.{swapped}.{}", parts[0], parts[2])
}

/// By jose and oauth4webapi, as this one has it.
async fn javascript(how: &str, path: &str, algorithm: Algorithm) -> Option<(usize, usize)> {
    let packages = node("oauth4webapi")?;
    let found = Found::at(path, algorithm).await;
    let arguments = [&script("issuer_peer.mjs"), &packages, &found.address, AUDIENCE, how];
    let (tokens, keys) = found.judged_by(Talking::obeying("node", &arguments)).await;
    let sets = found.sets.load(Ordering::Relaxed);
    eprintln!("{how}, {algorithm}: {tokens} tokens of {keys} keys, which were fetched {sets} times");
    Some((keys, sets))
}

#[tokio::test]
async fn javascript_s_jose_finds_each_key_with_one_fetch_and_reads_every_token() {
    let both = tokio::join!(
        javascript("at-once", "", Algorithm::EdDsa),
        javascript("at-once", "/tenant", Algorithm::Es256)
    );
    for (keys, sets) in [both.0, both.1].into_iter().flatten() {
        assert!(sets <= keys, "{sets} fetches for {keys} keys");
    }
}

#[tokio::test]
async fn whoever_keeps_the_keys_for_as_long_as_is_said_meets_no_token_whose_key_is_not_there() {
    tokio::join!(
        javascript("remembers", "", Algorithm::EdDsa),
        javascript("remembers", "/tenant", Algorithm::Es256)
    );
}

#[tokio::test]
async fn javascript_s_oauth4webapi_finds_the_issuer_and_takes_its_tokens_for_access_tokens() {
    tokio::join!(
        javascript("oauth4webapi", "", Algorithm::Es256),
        javascript("oauth4webapi", "/tenant", Algorithm::EdDsa)
    );
}

#[tokio::test]
async fn python_s_joserfc_keeps_the_keys_for_as_long_as_is_said_and_reads_every_token() {
    let Some(python) = python("joserfc") else { return };
    let judge = async |path, algorithm| {
        let found = Found::at(path, algorithm).await;
        let arguments = [&script("issuer_peer.py"), &found.address, AUDIENCE];
        let (tokens, keys) = found.judged_by(Talking::obeying(&python, &arguments)).await;
        let sets = found.sets.load(Ordering::Relaxed);
        eprintln!("joserfc, {algorithm}: {tokens} tokens of {keys} keys, which were fetched {sets} times");
    };
    tokio::join!(judge("", Algorithm::EdDsa), judge("/tenant", Algorithm::Es256));
}
