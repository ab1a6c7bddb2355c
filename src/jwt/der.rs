//! Public keys in DER (RFC 5280, section 4.1.2.7; RFC 8017, appendix A.1.1; RFC 5480; RFC 8410): just as much of it as they need.

use super::material::{Curve, Material};
use crate::base::KeyFault;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const CURVES: [(&[u8], Curve); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], Curve::P256),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], Curve::P384),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], Curve::P521),
];

/// A public key as OpenSSL writes it: a `SubjectPublicKeyInfo`, or of RSA its bare numbers (PKCS #1).
pub(super) fn public_key(der: &[u8]) -> Result<Material, KeyFault> {
    if let Some((modulus, exponent)) = numbers(der) {
        return Material::rsa(modulus, exponent);
    }
    if is_private(der) {
        return Err(KeyFault::Private);
    }
    let (algorithm, parameters, key) = info(der).ok_or(KeyFault::Malformed)?;
    match algorithm {
        RSA => {
            let (modulus, exponent) = numbers(key).ok_or(KeyFault::Malformed)?;
            Material::rsa(modulus, exponent)
        }
        EC => {
            let named = oid(parameters).ok_or(KeyFault::Curve)?;
            let curve = CURVES.iter().find(|(name, _)| *name == named).ok_or(KeyFault::Curve)?.1;
            // Compressed points are not among what RFC 7518 knows.
            match key.split_first() {
                Some((0x04, point)) if point.len() == 2 * curve.bytes() => {
                    let (x, y) = point.split_at(curve.bytes());
                    Material::ec(curve, x, y)
                }
                _ => Err(KeyFault::Malformed),
            }
        }
        ED25519 => Material::ed25519(key),
        _ => Err(KeyFault::Type),
    }
}

/// Whether these bytes are a public key.
pub(super) fn is_public_key(der: &[u8]) -> bool {
    numbers(der).is_some() || info(der).is_some()
}

/// The algorithm, its parameters and the key.
fn info(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (algorithm, rest) = take(SEQUENCE, whole(SEQUENCE, der)?)?;
    let (&unused, key) = whole(BIT_STRING, rest)?.split_first()?;
    let (name, parameters) = take(OID, algorithm)?;
    (unused == 0 && matches!(parameters.first(), None | Some(&(NULL | OID))))
        .then_some((name, parameters, key))
}

/// Modulus and exponent.
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (modulus, rest) = take(INTEGER, whole(SEQUENCE, der)?)?;
    Some((unsigned(modulus)?, unsigned(whole(INTEGER, rest)?)?))
}

/// A version first: what private keys of all kinds begin with (PKCS #1, PKCS #8, SEC 1).
fn is_private(der: &[u8]) -> bool {
    let version = whole(SEQUENCE, der).and_then(|inner| take(INTEGER, inner));
    version.is_some_and(|(version, rest)| matches!(version, [0 | 1]) && !rest.is_empty())
}

fn oid(der: &[u8]) -> Option<&[u8]> {
    whole(OID, der)
}

/// A number that is not negative, without the byte that says so.
fn unsigned(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
        [0, rest @ ..] if !rest.is_empty() => Some(rest),
        all => Some(all),
    }
}

