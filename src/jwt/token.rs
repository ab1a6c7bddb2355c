//! The three parts of a token in compact form (RFC 7515, section 7.1).

use crate::base::TokenFault;

/// As they stand there, in base64url.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) signature: &'a [u8],
    /// What is signed: the first two, with their dot.
    pub(super) signed: &'a [u8],
}

/// Two dots and no more: not four, which is an encrypted one. What stands between them is looked at where it is read.
pub(super) fn split(token: &[u8], longest: usize) -> Result<Parts<'_>, TokenFault> {
    if token.len() > longest {
        return Err(TokenFault::TooLong);
    }
    let [header, payload, signature] = parts(token).ok_or(TokenFault::Encoding)?;
    // An empty signature is that of the algorithm `none`.
    if header.is_empty() || payload.is_empty() || signature.is_empty() {
        return Err(TokenFault::Encoding);
    }
    let signed = &token[..header.len() + 1 + payload.len()];
    Ok(Parts { header, payload, signature, signed })
}

fn parts(token: &[u8]) -> Option<[&[u8]; 3]> {
    let (header, rest) = at_dot(token)?;
    let (payload, signature) = at_dot(rest)?;
    at_dot(signature).is_none().then_some([header, payload, signature])
}

/// What stands before the first dot, and what behind it.
fn at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr::memchr(b'.', text)?;
    Some((&text[..dot], &text[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_three_parts_between_two_dots() {
        let parts = split(b"aa.bbb.c", 8).unwrap();
        assert_eq!((parts.header, parts.payload, parts.signature), (&b"aa"[..], &b"bbb"[..], &b"c"[..]));
        assert_eq!(parts.signed, b"aa.bbb");
        assert_eq!(split(b"aa.bbb.c", 7).unwrap_err(), TokenFault::TooLong);
        for text in ["", ".", "..", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.", "a.b.c.d.e", "abc"] {
            assert_eq!(split(text.as_bytes(), 100).unwrap_err(), TokenFault::Encoding, "{text:?}");
        }
    }
}
