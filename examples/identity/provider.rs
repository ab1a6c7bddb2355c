//! A provider over a socket, which has moods.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Router, body};
use http::{Request, StatusCode};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::json;
use stonework::base::BoxError;
use stonework::jwt::{Algorithm, Issuer, IssuerSettings, SigningKey};
use stonework::server::{Server, ServerHandle, ServerSettings};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::show::Hits;
use super::{FRESH, SECRET, TOKEN_LIFE, claims};

/// What it does when somebody wants its keys.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Well,
    Odd,
    Empty,
    Broken,
}

/// Of no type that anybody knows, of one without what belongs to it, and one that is no object.
pub(crate) const ODD_KEYS: [&str; 3] = [
    r#"{"kty":"LATTICE","crv":"Kyber-9000","x":"AAAA","kid":"tomorrow"}"#,
    r#"{"kty":"OKP","crv":"Ed25519","kid":"half"}"#,
    r#""a key""#,
];

/// An [`Issuer`] over a socket, with clients that have a secret, and with moods.
pub(crate) struct Provider {
    /// Its name, which is its address.
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// A token that was signed with its first key.
    pub(crate) first: String,
    /// The key that it had first, so that the attacker can have got hold of tokens that it signed.
    pub(crate) key: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) running: Option<(ServerHandle, JoinHandle<()>)>,
}

pub(crate) struct Shared {
    now: Mutex<(Issuer, Mood)>,
    documents: AtomicU64,
    keys: AtomicU64,
    tokens: AtomicU64,
}

impl Provider {
    /// It is not up yet, but it knows where it will be.
    pub(crate) async fn new() -> Result<Self, BoxError> {
        let address = Server::builder().bind("127.0.0.1:0").await?.local_addr();
        let name = format!("http://{address}");
        let key = KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem();
        let issuer = issuer(&name, SigningKey::pem(Algorithm::EdDsa, &key)?)?;
        let first = issuer.sign(&claims("alice"))?;
        let counts = || AtomicU64::new(0);
        let now = Mutex::new((issuer, Mood::Well));
        let shared = Arc::new(Shared { now, documents: counts(), keys: counts(), tokens: counts() });
        Ok(Self { name, address, first, key, shared, running: None })
    }

    pub(crate) async fn up(&mut self) -> Result<(), BoxError> {
        let app = Router::new()
            .route("/.well-known/{document}", get(publish))
            .route("/token", post(grant))
            .with_state(Arc::clone(&self.shared));
        let settings = ServerSettings::new().lame_duck(Duration::ZERO);
        let server = Server::builder().settings(settings).bind(self.address).await?;
        let handle = server.handle();
        let serving = tokio::spawn(async move {
            server.serve(app).await;
        });
        self.running = Some((handle, serving));
        Ok(())
    }

    pub(crate) async fn down(&mut self) -> Result<(), BoxError> {
        if let Some((handle, serving)) = self.running.take() {
            handle.shut_down();
            serving.await?;
        }
        Ok(())
    }

    pub(crate) fn issuer(&self) -> Issuer {
        self.shared.now().0
    }

    pub(crate) fn key(&self) -> Result<SigningKey, BoxError> {
        Ok(SigningKey::pem(Algorithm::EdDsa, &self.key)?)
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.shared.now.lock().expect("nobody panics with it").1 = mood;
    }

    pub(crate) fn forget(&self) -> Result<(), BoxError> {
        let other = issuer(&self.name, SigningKey::generate(Algorithm::EdDsa)?)?;
        self.shared.now.lock().expect("nobody panics with it").0 = other;
        Ok(())
    }

    pub(crate) fn hits(&self) -> Hits {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shared = &self.shared;
        Hits { documents: of(&shared.documents), keys: of(&shared.keys), tokens: of(&shared.tokens) }
    }
}

pub(crate) fn issuer(name: &str, key: SigningKey) -> Result<Issuer, BoxError> {
    let settings = IssuerSettings::new()
        .token_lifetime(TOKEN_LIFE)
        .max_age(FRESH)
        .publish_ahead(FRESH)
        // When it rotates, we say so.
        .without_rotation();
    let builder = Issuer::builder(name).allow_plain_http().key(key).settings(settings);
    Ok(builder.metadata("token_endpoint", format!("{name}/token")).build()?)
}

impl Shared {
    fn now(&self) -> (Issuer, Mood) {
        self.now.lock().expect("nobody panics with it").clone()
    }
}

/// Its keys and its discovery document, as an [`Issuer`] publishes them, or not.
pub(crate) async fn publish(State(shared): State<Arc<Shared>>, request: Request<body::Body>) -> Response {
    let (issuer, mood) = shared.now();
    let are_keys = request.uri().path().ends_with("jwks.json");
    if are_keys { &shared.keys } else { &shared.documents }.fetch_add(1, Ordering::Relaxed);
    let Ok(published) = issuer.service().oneshot(request).await;
    let (head, published) = published.into_parts();
    if !are_keys || mood == Mood::Well {
        return Response::from_parts(head, body::Body::new(published));
    }
    let keys = match mood {
        Mood::Well | Mood::Broken => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::Empty => r#"{"keys":[]}"#.to_owned(),
        Mood::Odd => {
            let keys = published.collect_up_to(10_000).await.unwrap_or_default();
            let keys = String::from_utf8_lossy(&keys);
            keys.replacen(r#"{"keys":["#, &format!(r#"{{"keys":[{},"#, ODD_KEYS.join(",")), 1)
        }
    };
    Response::from_parts(head, keys.into())
}

/// A token for a client that knows the secret (RFC 6749, sections 2.3.1 and 4.4).
pub(crate) async fn grant(State(shared): State<Arc<Shared>>, form: String) -> Response {
    shared.tokens.fetch_add(1, Ordering::Relaxed);
    let says = |name: &str, value: &str| form.split('&').any(|pair| pair == format!("{name}={value}"));
    let known = ["alice", "bob"].into_iter().find(|name| says("client_id", name));
    let known = known.filter(|_| says("client_secret", SECRET) && says("grant_type", "client_credentials"));
    match known.and_then(|name| shared.now().0.sign(&claims(name)).ok()) {
        Some(token) => Json(json!({
            "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIFE.as_secs()
        }))
        .into_response(),
        None => (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response(),
    }
}
