//! Who is asking, as a proxy is told. Nothing here waits, locks or reads a clock.

use http::HeaderValue;

/// The user-info of a URI as the value of `Proxy-Authorization` (RFC 7617), marked as sensitive. Nothing, if a `%` in it is not followed
/// by two hexadecimal digits, as it is in every URI (RFC 3986, section 2.1).
pub(super) fn basic(user_info: &str) -> Option<HeaderValue> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let mut plain = decoded(user)?;
    plain.push(b':');
    plain.extend(decoded(password)?);
    let mut value = HeaderValue::try_from(format!("Basic {}", base64(&plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
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

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn user_and_password_are_decoded_and_kept_secret() {
        let value = |user_info| basic(user_info).map(|value| value.to_str().unwrap().to_owned());
        // The example of RFC 7617, section 2.
        assert_eq!(value("Aladdin:open%20sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(value("user").unwrap(), format!("Basic {}", base64(b"user:")));
        assert_eq!(value("a%3Ab:c:d%40").unwrap(), format!("Basic {}", base64(b"a:b:c:d@")));
        assert!(basic("a:b").unwrap().is_sensitive());
        for broken in ["%", "a:%4", "%zz", "%+1"] {
            assert_eq!(value(broken), None, "{broken}");
        }
    }
}
