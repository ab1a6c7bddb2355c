//! What a key is made of, once it is known to be good for something.

use std::fmt;

use serde::de::IgnoredAny;

use super::Algorithm;
use super::der;
use crate::base::KeyFault;

/// RSA keys of fewer bits are weak (RFC 7518, section 3.3), and of more cost more than a server should spend on what a stranger sends.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A curve of NIST's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Of one coordinate.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
        }
    }
}

/// A key that can verify.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    pub(super) family: Family,
    /// As the backends take it: RSA in PKCS #1, a point as it is with 4 in front, Ed25519 and secrets as they are.
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Rsa { bytes: usize },
    Ec(Curve),
    Ed25519,
    Secret,
}

impl Material {
    /// Of numbers with the highest byte first.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            // Also what a private key of PKCS #1 begins with, a version of 0.
            return Err(if bits == 0 { KeyFault::Private } else { KeyFault::Malformed });
        }
        if bits < *RSA_BITS.start() {
            return Err(KeyFault::RsaTooShort);
        }
        if bits > *RSA_BITS.end() {
            return Err(KeyFault::RsaTooLong);
        }
        match exponent {
            [3..=0xff, ..] | [_, _, ..]
                if exponent.len() <= 4 && exponent.last().is_some_and(|last| last % 2 == 1) => {}
            _ => return Err(KeyFault::RsaExponent),
        }
        Ok(Self { family: Family::Rsa { bytes: modulus.len() }, bytes: der::of_numbers(modulus, exponent) })
    }

    /// Both coordinates with all of their bytes.
    pub(super) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyFault> {
        if x.len() != curve.bytes() || y.len() != curve.bytes() {
            return Err(KeyFault::Malformed);
        }
        Ok(Self { family: Family::Ec(curve), bytes: [&[0x04], x, y].concat() })
    }

    pub(super) fn ed25519(x: &[u8]) -> Result<Self, KeyFault> {
        if x.len() != 32 {
            return Err(KeyFault::Malformed);
        }
        Ok(Self { family: Family::Ed25519, bytes: x.to_vec() })
    }

    /// A secret that is none, since it is a public key, is refused in whatever form that comes.
    pub(super) fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyFault> {
        let least = algorithm.secret_bytes().ok_or(KeyFault::Algorithm)?;
        let text = secret.trim_ascii_start();
        if text.starts_with(b"-----BEGIN")
            || text.starts_with(b"ssh-")
            || is_json_object(text)
            || der::is_public_key(secret)
        {
            return Err(KeyFault::PublicAsSecret);
        }
        if secret.len() < least {
            return Err(KeyFault::SecretTooShort);
        }
        Ok(Self { family: Family::Secret, bytes: secret.to_vec() })
    }

    /// Whether such a key can do that.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match self.family {
            Family::Rsa { .. } => algorithm.is_rsa(),
            Family::Ec(curve) => curve.algorithm() == algorithm,
            Family::Ed25519 => algorithm == Algorithm::EdDsa,
            Family::Secret => algorithm.secret_bytes().is_some_and(|least| self.bytes.len() >= least),
        }
    }

    /// Whether a signature looks like one by such a key: as long as it must be, and of two numbers neither is zero, whose signature
    /// would fit anything if a backend forgot to look.
    pub(super) fn could_have_made(&self, algorithm: Algorithm, signature: &[u8]) -> bool {
        match self.family {
            Family::Rsa { bytes } => signature.len() == bytes,
            Family::Ec(curve) => {
                let (r, s) = signature.split_at(curve.bytes().min(signature.len()));
                s.len() == curve.bytes() && [r, s].iter().all(|number| number.iter().any(|byte| *byte != 0))
            }
            Family::Ed25519 => signature.len() == 64,
            Family::Secret => algorithm.secret_bytes() == Some(signature.len()),
        }
    }
}

