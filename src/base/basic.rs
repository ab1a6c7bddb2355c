//! User names and passwords in a header (RFC 7617). Nothing here waits, locks or reads a clock.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The value of `authorization` or `proxy-authorization`, marked as sensitive.
pub(crate) fn basic(user: &[u8], password: &[u8]) -> HeaderValue {
    let value = format!("Basic {}", STANDARD.encode([user, b":", password].concat()));
    let mut value = HeaderValue::try_from(value).expect("base 64 may stand in a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7617, sections 2 and 2.1.
    #[test]
    fn the_examples_of_the_standard() {
        let value = basic(b"test", "123\u{a3}".as_bytes());
        assert_eq!((value.to_str().unwrap(), value.is_sensitive()), ("Basic dGVzdDoxMjPCow==", true));
        assert_eq!(basic(b"Aladdin", b"open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