/// The content of one element, behind which there is nothing.
fn whole(tag: u8, der: &[u8]) -> Option<&[u8]> {
    take(tag, der).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The content of the first element, and what follows it. Lengths are as short as they can be, as DER has them.
fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match (*length, rest) {
        (short @ 0..=0x7f, rest) => (usize::from(short), rest),
        (0x81, [a @ 0x80..=0xff, rest @ ..]) => (usize::from(*a), rest),
        (0x82, [a @ 1..=0xff, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Modulus and exponent as PKCS #1 has them.
pub(super) fn of_numbers(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let mut inner = Vec::with_capacity(modulus.len() + exponent.len() + 12);
    for number in [modulus, exponent] {
        let sign = usize::from(number.first().is_some_and(|first| *first >= 0x80));
        head(INTEGER, number.len() + sign, &mut inner);
        inner.extend(std::iter::repeat_n(0, sign));
        inner.extend_from_slice(number);
    }
    let mut der = Vec::with_capacity(inner.len() + 4);
    head(SEQUENCE, inner.len(), &mut der);
    der.extend_from_slice(&inner);
    der
}

fn head(tag: u8, length: usize, der: &mut Vec<u8>) {
    der.push(tag);
    let [.., high, low] = length.to_be_bytes();
    match length {
        0..=0x7f => der.push(low),
        0x80..=0xff => der.extend([0x81, low]),
        _ => der.extend([0x82, high, low]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_key_are_read_as_they_were_written() {
        for (modulus, exponent) in [
            (&[0xff; 256][..], &[1, 0, 1][..]),
            (&[0x7f; 300], &[3]),
            (&[0x80; 512], &[0x80, 1]),
            (&[0x7f; 127], &[0x7f; 128]),
            (&[0x7f; 255], &[3]),
        ] {
            let der = of_numbers(modulus, exponent);
            assert_eq!(numbers(&der), Some((modulus, exponent)));
            for cut in 0..der.len() {
                assert_eq!(numbers(&der[..cut]), None, "{cut}");
            }
            assert_eq!(numbers(&[&der[..], &[0]].concat()), None, "something behind it");
        }
    }

    #[test]
    fn numbers_and_lengths_are_as_short_as_they_can_be() {
        for number in [&[][..], &[0x80], &[0, 1], &[0, 0], &[0xff, 1]] {
            assert_eq!(unsigned(number), None, "{number:?}");
        }
        assert_eq!((unsigned(&[0]), unsigned(&[0, 0x80])), (Some(&[0][..]), Some(&[0x80][..])));
        for long in [
            &[INTEGER, 0x81, 1, 7][..],
            &[INTEGER, 0x82, 0, 1, 7],
            &[INTEGER, 0x80, 7, 0, 0],
            &[INTEGER, 0x83, 0, 0, 1, 7],
        ] {
            assert_eq!(take(INTEGER, long), None, "{long:?}");
        }
        assert_eq!(take(INTEGER, &[INTEGER, 1, 7, 8]), Some((&[7][..], &[8][..])));
    }

    #[test]
    fn a_private_key_is_told_from_one_that_cannot_be_read() {
        let private = [SEQUENCE, 6, INTEGER, 1, 0, INTEGER, 1, 5];
        assert_eq!(numbers(&private), Some((&[0][..], &[5][..])));
        let pkcs8 = [SEQUENCE, 5, INTEGER, 1, 0, SEQUENCE, 0];
        assert_eq!(public_key(&pkcs8).unwrap_err(), KeyFault::Private);
        assert_eq!(public_key(&[]).unwrap_err(), KeyFault::Malformed);
        for neither in [&[SEQUENCE, 3, INTEGER, 1, 0][..], &[SEQUENCE, 5, INTEGER, 1, 5, SEQUENCE, 0]] {
            assert_eq!(public_key(neither).unwrap_err(), KeyFault::Malformed, "{neither:?}");
        }
        let pkcs1 = [SEQUENCE, 9, INTEGER, 1, 0, INTEGER, 1, 5, INTEGER, 1, 3];
        assert_eq!(public_key(&pkcs1).unwrap_err(), KeyFault::Private);
    }

    #[test]
    fn a_point_is_as_long_as_its_curve_wants_and_of_whole_bytes() {
        let element = |tag, content: &[u8]| [&[tag, content.len() as u8][..], content].concat();
        let key = |unused: u8, point: &[u8]| {
            let algorithm = [element(OID, EC), element(OID, CURVES[0].0)].concat();
            let bits = [&[unused, 0x04][..], point].concat();
            public_key(&element(
                SEQUENCE,
                &[element(SEQUENCE, &algorithm), element(BIT_STRING, &bits)].concat(),
            ))
        };
        assert!(key(0, &[7; 64]).is_ok());
        assert_eq!(key(1, &[7; 64]).unwrap_err(), KeyFault::Malformed);
        for length in [0, 1, 31, 32, 33, 63, 65, 96] {
            assert_eq!(key(0, &vec![7; length]).unwrap_err(), KeyFault::Malformed, "{length}");
        }
    }
}