/// All of it: of all random bytes, one in 256 begin like one.
fn is_json_object(text: &[u8]) -> bool {
    text.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Shows no bytes.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.family.fmt(f)
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modulus(bits: usize) -> Vec<u8> {
        let mut number = vec![0xff; bits.div_ceil(8)];
        number[0] >>= (8 - bits % 8) % 8;
        number
    }

    #[test]
    fn an_rsa_key_has_from_2048_to_4096_bits_and_a_sound_exponent() {
        for (bits, expected) in [
            (1024, Some(KeyFault::RsaTooShort)),
            (2047, Some(KeyFault::RsaTooShort)),
            (2048, None),
            (4096, None),
            (4097, Some(KeyFault::RsaTooLong)),
        ] {
            assert_eq!(Material::rsa(&modulus(bits), &[1, 0, 1]).err(), expected, "{bits}");
        }
        let good = modulus(2048);
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0], &[1, 0, 0, 0, 1], &[0, 1]] {
            assert_eq!(Material::rsa(&good, exponent).unwrap_err(), KeyFault::RsaExponent, "{exponent:?}");
        }
        for exponent in [&[3][..], &[17], &[1, 1], &[1, 0, 1], &[0, 1, 0, 1], &[0xff; 4]] {
            assert!(Material::rsa(&good, exponent).is_ok(), "{exponent:?}");
        }
        assert_eq!(Material::rsa(&[&[0], &good[..]].concat(), &[3]), Material::rsa(&good, &[3]));
        let mut even = good.clone();
        even[255] = 0xfe;
        assert_eq!(Material::rsa(&even, &[3]).unwrap_err(), KeyFault::Malformed);
        assert_eq!(Material::rsa(&[0], &good).unwrap_err(), KeyFault::Private);
    }

    #[test]
    fn a_secret_is_as_long_as_the_hash_and_is_no_public_key() {
        for (algorithm, least) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
            let secret = vec![7; least];
            let material = Material::secret(algorithm, &secret).unwrap();
            assert!(material.fits(algorithm));
            assert_eq!(material.fits(Algorithm::Hs512), least == 64);
            assert_eq!(Material::secret(algorithm, &secret[1..]).unwrap_err(), KeyFault::SecretTooShort);
        }
        let key = Material::rsa(&modulus(2048), &[3]).unwrap();
        for public in [
            &b" -----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0B"[..],
            &key.bytes,
            b"\n{\"kty\":\"RSA\",\"n\":\"0123456789\"}",
            b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB",
        ] {
            assert_eq!(Material::secret(Algorithm::Hs256, public).unwrap_err(), KeyFault::PublicAsSecret);
        }
        assert_eq!(Material::secret(Algorithm::Rs256, &[7; 64]).unwrap_err(), KeyFault::Algorithm);
    }

    #[test]
    fn random_bytes_are_a_secret_whatever_they_begin_with() {
        for first in 0..=255 {
            for second in [b'{', 0x30, 0x82, 0x3e, b'"', 7] {
                let secret: Vec<u8> = [first, second].into_iter().chain(2..64).collect();
                assert!(Material::secret(Algorithm::Hs512, &secret).is_ok(), "{first:#x} {second:#x}");
            }
        }
    }

    #[test]
    fn a_key_does_what_its_kind_does_and_nothing_else() {
        let keys = [
            (Material::rsa(&modulus(2048), &[3]), "RS256 RS384 RS512 PS256 PS384 PS512"),
            (Material::ec(Curve::P256, &[1; 32], &[1; 32]), "ES256"),
            (Material::ec(Curve::P384, &[1; 48], &[1; 48]), "ES384"),
            (Material::ec(Curve::P521, &[1; 66], &[1; 66]), "ES512"),
            (Material::ed25519(&[1; 32]), "EdDSA"),
            (Material::secret(Algorithm::Hs512, &[1; 64]), "HS256 HS384 HS512"),
        ];
        for (key, can) in keys {
            let key = key.unwrap();
            for algorithm in Algorithm::ALL {
                assert_eq!(
                    key.fits(*algorithm),
                    can.split(' ').any(|name| name == algorithm.name()),
                    "{key:?}"
                );
            }
        }
        assert!(Material::ec(Curve::P256, &[1; 31], &[1; 32]).is_err());
        assert!(Material::ec(Curve::P256, &[1; 32], &[1; 33]).is_err());
        assert!(Material::ed25519(&[1; 57]).is_err());
    }

    #[test]
    fn a_signature_of_zeros_or_of_another_length_is_none() {
        let ec = Material::ec(Curve::P256, &[1; 32], &[1; 32]).unwrap();
        let (zero, one) = ([0; 32], [1; 32]);
        let made = |parts: &[&[u8]]| ec.could_have_made(Algorithm::Es256, &parts.concat());
        assert!(made(&[&one, &one]));
        for parts in [
            &[&zero[..], &zero[..]][..],
            &[&zero, &one],
            &[&one, &zero],
            &[&one],
            &[&one, &one, &[1]],
            &[&one, &one[1..]],
            &[],
        ] {
            assert!(!made(parts), "{parts:?}");
        }
        let rsa = Material::rsa(&modulus(2048), &[3]).unwrap();
        for (length, could) in [(255, false), (256, true), (257, false)] {
            assert_eq!(rsa.could_have_made(Algorithm::Rs256, &vec![1; length]), could);
        }
        let secret = Material::secret(Algorithm::Hs512, &[1; 64]).unwrap();
        for (length, could) in [(0, false), (31, false), (32, true), (64, false)] {
            assert_eq!(secret.could_have_made(Algorithm::Hs256, &vec![1; length]), could);
        }
        let ed = Material::ed25519(&[1; 32]).unwrap();
        assert!(
            ed.could_have_made(Algorithm::EdDsa, &[1; 64]) && !ed.could_have_made(Algorithm::EdDsa, &[1; 63])
        );
    }
}
