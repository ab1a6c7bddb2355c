//! Who is asking, as a proxy is told. Nothing here waits, locks or reads a clock.

use http::HeaderValue;

use crate::base::basic;

/// The user-info of a URI as the value of `Proxy-Authorization` (RFC 7617), marked as sensitive. Nothing, if a `%` in it is not followed
/// by two hexadecimal digits, as it is in every URI (RFC 3986, section 2.1).
pub(super) fn authorization(user_info: &str) -> Option<HeaderValue> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    Some(basic(&decoded(user)?, &decoded(password)?))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => u8::try_from(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?).ok()?,
            _ => byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_decoded_and_kept_secret() {
        let value = |user_info| authorization(user_info).map(|value| value.to_str().unwrap().to_owned());
        // The example of RFC 7617, section 2.
        assert_eq!(value("Aladdin:open%20sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(value("user").unwrap(), "Basic dXNlcjo=");
        assert_eq!(value("a%3Ab:c:d%40").unwrap(), "Basic YTpiOmM6ZEA=");
        assert!(authorization("a:b").unwrap().is_sensitive());
        for broken in ["%", "a:%4", "%zz", "%+1"] {
            assert_eq!(value(broken), None, "{broken}");
        }
    }
}
