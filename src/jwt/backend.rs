//! Who does the arithmetic. It is always named: neither a default of the process nor one that depends on what else was built.

use std::fmt;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::CryptoProvider;

use super::Algorithm;
use super::material::{Family, Material};

/// Which library checks signatures. Default: AWS-LC where the feature `jwt` is on, and RustCrypto otherwise.
///
/// ```
/// use stonework::jwt::Backend;
///
/// # #[cfg(feature = "jwt")]
/// assert_eq!(Backend::default(), Backend::aws_lc());
/// ```
#[derive(Clone, Copy)]
pub struct Backend(&'static Functions);

struct Functions {
    name: &'static str,
    jose: &'static CryptoProvider,
    /// What `jsonwebtoken` has no algorithm for: point, message, signature.
    es512: fn(&[u8], &[u8], &[u8]) -> bool,
    sha256: fn(&[u8]) -> [u8; 32],
}

impl Backend {
    /// AWS-LC, which is C code.
    #[cfg(feature = "jwt")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt")))]
    #[must_use]
    pub const fn aws_lc() -> Self {
        Self(&aws_lc::FUNCTIONS)
    }

    /// The crates of RustCrypto. `rsa` is among them, which has an advisory (RUSTSEC-2023-0071) about the use of private keys, and
    /// here there are none.
    #[cfg(feature = "jwt-rust-crypto")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwt-rust-crypto")))]
    #[must_use]
    pub const fn rust_crypto() -> Self {
        Self(&rust_crypto::FUNCTIONS)
    }

    pub(super) fn verifies(
        self,
        key: &Prepared,
        algorithm: Algorithm,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> bool {
        let Some(name) = theirs(algorithm) else {
            return key.0.try_get_as_bytes().is_ok_and(|point| (self.0.es512)(point, message, signature));
        };
        let verifier = (self.0.jose.verifier_factory)(&name, &key.0);
        verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }

    pub(super) fn sha256(self, bytes: &[u8]) -> [u8; 32] {
        (self.0.sha256)(bytes)
    }
}

/// What the features say; the same whatever else was built.
impl Default for Backend {
    fn default() -> Self {
        #[cfg(feature = "jwt")]
        return Self::aws_lc();
        #[cfg(not(feature = "jwt"))]
        Self::rust_crypto()
    }
}

impl PartialEq for Backend {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Backend {}

/// Its name.
impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// A key as the backends take it.
#[derive(Clone, Debug)]
pub(super) struct Prepared(DecodingKey);

impl Prepared {
    pub(super) fn new(material: &Material) -> Self {
        Self(match material.family {
            Family::Rsa { .. } => DecodingKey::from_rsa_der(&material.bytes),
            Family::Ec(_) => DecodingKey::from_ec_der(&material.bytes),
            Family::Ed25519 => DecodingKey::from_ed_der(&material.bytes),
            Family::Secret => DecodingKey::from_secret(&material.bytes),
        })
    }
}

const fn theirs(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    use jsonwebtoken::Algorithm as Theirs;
    Some(match algorithm {
        Algorithm::Hs256 => Theirs::HS256,
        Algorithm::Hs384 => Theirs::HS384,
        Algorithm::Hs512 => Theirs::HS512,
        Algorithm::Rs256 => Theirs::RS256,
        Algorithm::Rs384 => Theirs::RS384,
        Algorithm::Rs512 => Theirs::RS512,
        Algorithm::Ps256 => Theirs::PS256,
        Algorithm::Ps384 => Theirs::PS384,
        Algorithm::Ps512 => Theirs::PS512,
        Algorithm::Es256 => Theirs::ES256,
        Algorithm::Es384 => Theirs::ES384,
        Algorithm::Es512 => return None,
        Algorithm::EdDsa => Theirs::EdDSA,
    })
}

#[cfg(feature = "jwt")]
mod aws_lc {
    use aws_lc_rs::digest::{self, SHA256};
    use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};

    use super::Functions;

    pub(super) static FUNCTIONS: Functions = Functions {
        name: "AWS-LC",
        jose: &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
        es512: |point, message, signature| {
            UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(message, signature).is_ok()
        },
        sha256: |bytes| {
            let mut hash = [0; 32];
            // It is as long as that.
            for (to, from) in hash.iter_mut().zip(digest::digest(&SHA256, bytes).as_ref()) {
                *to = *from;
            }
            hash
        },
    };
}

#[cfg(feature = "jwt-rust-crypto")]
mod rust_crypto {
    use p521::ecdsa::signature::Verifier as _;
    use p521::ecdsa::{Signature, VerifyingKey};
    use sha2::{Digest, Sha256};

    use super::Functions;

    pub(super) static FUNCTIONS: Functions = Functions {
        name: "RustCrypto",
        jose: &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER,
        es512: |point, message, signature| {
            let key = VerifyingKey::from_sec1_bytes(point);
            let signature = Signature::from_slice(signature);
            key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
        },
        sha256: |bytes| Sha256::digest(bytes).into(),
    };
}
