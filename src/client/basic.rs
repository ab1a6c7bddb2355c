//! User names and passwords in a header (RFC 7617). Nothing here waits, locks or reads a clock.

use http::HeaderValue;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of `authorization`; nothing, if it could not be read back: a user name ends at the first colon.
pub(super) fn credentials(user: &str, password: &str) -> Option<HeaderValue> {
    if user.contains(':') || [user, password].iter().any(|text| text.contains(char::is_control)) {
        return None;
    }
    let mut value = String::from("Basic ");
    encode(format!("{user}:{password}").as_bytes(), &mut value);
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Base 64 (RFC 4648, section 4).
fn encode(bytes: &[u8], text: &mut String) {
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            // As many digits as the bytes need, and the rest filled up.
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize])
            } else {
                '='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn every_example_of_the_standard_is_encoded_as_it_says() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut text = String::new();
            encode(plain.as_bytes(), &mut text);
            assert_eq!(text, encoded);
        }
        let mut text = String::new();
        encode(&[0xfb, 0xff, 0xbf], &mut text);
        assert_eq!(text, "+/+/");
    }

    /// RFC 7617, sections 2 and 2.1.
    #[test]
    fn credentials_are_written_as_the_standard_says_and_marked_as_secret() {
        let value = credentials("test", "123\u{a3}").unwrap();
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), ("Basic dGVzdDoxMjPCow==", true));
        assert_eq!(credentials("Aladdin", "open sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(credentials("", "a:b").is_some());
        for (user, password) in [("a:b", "c"), ("a\n", "b"), ("a", "b\0"), ("a\u{7f}", "b")] {
            assert!(credentials(user, password).is_none());
        }
    }
}
