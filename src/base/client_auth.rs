//! How a client says to an authorization server who it is.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use super::basic::basic;
use super::error::BoxError;
use super::form;

/// How long an assertion is good for: as long as a slow call may take, and clocks may differ.
const ASSERTION: Duration = Duration::from_secs(60);

/// How a client says to an authorization server who it is: with a secret, or with a key (RFC 6749, section 2.3; RFC 7523, section 2.2).
///
/// ```
/// use stonework::base::ClientAuth;
///
/// let auth = ClientAuth::basic("orders", "a secret");
/// assert_eq!(format!("{auth:?}"), "ClientAuth(client_secret_basic)");
/// ```
#[derive(Clone)]
pub struct ClientAuth {
    id: Arc<str>,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    Basic { value: HeaderValue },
    Body { secret: Arc<str> },
    Key { audience: Arc<str>, key: Arc<dyn Sign> },
}

/// A private key that signs, wherever it is kept: a `jwt::SigningKey`, or one of your own, in memory or behind a call to what has it.
///
/// It is called for each request to an authorization server, seldom, and should not take long.
///
/// ```
/// use stonework::base::{BoxError, ClientAuth, Sign};
///
/// struct Key(aws_lc_rs::signature::Ed25519KeyPair);
///
/// impl Sign for Key {
///     fn algorithm(&self) -> &str {
///         "EdDSA"
///     }
///
///     fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
///         Ok(self.0.sign(message).as_ref().to_vec())
///     }
/// }
///
/// let key = Key(aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap());
/// let auth = ClientAuth::private_key("orders", "https://id.example", key);
/// # let _ = auth;
/// ```
pub trait Sign: Send + Sync {
    /// The name of the algorithm, as it stands in the header of a token (RFC 7518, section 3.1).
    fn algorithm(&self) -> &str;

    /// The name of the key, if the server knows several of this client. Default: none.
    fn key_id(&self) -> Option<&str> {
        None
    }

    /// The signature of these bytes, in the form that tokens have: of ECDSA, two numbers of fixed length (RFC 7518, section 3.4).
    ///
    /// # Errors
    ///
    /// Whatever keeps it from signing.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError>;
}

impl ClientAuth {
    /// By HTTP Basic: `client_secret_basic`. Every server has to understand it (RFC 6749, section 2.3.1).
    #[must_use]
    pub fn basic(id: &str, secret: &str) -> Self {
        let value = basic(form::encoded(id).as_bytes(), form::encoded(secret).as_bytes());
        Self { id: id.into(), proof: Proof::Basic { value } }
    }

    /// In the body: `client_secret_post`. Only for servers that do not understand HTTP Basic.
    ///
    /// ```
    /// use stonework::base::ClientAuth;
    ///
    /// let auth = ClientAuth::body("orders", "a secret");
    /// assert_eq!(format!("{auth:?}"), "ClientAuth(client_secret_post)");
    /// ```
    #[must_use]
    pub fn body(id: &str, secret: &str) -> Self {
        Self { id: id.into(), proof: Proof::Body { secret: secret.into() } }
    }

    /// With a key: `private_key_jwt` (RFC 7523, section 2.2). Each request has a token of its own, which is good for a minute. `audience` is
    /// whom it is for: the issuer, or the address that is called, as the server wants it (RFC 7523, section 3). A server may take each token
    /// once, so a retry below does not repeat such a request once it may have been received; one that comes to nothing by chance is made once
    /// more with another token.
    #[must_use]
    pub fn private_key(id: &str, audience: &str, key: impl Sign + 'static) -> Self {
        Self { id: id.into(), proof: Proof::Key { audience: audience.into(), key: Arc::new(key) } }
    }

    /// Whether a proof is good for one request alone: a server may refuse the second one (RFC 7523, section 3).
    pub(crate) const fn proves_once(&self) -> bool {
        matches!(self.proof, Proof::Key { .. })
    }

