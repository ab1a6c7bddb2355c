//! Reads the key of a request. Nothing here waits, locks or reads a clock.

use std::convert::Infallible;

use http::HeaderMap;
use sfv::visitor::{Ignored, parameter_visitor_with};
use sfv::{BareItemFromInput, Parser};

use crate::base::{IDEMPOTENCY_KEY, InvalidKey};

/// What common APIs store.
const LONGEST: usize = 255;

/// The key of a request, if it has one: a string of RFC 8941, or one without quotes, as clients of older APIs send it. With and without
/// quotes it is the same key. Parameters say nothing that anybody has defined, and are left out.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<String>, InvalidKey> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = values.next() else { return Ok(None) };
    // Some proxy may have doubled it. Of two keys nobody knows which one was meant.
    if values.any(|other| other != first) {
        return Err(InvalidKey::Repeated);
    }
    let value = first.as_bytes().trim_ascii();
    let key = if value.first() == Some(&b'"') { quoted(value)? } else { bare(value)? };
    match key.len() {
        0 => Err(InvalidKey::Empty),
        1..=LONGEST => Ok(Some(key)),
        _ => Err(InvalidKey::TooLong),
    }
}

fn quoted(value: &[u8]) -> Result<String, InvalidKey> {
    let text = |item: BareItemFromInput<'_>| {
        let text = match item {
            BareItemFromInput::String(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        Ok::<_, Infallible>(parameter_visitor_with(Ignored, |_| Ok::<_, Infallible>(text)))
    };
    let key = Parser::new(value).parse_item_with_visitor(text).ok().flatten();
    key.ok_or(InvalidKey::Unreadable)
}

fn bare(value: &[u8]) -> Result<String, InvalidKey> {
    if !value.iter().all(u8::is_ascii_graphic) {
        return Err(InvalidKey::NotVisible);
    }
    // A comma is what two lines become when they are made one.
    if value.iter().any(|byte| matches!(byte, b',' | b'"')) {
        return Err(InvalidKey::Unreadable);
    }
    Ok(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<String>, InvalidKey> {
        let line = |value: &&[u8]| (IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(line) {
            headers.append(name, value);
        }
        read(&headers)
    }

    #[test]
    fn a_key_is_a_string_in_quotes_or_without() {
        assert_eq!(key(&[]), Ok(None));
        let longest = "k".repeat(255);
        let quoted = format!("\"{longest}\"");
        for (value, read) in [
            ("8e03978e-40d5", "8e03978e-40d5"),
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            ("\"with space\"", "with space"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("\"a\";p=1", "a"),
            ("  \"a\"  ", "a"),
            ("a;p=1", "a;p=1"),
            ("42", "42"),
            (&longest, &longest),
            (&quoted, &longest),
        ] {
            assert_eq!(key(&[value.as_bytes()]), Ok(Some(read.to_owned())), "{value}");
        }
        assert_eq!(key(&[b"a", b"a"]), Ok(Some("a".to_owned())), "doubled on its way");
    }

    #[test]
    fn what_cannot_be_told_to_be_one_key_is_none() {
        let long = "k".repeat(256);
        for (values, why) in [
            (&[&b""[..]][..], InvalidKey::Empty),
            (&[b"\"\""], InvalidKey::Empty),
            (&[long.as_bytes()], InvalidKey::TooLong),
            (&[b"a", b"b"], InvalidKey::Repeated),
            (&[b"a", b"\"a\""], InvalidKey::Repeated),
            (&[b"a b"], InvalidKey::NotVisible),
            (&[b"\xff"], InvalidKey::NotVisible),
            (&[b"a,b"], InvalidKey::Unreadable),
            (&[b"\"a\", \"b\""], InvalidKey::Unreadable),
            (&[b"\"a"], InvalidKey::Unreadable),
            (&[b"\"a\"b"], InvalidKey::Unreadable),
            (&[b"a\""], InvalidKey::Unreadable),
            (&[b"\"\xff\""], InvalidKey::Unreadable),
        ] {
            assert_eq!(key(values), Err(why), "{values:?}");
        }
    }
}
