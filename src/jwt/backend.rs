//! Who does the arithmetic. It is always named: neither a default of the process nor one that depends on what else was built.

use std::fmt;

use jsonwebtoken::crypto::CryptoProvider;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::Algorithm;
use super::material::{Family, Material};
use crate::base::Rng;

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
    /// Whether a tag is good, message before tag. Nothing, if `jose` has to say so.
    mac: fn(&Prepared, Algorithm, &[u8], &[u8]) -> Option<bool>,
    /// What `jsonwebtoken` has no algorithm for: point, message, signature.
    es512: fn(&[u8], &[u8], &[u8]) -> bool,
    sha256: fn(&[u8]) -> Hash,
    /// With this secret, as far as there is use for one.
    fingerprints: fn(u128) -> Fingerprints,
    /// A new private key in PKCS #8, for Ed25519 or P-256.
    generate: fn(Algorithm) -> Option<Vec<u8>>,
}

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// The bytes of a fingerprint.
pub(super) const FINGERPRINT: usize = 16;

/// What tells a token from all others, as long as nobody sees it.
pub(super) type Fingerprint = [u8; FINGERPRINT];

/// Takes fingerprints, with a secret of its own.
pub(super) type Fingerprints = Box<dyn Fn(&[u8]) -> Fingerprint + Send + Sync>;

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
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, Backend, SigningKey};
    ///
    /// let key = SigningKey::generate_with(Algorithm::EdDsa, Backend::rust_crypto())?;
    /// # let _ = key;
    /// # Ok::<(), stonework::base::KeyFault>(())
    /// ```
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
        signature: &[u8],
    ) -> bool {
        if let Some(verdict) = (self.0.mac)(key, algorithm, message, signature) {
            return verdict;
        }
        let key = &key.theirs;
        let Some(name) = theirs(algorithm) else {
            return key.try_get_as_bytes().is_ok_and(|point| (self.0.es512)(point, message, signature));
        };
        let verifier = (self.0.jose.verifier_factory)(&name, key);
        verifier.is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }

    pub(super) fn sha256(self, bytes: &[u8]) -> Hash {
        (self.0.sha256)(bytes)
    }

    /// Of tokens that were signed. What is no longer than a fingerprint could be read out of it by whoever reads this process.
    pub(super) fn fingerprints(self) -> Fingerprints {
        (self.0.fingerprints)(Rng::from_entropy().unique_id())
    }

    pub(super) fn generate(self, algorithm: Algorithm) -> Option<Vec<u8>> {
        (self.0.generate)(algorithm)
    }

    pub(super) fn sign(self, algorithm: Algorithm, key: &EncodingKey, message: &[u8]) -> Option<Vec<u8>> {
        (self.0.jose.signer_factory)(&theirs(algorithm)?, key).ok()?.try_sign(message).ok()
    }

    /// Of a private key in PKCS #8.
    pub(super) fn ed25519_public(self, der: &[u8]) -> Option<Vec<u8>> {
        (self.0.jose.key_utils.ed_pub_components_from_private_key)(der, &EllipticCurve::Ed25519).ok()
    }

    /// Both coordinates, of a private key in PKCS #8.
    pub(super) fn p256_public(self, der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let of = self.0.jose.key_utils.ec_pub_components_from_private_key;
        of(der, jsonwebtoken::Algorithm::ES256).ok().map(|(_, x, y)| (x, y))
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
pub(super) struct Prepared {
    theirs: DecodingKey,
    #[cfg(feature = "jwt")]
    secrets: aws_lc::Secrets,
}

impl Prepared {
    /// `only` is the one algorithm that it is for, if there is only one.
    #[cfg_attr(
        not(feature = "jwt"),
        expect(unused_variables, reason = "the other backend prepares nothing by algorithm")
    )]
    pub(super) fn new(material: &Material, only: Option<Algorithm>) -> Self {
        let theirs = match material.family {
            Family::Rsa { .. } => DecodingKey::from_rsa_der(&material.bytes),
            Family::Ec(_) => DecodingKey::from_ec_der(&material.bytes),
            Family::Ed25519 => DecodingKey::from_ed_der(&material.bytes),
            Family::Secret => DecodingKey::from_secret(&material.bytes),
        };
        Self {
            theirs,
            #[cfg(feature = "jwt")]
            secrets: aws_lc::Secrets::new(material, only),
        }
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

/// What is left of a hash is one, too.
fn half(hash: &Hash) -> Fingerprint {
    let (half, _) = hash.split_first_chunk().expect("16 of 32 bytes");
    *half
}

#[cfg(feature = "jwt")]
mod aws_lc {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use aws_lc_rs::digest::{self, SHA256};
    use aws_lc_rs::hmac;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, EcdsaKeyPair, Ed25519KeyPair,
        UnparsedPublicKey,
    };

    use super::{Algorithm, Functions, Hash, Material, half};

    /// A secret, hashed once for each algorithm that it is for: every tag begins with two blocks of it. Of other keys there are none.
    #[derive(Clone, Debug)]
    pub(super) struct Secrets(Box<[(Algorithm, hmac::Key)]>);

    impl Secrets {
        pub(super) fn new(material: &Material, only: Option<Algorithm>) -> Self {
            let all = [
                (Algorithm::Hs256, hmac::HMAC_SHA256),
                (Algorithm::Hs384, hmac::HMAC_SHA384),
                (Algorithm::Hs512, hmac::HMAC_SHA512),
            ];
            let fits = |algorithm| only.is_none_or(|only| only == algorithm) && material.fits(algorithm);
            let fitting = all.into_iter().filter(|(algorithm, _)| fits(*algorithm));
            Self(
                fitting.map(|(algorithm, hash)| (algorithm, hmac::Key::new(hash, &material.bytes))).collect(),
            )
        }

        fn of(&self, algorithm: Algorithm) -> Option<&hmac::Key> {
            self.0.iter().find(|(is_for, _)| *is_for == algorithm).map(|(_, secret)| secret)
        }
    }

    pub(super) static FUNCTIONS: Functions = Functions {
        name: "AWS-LC",
        mac: |key, algorithm, message, tag| {
            let secret = key.secrets.of(algorithm)?;
            Some(hmac::verify(secret, message, tag).is_ok())
        },
        generate: |algorithm| {
            let pkcs8 = match algorithm {
                Algorithm::EdDsa => Ed25519KeyPair::generate().ok()?.to_pkcs8v1().ok()?,
                Algorithm::Es256 => {
                    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?.to_pkcs8v1().ok()?
                }
                _ => return None,
            };
            Some(pkcs8.as_ref().to_vec())
        },
        jose: &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
        es512: |point, message, signature| {
            UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(message, signature).is_ok()
        },
        sha256,
        fingerprints: |secret| {
            let key = UnboundKey::new(&AES_128_GCM, &secret.to_ne_bytes()).ok().map(LessSafeKey::new);
            Box::new(move |bytes| {
                let tag = key.as_ref().and_then(|key| {
                    // Nothing is encrypted and nobody is shown a tag: so it is a hash with a secret, whatever the nonce.
                    let nonce = Nonce::from(&[0; 12]);
                    key.seal_in_place_separate_tag(nonce, Aad::from(bytes), &mut []).ok()
                });
                let tag = tag.and_then(|tag| tag.as_ref().try_into().ok());
                tag.unwrap_or_else(|| half(&sha256(bytes)))
            })
        },
    };

    fn sha256(bytes: &[u8]) -> Hash {
        let mut hash = [0; 32];
        // It is as long as that.
        for (to, from) in hash.iter_mut().zip(digest::digest(&SHA256, bytes).as_ref()) {
            *to = *from;
        }
        hash
    }
}

