//! The header of a token (RFC 7515, section 4): what of it is believed, and what makes it be refused.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::json::{Checked, Names, Text};
use crate::base::TokenFault;

/// What a token says of itself before anybody knows whether that is true.
#[derive(Debug, Default)]
pub(super) struct Header<'a> {
    pub(super) algorithm: Cow<'a, str>,
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) kind: Option<Cow<'a, str>>,
}

impl Header<'_> {
    fn to_owned(&self) -> Header<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let Self { algorithm, key, kind } = self;
        Header { algorithm: owned(algorithm), key: key.as_ref().map(owned), kind: kind.as_ref().map(owned) }
    }
}

/// The headers of the first few genuine tokens. An issuer writes mostly the same for all of one key, letter by letter, and then they need not
/// be read again. Nobody else's get in.
#[derive(Default)]
pub(super) struct Headers([OnceLock<(Box<[u8]>, Header<'static>)>; 4]);

impl Headers {
    /// Of a token whose header looks like this.
    pub(super) fn get(&self, encoded: &[u8]) -> Option<&Header<'static>> {
        let mut all = self.0.iter().map_while(OnceLock::get);
        all.find(|(known, _)| **known == *encoded).map(|(_, header)| header)
    }

    /// As long as there is room: where each header is another, remembering more of them would not help.
    pub(super) fn add(&self, encoded: &[u8], header: &Header<'_>) {
        if let Some(free) = self.0.iter().find(|place| place.get().is_none()) {
            free.get_or_init(|| (encoded.into(), header.to_owned()));
        }
    }
}

/// How many there are.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Headers").field(&self.0.iter().filter_map(OnceLock::get).count()).finish()
    }
}

/// Keys that a token brings along or points to are not even looked at: `jwk`, `jku`, `x5c`, `x5u`.
pub(super) fn read(json: &str) -> Result<Header<'_>, TokenFault> {
    let Members { algorithm, content, critical, key, kind } =
        serde_json::from_str(json).map_err(|_| TokenFault::Header)?;
    if critical {
        return Err(TokenFault::Critical);
    }
    if content.is_some_and(|content| is_type(&content, "jwt")) {
        return Err(TokenFault::Nested);
    }
    let algorithm = algorithm.ok_or(TokenFault::Header)?;
    Ok(Header { algorithm, key, kind })
}

/// Whether a `typ` or a `cty` is this one: capitals are as good as small letters, and `application/` in front may be left out
/// (RFC 7515, section 4.1.9).
pub(super) fn is_type(said: &str, expected: &str) -> bool {
    bare(said).eq_ignore_ascii_case(bare(expected))
}

fn bare(kind: &str) -> &str {
    const IN_FRONT: &str = "application/";
    match kind.split_at_checked(IN_FRONT.len()) {
        Some((front, rest)) if front.eq_ignore_ascii_case(IN_FRONT) && !rest.contains('/') => rest,
        _ => kind,
    }
}

#[derive(Default)]
struct Members<'a> {
    algorithm: Option<Cow<'a, str>>,
    content: Option<Cow<'a, str>>,
    /// Something that has to be understood, and is not: any extension (`crit`), a payload that is not encoded (`b64`, RFC 7797), or
    /// one that is compressed (`zip`), which a signed token cannot have.
    critical: bool,
    key: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                let mut names = Names::new();
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    let place = match &*name.0 {
                        "alg" => Some(&mut members.algorithm),
                        "cty" => Some(&mut members.content),
                        "kid" => Some(&mut members.key),
                        "typ" => Some(&mut members.kind),
                        "b64" | "crit" | "zip" => {
                            members.critical = true;
                            None
                        }
                        _ => None,
                    };
                    match place {
                        Some(place) => *place = Some(map.next_value::<Text<'de>>()?.0),
                        None => drop(map.next_value::<Checked>()?),
                    }
                    names.add(name)?;
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_four_headers_are_remembered_and_no_other() {
        let headers = Headers::default();
        let header = |key: &'static str| Header { key: Some(key.into()), ..Header::default() };
        for key in ["a", "b", "c", "d", "e"] {
            assert!(headers.get(key.as_bytes()).is_none());
            headers.add(key.as_bytes(), &header(key));
        }
        let known = ["a", "b", "c", "d", "e"].map(|key| headers.get(key.as_bytes())?.key.as_deref());
        assert_eq!(known, [Some("a"), Some("b"), Some("c"), Some("d"), None]);
        assert_eq!(format!("{headers:?}"), "Headers(4)");
    }

    #[test]
    fn a_header_says_algorithm_key_and_type() {
        let header =
            read(r#" {"typ":"at+jwt","\u0061lg":"RS256","kid":"a\"b","x":[{"y":null}],"jwk":{}} "#).unwrap();
        assert_eq!(header.algorithm, "RS256");
        assert_eq!(header.key.as_deref(), Some("a\"b"));
        assert_eq!(header.kind.as_deref(), Some("at+jwt"));
    }

    #[test]
    fn a_header_that_is_not_one_is_refused() {
        for json in [
            "",
            "null",
            "[]",
            "\"alg\"",
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":1}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256"} x"#,
            r#"{"alg":"RS256"}{}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","\u0061lg":"none"}"#,
            r#"{"alg":"RS256","x":{"y":1,"y":2}}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","typ":{}}"#,
            r#"{"alg":"RS256","cty":1}"#,
            r#"{"alg":"RS256",}"#,
            r#"{'alg':'RS256'}"#,
        ] {
            assert_eq!(read(json).unwrap_err(), TokenFault::Header, "{json}");
        }
    }

    #[test]
    fn what_would_have_to_be_understood_is_refused() {
        for member in [
            r#""crit":["exp"]"#,
            r#""crit":[]"#,
            r#""crit":null"#,
            r#""b64":false"#,
            r#""b64":true"#,
            r#""zip":"DEF""#,
        ] {
            assert_eq!(read(&format!(r#"{{"alg":"RS256",{member}}}"#)).unwrap_err(), TokenFault::Critical);
        }
        for content in ["JWT", "jwt", "application/jwt", "APPLICATION/JWT"] {
            let json = format!(r#"{{"alg":"RS256","cty":"{content}"}}"#);
            assert_eq!(read(&json).unwrap_err(), TokenFault::Nested);
        }
        assert!(read(r#"{"alg":"RS256","cty":"json"}"#).is_ok());
    }

    #[test]
    fn a_type_is_the_same_with_and_without_what_stands_in_front() {
        for (said, expected) in
            [("JWT", "jwt"), ("application/at+JWT", "at+jwt"), ("at+jwt", "Application/at+jwt")]
        {
            assert!(is_type(said, expected), "{said} {expected}");
        }
        for (said, expected) in [
            ("jwt", "at+jwt"),
            ("text/jwt", "jwt"),
            ("application/a/jwt", "a/jwt"),
            ("", "jwt"),
            ("é", "jwt"),
        ] {
            assert!(!is_type(said, expected), "{said} {expected}");
        }
    }
}
