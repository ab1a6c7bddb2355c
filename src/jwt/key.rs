use super::backend::Prepared;
use super::jwk;
use super::material::Material;
use super::{Algorithm, pem};
use crate::base::KeyFault;

/// A key that can verify signatures, and what it may be used for.
///
/// The key says which algorithm a token must have, never the token: an RSA key cannot be used as a secret, and there is no key for `none`.
/// It must not be private, and what is public is no secret.
///
/// ```
/// use stonework::base::KeyFault;
/// use stonework::jwt::{Algorithm, Key};
///
/// let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// assert_eq!(Key::jwk(jwk)?.id(), Some("2026"));
///
/// // What everybody knows is no secret.
/// assert_eq!(Key::secret(Algorithm::Hs256, jwk.as_bytes()).unwrap_err(), KeyFault::PublicAsSecret);
/// # Ok::<(), KeyFault>(())
/// ```
///
/// That a point is on its curve is only found out by the backend, with the first token: nothing that it verifies is then genuine.
/// `Debug` shows nothing of what it is made of.
#[derive(Clone, Debug)]
pub struct Key {
    id: Option<Box<str>>,
    algorithm: Option<Algorithm>,
    pub(super) material: Material,
    pub(super) prepared: Prepared,
}

impl Key {
    /// A public key in PEM (RFC 7468), `PUBLIC KEY` or `RSA PUBLIC KEY`, for one algorithm.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, Key};
    ///
    /// let key = Key::pem(
    ///     Algorithm::EdDsa,
    ///     "-----BEGIN PUBLIC KEY-----\n\
    ///      MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    ///      -----END PUBLIC KEY-----\n",
    /// )?;
    /// assert_eq!(key.id(), None);
    /// # Ok::<(), stonework::base::KeyFault>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFault`], if it is something else, weak, or cannot do this algorithm.
    pub fn pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyFault> {
        Self::of(algorithm, pem::public_key(pem)?)
    }

    /// A public key in DER: a `SubjectPublicKeyInfo`, or of RSA its bare numbers (PKCS #1), for one algorithm.
    ///
    /// ```
    /// use stonework::base::KeyFault;
    /// use stonework::jwt::{Algorithm, Key};
    ///
    /// assert_eq!(Key::der(Algorithm::Es256, b"no key").unwrap_err(), KeyFault::Malformed);
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyFault`], if it is something else, weak, or cannot do this algorithm.
    pub fn der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyFault> {
        Self::of(algorithm, super::der::public_key(der)?)
    }

    /// A key in JSON (RFC 7517). If it names no algorithm it is good for all that its kind can do, as far as they are allowed.
    ///
    /// # Errors
    ///
    /// [`KeyFault`], if it is not for verifying, private, weak, or unknown.
    pub fn jwk(json: &str) -> Result<Self, KeyFault> {
        jwk::alone(json).map(Self::from)
    }

    /// A secret, at least as long as the hash (RFC 7518, section 3.2): 32, 48 or 64 bytes. Whoever has it can also make tokens.
    ///
    /// # Errors
    ///
    /// [`KeyFault`], if it is shorter, if it is a public key, or if the algorithm is none with a secret.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyFault> {
        Self::of(algorithm, Material::secret(algorithm, secret)?)
    }

    fn of(algorithm: Algorithm, material: Material) -> Result<Self, KeyFault> {
        if !material.fits(algorithm) {
            return Err(KeyFault::Algorithm);
        }
        Ok(Self::from(jwk::Read { material, id: None, algorithm: Some(algorithm) }))
    }

    /// Give it a name: that which tokens have as `kid`. A key without one verifies tokens whatever they say there, as long as no other
    /// key has that name.
    #[must_use]
    pub fn named(mut self, id: impl Into<Box<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The only algorithm it is for, if there is only one.
    #[must_use]
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Whether it may be used for this.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }
}

/// By name, algorithm and what it is made of.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.algorithm == other.algorithm && self.material == other.material
    }
}

impl Eq for Key {}

impl From<jwk::Read> for Key {
    fn from(jwk::Read { material, id, algorithm }: jwk::Read) -> Self {
        let prepared = Prepared::new(&material, algorithm);
        Self { id: id.map(Into::into), algorithm, material, prepared }
    }
}