#[cfg(feature = "jwt-rust-crypto")]
mod rust_crypto {
    use p521::ecdsa::signature::Verifier as _;
    use p521::ecdsa::{Signature, VerifyingKey};
    use p521::elliptic_curve::rand_core::{OsRng, RngCore as _};
    use sha2::{Digest, Sha256};

    use super::{Algorithm, Functions, half};

    /// What stands in front of the 32 bytes of such a key in PKCS #8 (RFC 8410, section 7; RFC 5915).
    const ED25519: &[u8] =
        &[0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    const P256: &[u8] = &[
        0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
        0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
        0x20,
    ];

    pub(super) static FUNCTIONS: Functions = Functions {
        name: "RustCrypto",
        mac: |_, _, _, _| None,
        generate: |algorithm| {
            let front = match algorithm {
                Algorithm::EdDsa => ED25519,
                Algorithm::Es256 => P256,
                _ => return None,
            };
            // Of P-256 one in 2^32 is no key, which whoever reads it finds out.
            let mut private = [0; 32];
            OsRng.try_fill_bytes(&mut private).ok()?;
            Some([front, &private].concat())
        },
        jose: &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER,
        es512: |point, message, signature| {
            let key = VerifyingKey::from_sec1_bytes(point);
            let signature = Signature::from_slice(signature);
            key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(message, &signature).is_ok()))
        },
        sha256: |bytes| Sha256::digest(bytes).into(),
        fingerprints: |_| Box::new(|bytes| half(&Sha256::digest(bytes).into())),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends() -> Vec<Backend> {
        vec![
            #[cfg(feature = "jwt")]
            Backend::aws_lc(),
            #[cfg(feature = "jwt-rust-crypto")]
            Backend::rust_crypto(),
        ]
    }

    #[test]
    fn no_two_tokens_have_one_fingerprint_and_each_keeps_its_own() {
        let token = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl".repeat(7);
        for backend in backends() {
            let of = backend.fingerprints();
            let mut seen = std::collections::HashSet::new();
            for at in 0..token.len() * 8 {
                let mut other = token.clone();
                other[at / 8] ^= 1 << (at % 8);
                assert!(seen.insert(of(&other)), "{backend:?}: {at}");
            }
            // What a block is filled up with is no part of it.
            for length in 0..=token.len() {
                assert!(seen.insert(of(&token[..length])), "{backend:?}: {length}");
            }
            assert!(seen.insert(of(&[token.clone(), vec![0]].concat())));
            assert_eq!(of(&token), of(&token.clone()));
        }
    }

    #[cfg(feature = "jwt")]
    #[test]
    fn each_memory_takes_fingerprints_with_a_secret_of_its_own() {
        let (one, other) = (Backend::aws_lc().fingerprints(), Backend::aws_lc().fingerprints());
        assert_ne!(one(b"a token"), other(b"a token"));
    }
}
