//! What is signed (RFC 7519, section 4.1). The date is handed in.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::NotSigned;
use crate::jwt::base64url;

/// What is said of each token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) issuer: &'a str,
    pub(super) kind: &'a str,
    pub(super) algorithm: &'static str,
    pub(super) key: &'a str,
    /// Its own name, unless the claims have one.
    pub(super) id: u128,
    /// Since 1970 began.
    pub(super) now: Duration,
    pub(super) lifetime: Duration,
}

/// Header and claims with their dot: what is signed.
pub(super) fn message(said: Said<'_>, claims: &impl Serialize) -> Result<String, NotSigned> {
    let Ok(Value::Object(mut all)) = serde_json::to_value(claims) else { return Err(NotSigned::NotAnObject) };
    for claim in ["iss", "iat", "exp"] {
        if all.contains_key(claim) {
            return Err(NotSigned::Reserved { claim });
        }
    }
    all.insert("iss".into(), said.issuer.into());
    all.insert("iat".into(), said.now.as_secs().into());
    all.insert("exp".into(), said.now.as_secs().saturating_add(said.lifetime.as_secs()).into());
    all.entry("jti").or_insert_with(|| format!("{:032x}", said.id).into());
    let header = [("alg", said.algorithm), ("kid", said.key), ("typ", said.kind)];
    let header: Map<String, Value> =
        header.map(|(name, value)| (name.into(), value.into())).into_iter().collect();
    let mut text = base64url::encode(Value::Object(header).to_string().as_bytes());
    text.push('.');
    text.push_str(&base64url::encode(Value::Object(all).to_string().as_bytes()));
    Ok(text)
}
