//! Keys in JSON (RFC 7517; RFC 7518, section 6; RFC 8037).

use serde::Deserialize;

use super::Algorithm;
use super::base64url;
use super::material::{Curve, Material};
use crate::base::KeyFault;

/// A key as it stands in a set of keys, or alone.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) material: Material,
    pub(super) id: Option<String>,
    /// The only algorithm it is for, if it says so.
    pub(super) algorithm: Option<Algorithm>,
}

/// Members of no interest are left out.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    p: Option<serde::de::IgnoredAny>,
}

/// One alone, which may be a secret.
pub(super) fn alone(json: &str) -> Result<Read, KeyFault> {
    if !is_object(json) {
        return Err(KeyFault::Malformed);
    }
    read(serde_json::from_str(json).map_err(|_| KeyFault::Malformed)?)
}

/// One of a set, which may not.
pub(super) fn of_set(entry: serde_json::Value) -> Result<Read, KeyFault> {
    if !entry.is_object() {
        return Err(KeyFault::Malformed);
    }
    let jwk: Jwk = serde_json::from_value(entry).map_err(|_| KeyFault::Malformed)?;
    if jwk.kty == "oct" {
        return Err(KeyFault::SecretInSet);
    }
    read(jwk)
}

/// Whether it is one if it is JSON at all. What is derived would also read the members of an array, in their order.
pub(super) fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

fn read(jwk: Jwk) -> Result<Read, KeyFault> {
    if !matches!(&*jwk.kty, "EC" | "OKP" | "RSA" | "oct") {
        return Err(KeyFault::Type);
    }
    if jwk.d.is_some() || jwk.p.is_some() {
        return Err(KeyFault::Private);
    }
    match jwk.purpose.as_deref() {
        None | Some("sig") => {}
        Some("enc") => return Err(KeyFault::Encryption),
        Some(_) => return Err(KeyFault::NotForVerifying),
    }
    if jwk.key_ops.as_ref().is_some_and(|all| !all.iter().any(|one| one == "verify")) {
        return Err(KeyFault::NotForVerifying);
    }
    let algorithm =
        jwk.alg.as_deref().map(|name| Algorithm::from_name(name).ok_or(KeyFault::Algorithm)).transpose()?;
    let material = material(&jwk, algorithm)?;
    if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
        return Err(KeyFault::Algorithm);
    }
    Ok(Read { material, id: jwk.kid, algorithm })
}

fn material(jwk: &Jwk, algorithm: Option<Algorithm>) -> Result<Material, KeyFault> {
    let curve = jwk.crv.as_deref();
    match &*jwk.kty {
        "RSA" => Material::rsa(&bytes(&jwk.n)?, &bytes(&jwk.e)?),
        "EC" => {
            let curve = match curve.ok_or(KeyFault::Malformed)? {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                "P-521" => Curve::P521,
                _ => return Err(KeyFault::Curve),
            };
            Material::ec(curve, &bytes(&jwk.x)?, &bytes(&jwk.y)?)
        }
        "OKP" => match curve.ok_or(KeyFault::Malformed)? {
            "Ed25519" => Material::ed25519(&bytes(&jwk.x)?),
            // For agreeing on a key, which is encryption's.
            "X25519" | "X448" => Err(KeyFault::Encryption),
            _ => Err(KeyFault::Curve),
        },
        "oct" => {
            let secret = bytes(&jwk.k)?;
            // Without an algorithm, it is good for as many as it is long enough for.
            Material::secret(algorithm.unwrap_or(Algorithm::Hs256), &secret)
        }
        _ => Err(KeyFault::Type),
    }
}

fn bytes(text: &Option<String>) -> Result<Vec<u8>, KeyFault> {
    text.as_deref().and_then(|text| base64url::decode(text.as_bytes())).ok_or(KeyFault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn okp(more: &str) -> Result<Read, KeyFault> {
        alone(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"{more}}}"#))
    }

    #[test]
    fn a_key_says_its_name_and_what_it_is_for() {
        // RFC 8037, appendix A.2.
        let read =
            okp(r#","kid":"a","alg":"EdDSA","use":"sig","key_ops":["sign","verify"],"x5c":[1]"#).unwrap();
        assert_eq!((read.id.as_deref(), read.algorithm), (Some("a"), Some(Algorithm::EdDsa)));
        assert_eq!(okp("").unwrap().algorithm, None);
        assert_eq!(okp(r#","alg":"Ed25519""#).unwrap().algorithm, Some(Algorithm::EdDsa));
    }

    #[test]
    fn what_is_not_for_verifying_says_why() {
        for (more, fault) in [
            (r#","use":"enc""#, KeyFault::Encryption),
            (r#","use":"SIG""#, KeyFault::NotForVerifying),
            (r#","key_ops":[]"#, KeyFault::NotForVerifying),
            (r#","key_ops":["sign"]"#, KeyFault::NotForVerifying),
            (r#","alg":"ES256""#, KeyFault::Algorithm),
            (r#","alg":"none""#, KeyFault::Algorithm),
            (r#","alg":"ECDH-ES""#, KeyFault::Algorithm),
            (r#","alg":1"#, KeyFault::Malformed),
            (r#","kid":1"#, KeyFault::Malformed),
            (r#","d":"AA""#, KeyFault::Private),
            (r#","d":1"#, KeyFault::Private),
            (r#","p":"AA""#, KeyFault::Private),
            (r#","kty":"OKP""#, KeyFault::Malformed),
        ] {
            assert_eq!(okp(more).unwrap_err(), fault, "{more}");
        }
    }

    #[test]
    fn what_is_unknown_or_incomplete_says_so() {
        for (json, fault) in [
            ("", KeyFault::Malformed),
            ("[]", KeyFault::Malformed),
            ("{}", KeyFault::Malformed),
            (
                r#"["OKP",null,null,null,null,"Ed25519",null,null,"AA",null,null,null,null]"#,
                KeyFault::Malformed,
            ),
            (r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#, KeyFault::Type),
            (r#"{"kty":"rsa"}"#, KeyFault::Type),
            (r#"{"kty":"OKP","x":"AA"}"#, KeyFault::Malformed),
            (r#"{"kty":"OKP","crv":"Ed448","x":"AA"}"#, KeyFault::Curve),
            (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#, KeyFault::Encryption),
            (r#"{"kty":"OKP","crv":"Ed25519"}"#, KeyFault::Malformed),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AA=="}"#, KeyFault::Malformed),
            (r#"{"kty":"EC","x":"AA","y":"AA"}"#, KeyFault::Malformed),
            (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#, KeyFault::Curve),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, KeyFault::Malformed),
            (r#"{"kty":"RSA","e":"AQAB"}"#, KeyFault::Malformed),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, KeyFault::RsaTooShort),
            (r#"{"kty":"oct","k":"AAAA"}"#, KeyFault::SecretTooShort),
            (r#"{"kty":"oct"}"#, KeyFault::Malformed),
        ] {
            assert_eq!(alone(json).unwrap_err(), fault, "{json}");
        }
    }

    #[test]
    fn a_secret_is_taken_alone_and_not_from_a_set() {
        let secret = r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        assert!(alone(secret).is_ok());
        let in_set = of_set(serde_json::from_str(secret).unwrap());
        assert_eq!(in_set.unwrap_err(), KeyFault::SecretInSet);
    }
}
