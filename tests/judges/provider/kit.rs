//! The provider, its clients, and a server that is called with its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::{Router, middleware};
use http::StatusCode;
use serde_json::{Value, json};
use stonework::Body;
use stonework::base::{Backoff, ClientAuth, Error, TokenFault, TokenRefused};
use stonework::client::Client;
use stonework::jwt::{
    Algorithm, IntrospectSettings, Introspector, JwtSettings, RemoteKeys, SigningKey, Verifier,
};
use stonework::oauth::{BearerLayer, TokenSettings, TokenSource};
use stonework::server::Server;
use tower::{Layer, ServiceExt};

use crate::kit::{Talking, node, script};

/// With all that has to be written differently in a form, and in a form within HTTP Basic.
pub(super) const SECRET: &str = "a secret: 50%+1 & \"=/\\";
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
];
/// The resources with tokens that it signs.
pub(super) const RESOURCES: [&str; 7] = [
    "https://rs256.example",
    "https://ps256.example",
    "https://es256.example",
    "https://es384.example",
    "https://es512.example",
    EDDSA,
    // Of the same algorithm, by its newer name (RFC 9864).
    "https://ed25519.example",
];
pub(super) const EDDSA: &str = "https://eddsa.example";
pub(super) const OPAQUE: &str = "https://opaque.example";

pub(super) struct Provider {
    pub(super) issuer: String,
    program: Talking,
    /// The clients that prove with a key who they are.
    pub(super) keyed: Vec<(String, ClientAuth)>,
}

impl Provider {
    pub(super) async fn start() -> Option<Self> {
        let packages = node("oidc-provider")?;
        let client = |id: &str, method: &str| {
            json!({
                "client_id": id,
                "grant_types": ["client_credentials"],
                "redirect_uris": [],
                "response_types": [],
                "token_endpoint_auth_method": method,
            })
        };
        let mut clients = Vec::new();
        for (id, method) in [
            ("orders: 1%", "client_secret_basic"),
            ("billing", "client_secret_post"),
            ("api", "client_secret_basic"),
        ] {
            let mut secret = client(id, method);
            secret["client_secret"] = SECRET.into();
            clients.push(secret);
        }
        let mut keys = Vec::new();
        for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
            let (id, key) = (format!("keyed-{algorithm}"), SigningKey::generate(algorithm).unwrap());
            let jwk: Value = serde_json::from_str(key.public_jwk()).unwrap();
            let mut keyed = client(&id, "private_key_jwt");
            keyed["jwks"] = json!({ "keys": [jwk] });
            keyed["token_endpoint_auth_signing_alg"] = algorithm.name().into();
            clients.push(keyed);
            keys.push((id, key));
        }
        let clients = Value::from(clients).to_string();
        let mut program = Talking::obeying("node", &[&script("provider/server.mjs"), &packages, &clients]);
        let issuer = program.line().await.expect("it says where it is");
        // Whom what they sign is for, only it knows.
        let keyed =
            keys.into_iter().map(|(id, key)| (id.clone(), ClientAuth::private_key(&id, &issuer, key)));
        Some(Self { keyed: keyed.collect(), issuer, program })
    }

    pub(super) async fn does(&mut self, what: &str) -> Value {
        self.program.tell(what).await;
        serde_json::from_str(&self.program.line().await.expect("it obeys")).unwrap()
    }

    /// How often it was asked for this.
    pub(super) async fn asked(&mut self, path: &str) -> u64 {
        self.does("counts").await[path].as_u64().unwrap_or_default()
    }

    /// Of tokens for this resource.
    pub(super) fn source(&self, auth: ClientAuth, resource: &str) -> TokenSource {
        let pause = Backoff::constant(Duration::from_millis(50)).unwrap();
        TokenSource::builder(format!("{}/token", self.issuer), auth)
            .scope("stock:read")
            .parameter("resource", resource)
            .allow_plain_http()
            .settings(TokenSettings::new().backoff(pause))
            .build(Client::new())
            .unwrap()
    }

    /// Of tokens for it, of a client that has a secret.
    pub(super) fn usual(&self, resource: &str) -> TokenSource {
        self.source(ClientAuth::body("billing", SECRET), resource)
    }

    pub(super) fn keys(&self) -> RemoteKeys {
        RemoteKeys::oidc(Client::new(), &self.issuer).allow_plain_http().build().unwrap()
    }

    /// Of access tokens for this resource.
    pub(super) fn verifier(&self, keys: &RemoteKeys, resource: &str) -> Verifier {
        Verifier::builder()
            .issuers_with_keys([(&self.issuer, keys)])
            .algorithms(ALGORITHMS)
            .audience(resource)
            .settings(JwtSettings::new().types(["at+jwt"]).require(["jti", "iat", "client_id"]))
            .build()
            .unwrap()
    }

    pub(super) fn introspector(&self, auth: ClientAuth, audience: &str) -> Introspector {
        Introspector::builder(format!("{}/token/introspection", self.issuer), auth)
            .issuer(&self.issuer)
            .audiences([audience])
            .allow_plain_http()
            // What is called back is to be seen at once.
            .settings(IntrospectSettings::new().without_cache())
            .build(Client::new())
            .unwrap()
    }

    /// Call this token back (RFC 7009).
    pub(super) async fn revoke(&self, token: &str) {
        let form = [("token", token), ("client_id", "billing"), ("client_secret", SECRET)];
        let sent = Client::new().post(format!("{}/token/revocation", self.issuer)).form(&form).send().await;
        assert_eq!(sent.unwrap().status(), 200);
    }
}

pub(super) async fn secret(source: &TokenSource) -> String {
    source.token().await.expect("it gives one").secret().to_owned()
}

pub(super) fn fault<T>(checked: Result<T, Error>) -> Option<TokenFault> {
    checked.err().map(|error| error.cause::<TokenRefused>().expect("it says why").fault())
}

/// A server of this: its address, and how many requests it was sent.
pub(super) async fn serve(app: Router) -> (String, Arc<AtomicUsize>) {
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let app = app.layer(middleware::from_fn(move |request: Request, next: middleware::Next| {
        count.fetch_add(1, Ordering::Relaxed);
        next.run(request)
    }));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", server.local_addr());
    tokio::spawn(server.serve(app));
    (origin, received)
}

/// What it answers who is called with a token of this source.
pub(super) async fn call(source: &TokenSource, origin: &str) -> Result<(StatusCode, String), Error> {
    let client = BearerLayer::new(source.clone(), [origin]).unwrap().layer(Client::new());
    let request = http::Request::get(format!("{origin}/")).body(Body::empty()).unwrap();
    let answer = client.oneshot(request).await?;
    let status = answer.status();
    Ok((status, answer.into_body().collect_up_to(1000).await.unwrap().escape_ascii().to_string()))
}
