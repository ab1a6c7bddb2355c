use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::claims::{Said, message};
use super::paths::Paths;
use super::rotation::Rotation;
use super::{IssuerBuilder, IssuerService, IssuerSettings, NotSigned, SigningKey};
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Rng, WallClock};
use crate::jwt::{Algorithm, Backend, base64url};

/// Issues tokens: a handle, whose clones share its keys.
///
/// A key is published before it signs, and until the last of its tokens has expired, so that nobody who keeps what is published for as
/// long as it says ever meets a token whose key is not there. Keys are made and let go when a token is signed or somebody asks for them; no
/// task does it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use stonework::jwt::{Algorithm, Issuer, RemoteKeys, Verifier};
///
/// let issuer = Issuer::builder("https://id.example").build()?;
/// let token = issuer.sign(&serde_json::json!({ "sub": "alice", "aud": "https://api.example" }))?;
///
/// // Its keys, as others fetch them; here without a network in between.
/// let keys = RemoteKeys::oidc(issuer.service(), "https://id.example").build()?;
/// keys.wait_ready().await;
/// let verifier = Verifier::builder()
///     .keys(keys)
///     .algorithms([Algorithm::EdDsa])
///     .issuer("https://id.example")
///     .audience("https://api.example")
///     .build()?;
/// assert_eq!(verifier.verify(&token).await?.subject(), Some("alice"));
/// # Ok(()) }
/// ```
///
/// *Not for:* secrets that issuer and verifier share ([`Key::secret`](crate::jwt::Key::secret)): it signs with key pairs, so that whoever checks tokens
/// cannot make them. Nor for several processes that issue tokens in one name, unless all of them are handed the [same keys](Self::add_key); whoever asks one for
/// the keys of another gets its own. After a restart the old keys are gone, with all tokens that were signed with them, unless the issuer
/// [begins](super::IssuerBuilder::key) with a key that was kept. *Defaults:* see [`IssuerSettings`]. *Panics:* none.
#[derive(Clone)]
pub struct Issuer(Arc<Shared>);

pub(super) struct Shared {
    pub(super) algorithm: Algorithm,
    pub(super) backend: Backend,
    pub(super) clock: WallClock,
    pub(super) issuer: Box<str>,
    pub(super) kind: Box<str>,
    pub(super) metadata: Map<String, Value>,
    pub(super) paths: Paths,
    pub(super) rng: Rng,
    pub(super) rotation: Mutex<Rotation<Arc<SigningKey>>>,
    pub(super) settings: IssuerSettings,
}

impl Issuer {
    /// Of this name, an address that begins with `https:`, below which its keys are found.
    pub fn builder(issuer: impl Into<String>) -> IssuerBuilder {
        IssuerBuilder::new(issuer.into())
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// A token that says this, and who issued it (`iss`), when (`iat`), until when it is good (`exp`), and a name of its own (`jti`) if it has
    /// none.
    ///
    /// # Errors
    ///
    /// [`NotSigned`], if the claims are no object, or say what the issuer does.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, NotSigned> {
        self.sign_for(self.0.settings.token_lifetime, claims)
    }

    /// The same for one that is good for so long, and not longer than [settings](IssuerSettings::token_lifetime) say.
    ///
    /// # Errors
    ///
    /// [`NotSigned`], if it were good for longer, the claims are no object, or say what the issuer does.
    pub fn sign_for(&self, lifetime: Duration, claims: &impl Serialize) -> Result<String, NotSigned> {
        let shared = &*self.0;
        if lifetime > shared.settings.token_lifetime || lifetime.as_secs() == 0 {
            return Err(NotSigned::Lifetime);
        }
        let now = Instant::now();
        let key = self.rotation(now).signer(now).map(Arc::clone).ok_or(NotSigned::Backend)?;
        let said = Said {
            issuer: &shared.issuer,
            kind: &shared.kind,
            algorithm: key.algorithm().name(),
            key: key.id(),
            id: shared.rng.unique_id(),
            now: shared.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            lifetime,
        };
        let mut token = message(said, claims)?;
        let signature = key.sign_with(token.as_bytes(), shared.backend).ok_or(NotSigned::Backend)?;
        token.push('.');
        token.push_str(&base64url::encode(&signature));
        Ok(token)
    }

    /// Publish this key from now on, and sign with it as soon as everybody can know it, which is after
    /// [`publish_ahead`](IssuerSettings::publish_ahead).
    pub fn add_key(&self, key: SigningKey) {
        let now = Instant::now();
        self.rotation(now).add(Arc::new(key), now);
    }

    /// The names of the keys that are published now, in the order in which they sign.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.rotation(Instant::now()).published().map(|key| key.id().to_owned()).collect()
    }

    /// A service that publishes the keys and the discovery document, and answers 404 to all else.
    #[must_use]
    pub fn service(&self) -> IssuerService {
        IssuerService::new(self.clone())
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.0.paths
    }

    pub(super) fn max_age(&self) -> Duration {
        self.0.settings.max_age
    }

    /// The keys, as they are published (RFC 7517, section 5).
    pub(super) fn jwks(&self) -> String {
        let rotation = self.rotation(Instant::now());
        let keys: Vec<&str> = rotation.published().map(|key| key.public_jwk()).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// What the issuer says of itself (OpenID Connect Discovery 1.0, section 3).
    pub(super) fn configuration(&self) -> String {
        let shared = &*self.0;
        let mut algorithms: Vec<&str> = Vec::new();
        for key in self.rotation(Instant::now()).published() {
            if !algorithms.contains(&key.algorithm().name()) {
                algorithms.push(key.algorithm().name());
            }
        }
        let mut all = shared.metadata.clone();
        all.insert("issuer".into(), (&*shared.issuer).into());
        all.insert("jwks_uri".into(), (&*shared.paths.jwks_uri).into());
        all.entry("id_token_signing_alg_values_supported").or_insert_with(|| algorithms.into());
        Value::Object(all).to_string()
    }

    /// As it is now: with a new key if it is time for one, and without those that are over.
    fn rotation(&self, now: Instant) -> MutexGuard<'_, Rotation<Arc<SigningKey>>> {
        let shared = &*self.0;
        let mut rotation = shared.rotation.lock().unwrap_or_else(PoisonError::into_inner);
        if rotation.is_due(now) {
            // If none can be made, the last one goes on, and the next who comes tries again.
            if let Ok(key) = SigningKey::generate_with(shared.algorithm, shared.backend) {
                rotation.add(Arc::new(key), now);
            }
        }
        rotation.retire(now);
        rotation
    }
}

/// Shows no key.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.0.issuer)
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}
