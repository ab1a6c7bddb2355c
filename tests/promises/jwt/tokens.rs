//! Tokens as issuers and attackers make them.

use std::fmt::Write;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use stonework::jwt::{Algorithm, Key};

/// All of them.
pub(crate) const ALGORITHMS: [Algorithm; 13] = [
    Algorithm::Hs256,
    Algorithm::Hs384,
    Algorithm::Hs512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
];

/// Somebody who can sign.
pub(crate) struct Signer(Private);

enum Private {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

pub(crate) static SECRET: LazyLock<Signer> = LazyLock::new(|| Signer(Private::Secret((0..64).collect())));
pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(Signer::rsa);
pub(crate) static P256: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"));
pub(crate) static P384: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"));
pub(crate) static P521: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"));
pub(crate) static ED25519: LazyLock<Signer> = LazyLock::new(Signer::ed25519);

/// Who can sign like this.
pub(crate) fn signer(algorithm: Algorithm) -> &'static Signer {
    match algorithm {
        Algorithm::Es256 => &P256,
        Algorithm::Es384 => &P384,
        Algorithm::Es512 => &P521,
        Algorithm::EdDsa => &ED25519,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => &SECRET,
        _ => &RSA,
    }
}

/// A good token: header and claims as they are given, and a signature that is right.
pub(crate) fn token(algorithm: Algorithm, header: &str, claims: &str) -> String {
    signer(algorithm).token(algorithm, header, claims)
}

/// One whose header says no more than it must.
pub(crate) fn plain(algorithm: Algorithm, claims: &str) -> String {
    token(algorithm, &format!(r#"{{"alg":"{algorithm}"}}"#), claims)
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Self(Private::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")))
    }

    pub(crate) fn ed25519() -> Self {
        Self(Private::Ed25519(Ed25519KeyPair::generate().expect("a key")))
    }

    fn ec(how: &'static signature::EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        Self(Private::Ec(EcdsaKeyPair::generate(how).expect("a key"), curve))
    }

    pub(crate) fn token(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        self.signed(algorithm, &format!("{}.{}", encode(header), encode(claims)))
    }

    /// With whatever stands in front.
    pub(crate) fn signed(&self, algorithm: Algorithm, message: &str) -> String {
        format!("{message}.{}", encode(self.sign(algorithm, message.as_bytes())))
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Private::Secret(secret) => hmac_of(algorithm, secret, message),
            Private::Rsa(pair) => {
                let how: &'static dyn signature::RsaEncoding = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
                    Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
                    Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
                    _ => &signature::RSA_PSS_SHA512,
                };
                let mut made = vec![0; pair.public_modulus_len()];
                pair.sign(how, &SystemRandom::new(), message, &mut made).expect("a signature");
                made
            }
            Private::Ec(pair, _) => {
                pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
            }
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// What verifies its tokens.
    pub(crate) fn key(&self, algorithm: Algorithm) -> Key {
        match &self.0 {
            Private::Secret(secret) => Key::secret(algorithm, secret).expect("long enough"),
            _ => Key::der(algorithm, &self.der()).expect("a public key"),
        }
    }

    /// Its public key, as OpenSSL writes it.
    pub(crate) fn der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match &self.0 {
            Private::Secret(_) => panic!("a secret is not public"),
            Private::Rsa(pair) => pair.public_key().as_der(),
            Private::Ec(pair, _) => pair.public_key().as_der(),
            Private::Ed25519(pair) => pair.public_key().as_der(),
        }
        .expect("a public key");
        der.as_ref().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        let text = encode(self.der()).replace('-', "+").replace('_', "/");
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        format!("-----BEGIN PUBLIC KEY-----\n{text}{padding}\n-----END PUBLIC KEY-----\n")
    }

    /// Its public key in JSON, with these members as well: `,"kid":"a"`.
    pub(crate) fn jwk(&self, more: &str) -> String {
        let members = match &self.0 {
            Private::Secret(secret) => format!(r#""kty":"oct","k":"{}""#, encode(secret)),
            Private::Rsa(pair) => {
                let (modulus, exponent) = (pair.public_key().modulus(), pair.public_key().exponent());
                let modulus = encode(modulus.big_endian_without_leading_zero());
                let exponent = encode(exponent.big_endian_without_leading_zero());
                format!(r#""kty":"RSA","n":"{modulus}","e":"{exponent}""#)
            }
            Private::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                format!(r#""kty":"EC","crv":"{curve}","x":"{}","y":"{}""#, encode(x), encode(y))
            }
            Private::Ed25519(pair) => {
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encode(pair.public_key()))
            }
        };
        format!("{{{members}{more}}}")
    }
}

pub(crate) fn hmac_of(algorithm: Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let how = match algorithm {
        Algorithm::Hs256 => hmac::HMAC_SHA256,
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(how, secret), message).as_ref().to_vec()
}

/// base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.as_ref().chunks(3) {
        let mut padded = [0; 4];
        padded[1..=three.len()].copy_from_slice(three);
        let value = u32::from_be_bytes(padded);
        for place in 0..=three.len() {
            let six = value >> (18 - 6 * place) & 63;
            let _ = write!(text, "{}", char::from(ALPHABET[six as usize]));
        }
    }
    text
}
