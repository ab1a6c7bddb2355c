//! User names and passwords in a header (RFC 7617). Nothing here waits, locks or reads a clock.

use http::HeaderValue;

use crate::base::basic;

/// The value of `authorization`; nothing, if it could not be read back: a user name ends at the first colon.
pub(super) fn credentials(user: &str, password: &str) -> Option<HeaderValue> {
    if user.contains(':') || [user, password].iter().any(|text| text.contains(char::is_control)) {
        return None;
    }
    Some(basic(user.as_bytes(), password.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