    /// Add to a form what has to stand there; the value of `Authorization`, if it has to stand in the head. `unique` is like no other.
    pub(crate) fn prove(
        &self,
        form: &mut String,
        now: SystemTime,
        unique: u128,
    ) -> Result<Option<HeaderValue>, BoxError> {
        match &self.proof {
            Proof::Basic { value } => return Ok(Some(value.clone())),
            Proof::Body { secret } => {
                form::add(form, "client_id", &self.id);
                form::add(form, "client_secret", secret);
            }
            Proof::Key { audience, key } => {
                let assertion = assertion(&self.id, audience, &**key, now, unique)?;
                form::add(form, "client_id", &self.id);
                form::add(
                    form,
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
                form::add(form, "client_assertion", &assertion);
            }
        }
        Ok(None)
    }
}

/// RFC 7523, section 3.
fn assertion(
    id: &str,
    audience: &str,
    key: &dyn Sign,
    now: SystemTime,
    unique: u128,
) -> Result<String, BoxError> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut header = serde_json::json!({ "alg": key.algorithm(), "typ": "JWT" });
    if let Some(name) = key.key_id() {
        header["kid"] = name.into();
    }
    let claims = serde_json::json!({
        "iss": id,
        "sub": id,
        "aud": audience,
        "jti": format!("{unique:032x}"),
        "iat": now.as_secs(),
        "exp": now.saturating_add(ASSERTION).as_secs(),
    });
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let mut token = encode(header.to_string().as_bytes());
    token.extend([".", &encode(claims.to_string().as_bytes())]);
    let signature = key.sign(token.as_bytes())?;
    token.extend([".", &encode(&signature)]);
    Ok(token)
}

/// The name of the method, and nothing of what proves it.
impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.proof {
            Proof::Basic { .. } => "ClientAuth(client_secret_basic)",
            Proof::Body { .. } => "ClientAuth(client_secret_post)",
            Proof::Key { .. } => "ClientAuth(private_key_jwt)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Reversed;

    impl Sign for Reversed {
        fn algorithm(&self) -> &str {
            "X"
        }

        fn key_id(&self) -> Option<&str> {
            Some("2026")
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
            Ok(message.iter().rev().copied().collect())
        }
    }

    fn prove(auth: &ClientAuth) -> (String, Option<HeaderValue>) {
        let mut form = String::from("grant_type=client_credentials");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let value = auth.prove(&mut form, now, 10).unwrap();
        (form, value)
    }

    #[test]
    fn a_secret_stands_in_the_head_or_in_the_body_and_is_encoded_in_both() {
        let (form, value) = prove(&ClientAuth::basic("a:b", "p %"));
        assert_eq!(form, "grant_type=client_credentials");
        // "a%3Ab:p+%25": without the first step the identifier would end at its own colon.
        assert_eq!(value.as_ref().unwrap(), "Basic YSUzQWI6cCslMjU=");
        assert!(value.unwrap().is_sensitive());
        let (form, value) = prove(&ClientAuth::body("a:b", "p %"));
        let expected = "grant_type=client_credentials&client_id=a%3Ab&client_secret=p+%25";
        assert_eq!((form.as_str(), value), (expected, None));
    }

    #[test]
    fn an_assertion_says_who_asks_whom_when_and_is_signed() {
        let (form, value) = prove(&ClientAuth::private_key("orders", "https://id", Reversed));
        assert_eq!(value, None);
        let (_, assertion) = form.rsplit_once('=').unwrap();
        let parts: Vec<_> = assertion.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
        assert_eq!(header, serde_json::json!({ "alg": "X", "typ": "JWT", "kid": "2026" }));
        let claims: serde_json::Value = serde_json::from_slice(&parts[1]).unwrap();
        let jti = "0000000000000000000000000000000a";
        assert_eq!(
            claims,
            serde_json::json!({ "iss": "orders", "sub": "orders", "aud": "https://id", "jti": jti, "iat": 1000, "exp": 1060 })
        );
        let (signed, _) = assertion.rsplit_once('.').unwrap();
        assert!(parts[2].iter().rev().eq(signed.as_bytes()));
        assert!(form.contains(
            "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        ));
    }

    #[test]
    fn a_key_without_a_name_is_not_named() {
        struct Nameless;

        impl Sign for Nameless {
            fn algorithm(&self) -> &str {
                "X"
            }

            fn sign(&self, _: &[u8]) -> Result<Vec<u8>, BoxError> {
                Ok(Vec::new())
            }
        }

        let (form, _) = prove(&ClientAuth::private_key("orders", "https://id", Nameless));
        let (_, assertion) = form.rsplit_once('=').unwrap();
        let (header, _) = assertion.split_once('.').unwrap();
        let header: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        assert_eq!(header, serde_json::json!({ "alg": "X", "typ": "JWT" }));
    }

    #[test]
    fn nothing_secret_is_shown() {
        for auth in [
            ClientAuth::basic("an id", "hush"),
            ClientAuth::body("an id", "hush"),
            ClientAuth::private_key("an id", "aud", Reversed),
        ] {
            let shown = format!("{auth:?}");
            assert!(!shown.contains("hush") && !shown.contains("aHVzaA"), "{shown}");
        }
    }
}
