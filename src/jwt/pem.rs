//! Keys in PEM (RFC 7468).

use super::base64url;
use super::der;
use super::material::Material;
use crate::base::KeyFault;

/// The one public key in it.
pub(super) fn public_key(pem: &str) -> Result<Material, KeyFault> {
    let (label, body) = only_part(pem)?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => der::public_key(&decode(body).ok_or(KeyFault::Malformed)?),
        _ if label.ends_with("PRIVATE KEY") => Err(KeyFault::Private),
        _ => Err(KeyFault::Type),
    }
}

/// The one private key in it, in DER.
pub(super) fn private_key(pem: &str) -> Result<Vec<u8>, KeyFault> {
    match only_part(pem)? {
        ("PRIVATE KEY", body) => decode(body).ok_or(KeyFault::Malformed),
        _ => Err(KeyFault::Type),
    }
}

/// Its label and what stands in it.
fn only_part(pem: &str) -> Result<(&str, &str), KeyFault> {
    let (_, rest) = pem.split_once("-----BEGIN ").ok_or(KeyFault::Malformed)?;
    let (label, rest) = rest.split_once("-----").ok_or(KeyFault::Malformed)?;
    let (body, rest) = rest.split_once("-----END ").ok_or(KeyFault::Malformed)?;
    let ends = rest.strip_prefix(label).and_then(|rest| rest.strip_prefix("-----"));
    // Of two keys, which is meant?
    if !ends.is_some_and(|rest| rest.trim_ascii().is_empty()) {
        return Err(KeyFault::Malformed);
    }
    Ok((label, body))
}

/// The base64 of RFC 4648, section 4, with its padding, in lines.
fn decode(body: &str) -> Option<Vec<u8>> {
    let mut text: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    for _ in 0..2 {
        if text.last() == Some(&b'=') {
            text.pop();
        }
    }
    for byte in &mut text {
        *byte = match *byte {
            b'+' => b'-',
            b'/' => b'_',
            b'-' | b'_' => return None,
            other => other,
        };
    }
    base64url::decode(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_in_lines_with_its_padding() {
        assert_eq!(decode("\nZm9v\r\nYg==\n").as_deref(), Some(&b"foob"[..]));
        assert_eq!(decode("+/+/").as_deref(), Some(&[0xfb, 0xff, 0xbf][..]));
        for text in ["Zg", "Zg=", "Zg===", "-_-_", "Z===", "====", "Zh==", "Zm9v!AAA"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_public_key_says_what_it_is() {
        for (pem, fault) in [
            ("", KeyFault::Malformed),
            ("-----BEGIN PUBLIC KEY-----", KeyFault::Malformed),
            ("-----BEGIN PUBLIC KEY-----\nZg==\n-----END RSA KEY-----", KeyFault::Malformed),
            ("-----BEGIN PUBLIC KEY-----\nZg==\n-----END PUBLIC KEY-----", KeyFault::Malformed),
            ("-----BEGIN PUBLIC KEY-----\nZ\n-----END PUBLIC KEY-----", KeyFault::Malformed),
            ("-----BEGIN PRIVATE KEY-----\nZg==\n-----END PRIVATE KEY-----", KeyFault::Private),
            ("-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----", KeyFault::Private),
            ("-----BEGIN CERTIFICATE-----\nZg==\n-----END CERTIFICATE-----", KeyFault::Type),
            ("-----BEGIN A-----\n-----END A-----\n-----BEGIN A-----\n-----END A-----", KeyFault::Malformed),
        ] {
            assert_eq!(public_key(pem).unwrap_err(), fault, "{pem}");
        }
    }
}
