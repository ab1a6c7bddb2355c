//! Forms, as they are sent in the body of a request (`application/x-www-form-urlencoded`). Nothing here waits, locks or reads a clock.

/// Add a field.
pub(crate) fn add(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    encode(form, name);
    form.push('=');
    encode(form, value);
}

/// As a field stands in a form, which is also how an identifier and a secret stand in HTTP Basic (RFC 6749, section 2.3.1 and
/// appendix B).
pub(crate) fn encoded(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    encode(&mut form, text);
    form
}

fn encode(form: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                form.push(char::from(byte))
            }
            b' ' => form.push('+'),
            _ => form.extend([
                '%',
                char::from(DIGITS[usize::from(byte >> 4)]),
                char::from(DIGITS[usize::from(byte & 15)]),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6749, appendix B.
    #[test]
    fn the_example_of_the_standard() {
        assert_eq!(encoded(" %&+\u{a3}\u{20ac}"), "+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn no_field_can_add_another() {
        let mut form = String::new();
        add(&mut form, "scope", "a b&grant_type=password");
        add(&mut form, "x", "1=2\r\n");
        assert_eq!(form, "scope=a+b%26grant_type%3Dpassword&x=1%3D2%0D%0A");
    }
}
