//! Who is it? A user and a password go in, a token comes out, which every instance of the shop takes.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use aws_lc_rs::rand;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use stonework::base::BoxError;
use stonework::jwt::{Algorithm, Issuer, IssuerSettings, SigningKey, Verifier};
use tokio::task::spawn_blocking;

use crate::answers::{Read, Refusal};
use crate::app::Shop;

/// Who issues tokens, and for whom. They are names; nobody looks them up.
const ISSUER: &str = "https://storefront.example";
/// A token that was stolen is of use for so long. A page asks for the password again after it.
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long a password or a name may be: longer ones only cost time.
const LONGEST: usize = 128;
/// What OWASP's "Password Storage Cheat Sheet" advises for this function: about a tenth of a second for each guess.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// As long as the hash that it is made with.
const HASH_LENGTH: usize = 32;

/// Who can log in here, each with a password that everybody may know. **A real shop has users who choose theirs**, hashes them with Argon2id,
/// which costs an attacker memory as well, and lets nobody guess for long; or it leaves all of this to an identity provider, as in
/// `examples/identity`.
pub const DEMO_USERS: [(&str, &str); 4] = [
    ("ann", "ann's password"),
    ("ben", "ben's password"),
    ("cem", "cem's password"),
    ("dee", "dee's password"),
];

// ───────────────────────────────────────────────────────────────────────────── tokens

/// A new key to sign tokens with, in PKCS #8. Whoever starts several instances hands all of them the same.
///
/// # Errors
///
/// If the system has no randomness.
pub fn new_key() -> Result<Vec<u8>, BoxError> {
    let key = Ed25519KeyPair::generate().map_err(|_| "no key could be made")?;
    Ok(key.to_pkcs8v1().map_err(|_| "the key could not be written")?.as_ref().to_vec())
}

/// What makes tokens with this key, and what checks them. Neither keeps a session: an instance that has just begun knows as much as any other.
pub(crate) fn tokens(key: &[u8]) -> Result<(Issuer, Verifier), BoxError> {
    let key = SigningKey::der(Algorithm::EdDsa, key)?;
    let verifier = Verifier::builder()
        .keys(key.public().clone())
        .algorithms([Algorithm::EdDsa])
        .issuer(ISSUER)
        .audience(ISSUER)
        .build()?;
    // A key that this instance made for itself would be unknown to the others.
    let settings = IssuerSettings::new().token_lifetime(TOKEN_LIFETIME).without_rotation();
    let issuer = Issuer::builder(ISSUER).key(key).settings(settings).build()?;
    Ok((issuer, verifier))
}

/// What somebody says who wants to log in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    user: String,
    password: String,
}

/// What somebody is told who has.
#[derive(Serialize)]
pub(crate) struct LoggedIn {
    token: String,
    token_type: &'static str,
    expires_in: u64,
}

/// `POST /login`
pub(crate) async fn login(
    State(shop): State<Shop>,
    Read(Credentials { user, password }): Read<Credentials>,
) -> Result<Json<LoggedIn>, Refusal> {
    // PostgreSQL keeps no zero in a text, and nobody is called so.
    let can_be = user.len() <= LONGEST && !user.chars().any(char::is_control);
    let known = if can_be { shop.database.password(&user).await? } else { None };
    // Guessing costs the same whether there is such a user or not, so that time does not tell.
    let is_known = known.is_some();
    let hash = known.unwrap_or_else(|| NOBODY.clone());
    // It keeps a processor busy, which would be in the way of everybody else's requests.
    let is_right = spawn_blocking(move || hash.is_of(&password)).await.unwrap_or(false);
    if !(is_known && is_right) {
        return Err(Refusal::unauthorized("user and password do not fit"));
    }
    let token = shop.issuer.sign(&serde_json::json!({ "sub": user, "aud": ISSUER }));
    let token = token.map_err(|error| Refusal::internal(&error))?;
    Ok(Json(LoggedIn { token, token_type: "Bearer", expires_in: TOKEN_LIFETIME.as_secs() }))
}

// ───────────────────────────────────────────────────────────────────────────── passwords

/// What proves a password, and does not tell it.
#[derive(Clone)]
pub(crate) struct PasswordHash {
    pub(crate) salt: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// Of no password that anybody has.
static NOBODY: LazyLock<PasswordHash> =
    LazyLock::new(|| PasswordHash { salt: vec![0; 16], hash: vec![0; HASH_LENGTH] });

impl PasswordHash {
    fn of(password: &str) -> Self {
        let mut salt = [0; 16];
        rand::fill(&mut salt).expect("the system has randomness");
        let mut hash = vec![0; HASH_LENGTH];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut hash);
        Self { salt: salt.to_vec(), hash }
    }

    /// In a time that does not depend on how much of it is right.
    fn is_of(&self, password: &str) -> bool {
        password.len() <= LONGEST
            && pbkdf2::verify(PBKDF2_HMAC_SHA256, ITERATIONS, &self.salt, password.as_bytes(), &self.hash)
                .is_ok()
    }
}

/// Names and hashes, for a database that has none yet.
pub(crate) fn demo_users() -> impl Iterator<Item = (&'static str, PasswordHash)> {
    // Once in a process: it takes a second, and tests have many databases.
    static USERS: LazyLock<[PasswordHash; DEMO_USERS.len()]> =
        LazyLock::new(|| DEMO_USERS.map(|(_, password)| PasswordHash::of(password)));
    DEMO_USERS.into_iter().map(|(name, _)| name).zip(USERS.iter().cloned())
}
