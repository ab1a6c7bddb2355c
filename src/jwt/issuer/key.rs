use std::fmt;

use jsonwebtoken::EncodingKey;

use super::NotSigned;
use crate::base::{BoxError, KeyFault, Sign};
use crate::jwt::jwk;
use crate::jwt::{Algorithm, Backend, Key, base64url, pem};

/// A key that signs, for [`Algorithm::EdDsa`] or [`Algorithm::Es256`]. Its name is what it is made of: its thumbprint
/// ([RFC 7638](https://www.rfc-editor.org/rfc/rfc7638)), so that whoever has it calls it the same.
///
/// ```
/// use stonework::jwt::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::Es256)?;
/// assert_eq!(key.public().id(), Some(key.id()));
/// # Ok::<(), stonework::base::KeyFault>(())
/// ```
///
/// A client can prove with one who it is (`private_key_jwt`), to servers that have been given its public half:
///
/// ```
/// use stonework::base::ClientAuth;
/// use stonework::jwt::{Algorithm, SigningKey};
///
/// let key = SigningKey::generate(Algorithm::EdDsa)?;
/// let registered = format!(r#"{{"keys":[{}]}}"#, key.public_jwk());
/// let auth = ClientAuth::private_key("orders", "https://id.example", key);
/// # let _ = (registered, auth);
/// # Ok::<(), stonework::base::KeyFault>(())
/// ```
///
/// `Debug` shows its name alone. What it signs with is overwritten when it is dropped; copies from which it was read, such as a file's in
/// memory, are not.
pub struct SigningKey {
    algorithm: Algorithm,
    private: EncodingKey,
    public: Key,
    jwk: Box<str>,
}

impl SigningKey {
    /// A new one, made by the [default](Backend::default) backend.
    ///
    /// # Errors
    ///
    /// [`KeyFault::Algorithm`], if there are no such keys here, or none could be made.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyFault> {
        Self::generate_with(algorithm, Backend::default())
    }

    /// A new one, made by this backend.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, Backend, SigningKey};
    ///
    /// let key = SigningKey::generate_with(Algorithm::Es256, Backend::default())?;
    /// assert!(!key.id().is_empty());
    /// # Ok::<(), stonework::base::KeyFault>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFault::Algorithm`], if there are no such keys here, or none could be made.
    pub fn generate_with(algorithm: Algorithm, backend: Backend) -> Result<Self, KeyFault> {
        let der = backend.generate(algorithm).ok_or(KeyFault::Algorithm)?;
        Self::read(algorithm, &der, backend)
    }

    /// A private key in DER (PKCS #8, RFC 5958).
    ///
    /// ```
    /// use stonework::base::KeyFault;
    /// use stonework::jwt::{Algorithm, SigningKey};
    ///
    /// fn of_file(path: &str) -> Result<SigningKey, Box<dyn std::error::Error>> {
    ///     Ok(SigningKey::der(Algorithm::EdDsa, &std::fs::read(path)?)?)
    /// }
    /// # let _ = of_file;
    /// assert_eq!(SigningKey::der(Algorithm::EdDsa, b"no key").err(), Some(KeyFault::Malformed));
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFault`], if it is something else, or cannot do this algorithm.
    pub fn der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyFault> {
        Self::read(algorithm, der, Backend::default())
    }

    /// A private key in PEM, `PRIVATE KEY`: `openssl genpkey -algorithm ed25519` writes one.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, SigningKey};
    ///
    /// fn of_file(path: &str) -> Result<SigningKey, Box<dyn std::error::Error>> {
    ///     Ok(SigningKey::pem(Algorithm::EdDsa, &std::fs::read_to_string(path)?)?)
    /// }
    /// # let _ = of_file;
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFault`], if it is something else, or cannot do this algorithm.
    pub fn pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyFault> {
        Self::der(algorithm, &pem::private_key(pem)?)
    }

    fn read(algorithm: Algorithm, der: &[u8], backend: Backend) -> Result<Self, KeyFault> {
        let private = match algorithm {
            Algorithm::EdDsa => EncodingKey::from_ed_der(der),
            Algorithm::Es256 => EncodingKey::from_ec_der(der),
            _ => return Err(KeyFault::Algorithm),
        };
        // The members that a thumbprint is made of, in the order of their names (RFC 7638, section 3.2; RFC 8037, appendix A.3).
        let members = match algorithm {
            Algorithm::EdDsa => {
                let x = backend.ed25519_public(der).ok_or(KeyFault::Malformed)?;
                format!(r#""crv":"Ed25519","kty":"OKP","x":"{}""#, base64url::encode(&x))
            }
            _ => {
                let (x, y) = backend.p256_public(der).ok_or(KeyFault::Malformed)?;
                let (x, y) = (base64url::encode(&x), base64url::encode(&y));
                format!(r#""crv":"P-256","kty":"EC","x":"{x}","y":"{y}""#)
            }
        };
        let id = base64url::encode(&backend.sha256(format!("{{{members}}}").as_bytes()));
        let jwk = format!(r#"{{{members},"alg":"{algorithm}","kid":"{id}","use":"sig"}}"#);
        let public = Key::from(jwk::alone(&jwk)?);
        Ok(Self { algorithm, private, public, jwk: jwk.into() })
    }

    /// Its name, which tokens have as `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.public.id().unwrap_or_default()
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What verifies its tokens.
    #[must_use]
    pub const fn public(&self) -> &Key {
        &self.public
    }

    /// What verifies its tokens, in JSON (RFC 7517).
    #[must_use]
    pub fn public_jwk(&self) -> &str {
        &self.jwk
    }

    /// Over these bytes.
    pub(super) fn sign_with(&self, message: &[u8], backend: Backend) -> Option<Vec<u8>> {
        backend.sign(self.algorithm, &self.private, message)
    }
}

/// By the [default](Backend::default) backend.
impl Sign for SigningKey {
    fn algorithm(&self) -> &str {
        self.algorithm.name()
    }

    /// Its name, always: whoever has its public half calls it the same.
    fn key_id(&self) -> Option<&str> {
        Some(self.id())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        self.sign_with(message, Backend::default()).ok_or_else(|| NotSigned::Backend.into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id()).finish_non_exhaustive()
    }
}
