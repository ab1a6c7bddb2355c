//! The token in a request (RFC 6750, section 2.1): in the field `Authorization` and nowhere else.

use http::{HeaderMap, header};

use crate::base::TokenFault;

/// What stands there, which need not [be one](is_token). Nothing, if there are no credentials of this kind.
///
/// A token in the query ends up in logs, and is not taken from there (RFC 9700, section 4.3.2). Beside one in the field it makes the
/// request one that nobody can read.
pub(super) fn token<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<Option<&'a [u8]>, TokenFault> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(TokenFault::Repeated);
    }
    let (scheme, rest) = match field.as_bytes().iter().position(|byte| *byte == b' ') {
        Some(space) => field.as_bytes().split_at(space),
        None => (field.as_bytes(), &b""[..]),
    };
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let token = rest.trim_ascii();
    if token.is_empty() {
        return Err(TokenFault::Malformed);
    }
    if query.is_some_and(is_in) {
        return Err(TokenFault::Repeated);
    }
    Ok(Some(token))
}

/// Whether it consists of what tokens consist of. All of it is looked at, without a branch for each byte.
pub(super) fn is_token(token: &[u8]) -> bool {
    token.iter().fold(true, |is_token, byte| is_token & is_of_token(*byte))
}

/// `b64token` (RFC 6750, section 2.1), which is more than what a token in JSON consists of.
const fn is_of_token(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // The digits, with `-`, `.` and `/` in front of them.
    let is_digit = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_digit | (byte == b'_') | (byte == b'~') | (byte == b'+') | (byte == b'=')
}

/// RFC 6750, section 2.3.
fn is_in(query: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some("access_token"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(fields: &[&str], query: Option<&str>) -> Result<Option<String>, TokenFault> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        let found = token(&headers, query)?;
        if found.is_some_and(|token| !is_token(token)) {
            return Err(TokenFault::Malformed);
        }
        Ok(found.map(|token| String::from_utf8(token.to_vec()).unwrap()))
    }

    #[test]
    fn a_token_stands_behind_its_scheme_however_that_is_written() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "Bearer a.b.c "] {
            assert_eq!(read(&[field], None).unwrap().as_deref(), Some("a.b.c"), "{field}");
        }
        assert_eq!(
            read(&["Bearer a"], Some("q=access_token&xaccess_token=1")).unwrap().as_deref(),
            Some("a")
        );
    }

    #[test]
    fn a_token_consists_of_the_characters_that_rfc_6750_names() {
        let named = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=";
        assert!((0..=255).all(|byte| is_of_token(byte) == named.contains(&byte)));
    }

    #[test]
    fn other_credentials_are_none_and_what_is_in_the_query_does_not_count() {
        for field in ["Basic dXNlcjpwYXNz", "", "Bearera", "Token a", "DPoP a.b.c", "Bearer,a"] {
            assert_eq!(read(&[field], None), Ok(None), "{field}");
        }
        assert_eq!(read(&[], None), Ok(None));
        assert_eq!(read(&[], Some("access_token=a.b.c")), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_or_stands_there_twice_is_refused() {
        for field in [
            "Bearer",
            "Bearer ",
            "Bearer  ",
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer \"a\"",
            "Bearer a\u{e4}",
            "Bearer a,b",
        ] {
            assert_eq!(read(&[field], None), Err(TokenFault::Malformed), "{field}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"], None), Err(TokenFault::Repeated));
        assert_eq!(read(&["Basic a", "Bearer a"], None), Err(TokenFault::Repeated));
        for query in ["access_token=x", "a=1&access_token=x", "access_token"] {
            assert_eq!(read(&["Bearer a"], Some(query)), Err(TokenFault::Repeated), "{query}");
        }
    }
}
