//! Tokens, a provider of keys, and callers who show the ones while the other is away.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, Uri, header};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use stonework::jwt::{Algorithm, Issuer, SigningKey};
use stonework::testing::{Reaction, ScriptedServer, respond};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::rows::{Content, plain};

pub(super) const ISSUER: &str = "https://id.example";
pub(super) const AUDIENCE: &str = "orders";
pub(super) const SECRET: &str = "the secret of an example, 32 by.";

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), claims, &key).expect("it can be signed")
}

/// One as it should be, and those to which something is missing.
pub(super) fn absent() -> (String, [String; 4]) {
    // The year 2100.
    let exp = 4_102_444_800_u64;
    let good = sign(&json!({ "exp": exp, "iss": ISSUER, "aud": AUDIENCE }));
    let absent = [
        json!({ "exp": exp, "iss": ISSUER }),
        json!({ "exp": exp, "aud": AUDIENCE }),
        json!({ "exp": exp }),
        json!({ "exp": exp, "iss": ISSUER, "aud": null }),
    ];
    (good, absent.map(|claims| sign(&claims)))
}

/// One that expired in September of that year.
pub(super) fn of_2001() -> String {
    sign(&json!({ "exp": 1_000_000_000, "iss": ISSUER, "aud": AUDIENCE }))
}

pub(super) fn with(token: &str) -> Request<Content> {
    let mut request = plain();
    let field = format!("Bearer {token}").parse().expect("ASCII");
    request.headers_mut().insert(header::AUTHORIZATION, field);
    request
}

/// What the provider does with whoever asks for keys.
#[derive(Clone, Copy)]
pub(super) enum Does {
    Answers,
    IsSilent,
    IsAway,
}

struct State {
    does: Does,
    keys: Vec<String>,
}

/// Publishes its keys on a socket, and signs with the last of them.
pub(super) struct Provider {
    server: ScriptedServer,
    state: Arc<Mutex<State>>,
    issuer: Mutex<Issuer>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State { does: Does::Answers, keys: Vec::new() }));
        let seen = Arc::clone(&state);
        let server = ScriptedServer::start(move |_: &_| {
            let State { does, keys } = &*seen.lock().expect("nobody panics with it");
            match does {
                Does::Answers => {
                    let body = format!(r#"{{ "keys": [{}] }}"#, keys.join(", "));
                    respond(200).header("content-type", "application/json").body(body).keep_alive()
                }
                Does::IsSilent => Reaction::new().hang(),
                Does::IsAway => respond(503).keep_alive(),
            }
        })
        .await;
        let issuer = Mutex::new(issuer(&state));
        Self { server, state, issuer }
    }

    pub(super) fn uri(&self) -> Uri {
        self.server.uri("/keys")
    }

    pub(super) fn now(&self, does: Does) {
        self.state().does = does;
    }

    /// From now on it has another key, too, and signs with it.
    pub(super) fn rotate(&self) {
        *self.issuer.lock().expect("nobody panics with it") = issuer(&self.state);
    }

    pub(super) fn token(&self) -> String {
        let issuer = self.issuer.lock().expect("nobody panics with it");
        issuer.sign(&json!({ "sub": "alice", "aud": AUDIENCE })).expect("it can be signed")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

fn issuer(state: &Mutex<State>) -> Issuer {
    let key = SigningKey::generate(Algorithm::EdDsa).expect("a key");
    state.lock().expect("nobody panics with it").keys.push(key.public_jwk().to_owned());
    Issuer::builder(ISSUER).key(key).build().expect("valid settings")
}

/// After so long keys are fetched again.
pub(super) const LIFETIME: Duration = Duration::from_millis(100);

/// Ten at once, when keys are old and the provider is silent: how many come in within a second.
pub(super) async fn silent<F>(provider: &Provider, call: impl Fn(Request<Content>) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let token = provider.token();
    assert!(call(with(&token)).await, "the token is good");
    provider.now(Does::IsSilent);
    sleep(2 * LIFETIME).await;
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        callers.spawn(timeout(10 * LIFETIME, call(with(&token))));
    }
    callers.join_all().await.into_iter().filter(|came_in| matches!(came_in, Ok(true))).count()
}

/// One after the other, each when keys are old, and the provider is away: how many of five come in.
pub(super) async fn away<F>(provider: &Provider, call: impl Fn(Request<Content>) -> F) -> usize
where
    F: Future<Output = bool>,
{
    let token = provider.token();
    assert!(call(with(&token)).await, "the token is good");
    provider.now(Does::IsAway);
    let mut came_in = 0;
    for _ in 0..5 {
        sleep(2 * LIFETIME).await;
        came_in += usize::from(call(with(&token)).await);
    }
    came_in
}

/// Whether a token by a new key comes in.
pub(super) async fn rotated<F>(provider: &Provider, call: impl Fn(Request<Content>) -> F) -> bool
where
    F: Future<Output = bool>,
{
    assert!(call(with(&provider.token())).await, "the token is good");
    provider.rotate();
    call(with(&provider.token())).await
}

pub(super) fn said(came_in: bool) -> &'static str {
    if came_in { "it comes in" } else { "it is refused" }
}

pub(super) fn told(status: StatusCode, headers: &HeaderMap) -> String {
    let again = headers.get(header::RETRY_AFTER).and_then(|field| field.to_str().ok());
    format!("{}, Retry-After: {}", status.as_u16(), again.unwrap_or("none"))
}
