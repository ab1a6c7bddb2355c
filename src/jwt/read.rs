//! The claims of a token (RFC 7519, section 4.1): read once, and nothing of them guessed.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::{Checked, Names, Text};

/// What is known of every token, whatever else it says.
#[derive(Debug, Default)]
pub(super) struct Registered<'a> {
    pub(super) issuer: Option<Cow<'a, str>>,
    pub(super) subject: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
    /// `scope` (RFC 8693, section 4.2), or `scp`, which some issuers have in its place: words between spaces.
    pub(super) scope: Option<Cow<'a, str>>,
    pub(super) roles: Box<[Box<str>]>,
    pub(super) times: Times,
    /// It is bound to a key of its sender's (RFC 7800).
    pub(super) bound: bool,
    /// Whom it is for, if it says so: one of those that are expected, or not.
    pub(super) audience: Option<bool>,
    /// Which of the claims that it must have it has: a bit for each.
    pub(super) required: u64,
}

/// Since 1970 began. What lies before that is then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) expires: Option<Duration>,
    pub(super) not_before: Option<Duration>,
    pub(super) issued: Option<Duration>,
}

/// What is looked for while they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'w> {
    pub(super) audiences: &'w [Box<str>],
    pub(super) required: &'w [Box<str>],
}

/// Nothing, if they are no object, one stands there twice, or one has a type that it must not have.
pub(super) fn read<'a>(json: &'a str, wanted: Wanted<'_>) -> Option<Registered<'a>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let claims = wanted.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(claims)
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Registered<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Registered<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Registered<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Registered<'de>, A::Error> {
        let mut claims = Registered::default();
        let mut scp = None;
        let mut names = Names::new();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            let is_there = match &*name.0 {
                "aud" => {
                    claims.audience = Some(map.next_value_seed(Audience(self.audiences))?);
                    true
                }
                "cnf" => {
                    claims.bound = map.next_value::<Checked>()? != Checked::Null;
                    claims.bound
                }
                "exp" => date(&mut claims.times.expires, &mut map)?,
                "iat" => date(&mut claims.times.issued, &mut map)?,
                "iss" => text(&mut claims.issuer, &mut map)?,
                "jti" => text(&mut claims.id, &mut map)?,
                "nbf" => date(&mut claims.times.not_before, &mut map)?,
                "roles" => match map.next_value()? {
                    Roles(Some(roles)) => {
                        claims.roles = roles;
                        true
                    }
                    Roles(None) => false,
                },
                "scope" => text(&mut claims.scope, &mut map)?,
                "scp" => {
                    let Words(words) = map.next_value()?;
                    scp = words;
                    true
                }
                "sub" => text(&mut claims.subject, &mut map)?,
                _ => map.next_value::<Checked>()? != Checked::Null,
            };
            if is_there {
                let place = self.required.iter().position(|required| **required == *name.0);
                claims.required |= place.map_or(0, |place| 1 << place);
            }
            names.add(name)?;
        }
        claims.scope = claims.scope.or(scp);
        Ok(claims)
    }
}

fn text<'de, A: MapAccess<'de>>(place: &mut Option<Cow<'de, str>>, map: &mut A) -> Result<bool, A::Error> {
    *place = Some(map.next_value::<Text<'de>>()?.0);
    Ok(true)
}

fn date<'de, A: MapAccess<'de>>(place: &mut Option<Duration>, map: &mut A) -> Result<bool, A::Error> {
    let Date(date) = map.next_value()?;
    *place = Some(date);
    Ok(true)
}

/// A number of seconds, with or without a fraction.
struct Date(Duration);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Date;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Date, E> {
                Ok(Date(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Date, E> {
                Ok(Date(Duration::from_secs(seconds.try_into().unwrap_or(0))))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Date, E> {
                let before = if seconds < 0.0 { Duration::ZERO } else { Duration::MAX };
                Ok(Date(Duration::try_from_secs_f64(seconds).unwrap_or(before)))
            }
        }

        deserializer.deserialize_f64(Read)
    }
}

/// Whether one of these is among those it is for.
struct Audience<'w>(&'w [Box<str>]);

impl Audience<'_> {
    fn has(&self, audience: &str) -> bool {
        self.0.iter().any(|expected| **expected == *audience)
    }
}

impl<'de> DeserializeSeed<'de> for Audience<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Audience<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or several")
    }

    fn visit_str<E: Error>(self, one: &str) -> Result<bool, E> {
        Ok(self.has(one))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(one) = seq.next_element::<Text<'de>>()? {
            found |= self.has(&one.0);
        }
        Ok(found)
    }
}

/// A text, or several, which become one with spaces between them.
struct Words<'de>(Option<Cow<'de, str>>);

impl<'de> Deserialize<'de> for Words<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Words<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or several")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Words<'de>, E> {
                Ok(Words(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Words<'de>, E> {
                Ok(Words(Some(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words<'de>, A::Error> {
                let mut all = String::new();
                while let Some(Text(one)) = seq.next_element()? {
                    // A word with a space in it would be two that nobody has given.
                    if !one.contains(' ') {
                        all.extend([" ", &*one]);
                    }
                }
                Ok(Words(Some(Cow::Owned(all))))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// Several texts. Issuers have other things under this name as well (RFC 9068, section 2.2.3.1), which are left to the claims of the
/// service's own type.
struct Roles(Option<Box<[Box<str>]>>);

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Any {
            Several(Vec<Box<str>>),
            One(Box<str>),
            Other(Checked),
        }

        Ok(Self(match Any::deserialize(deserializer)? {
            Any::Several(roles) => Some(roles.into()),
            Any::One(role) => Some([role].into()),
            Any::Other(Checked::Value) => Some([].into()),
            Any::Other(Checked::Null) => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Option<Registered<'_>> {
        let (audiences, required) = ([Box::from("me"), Box::from("us")], [Box::from("sub"), Box::from("x")]);
        read(json, Wanted { audiences: &audiences, required: &required })
    }

    #[test]
    fn claims_are_what_the_token_says() {
        let json = r#"{"iss":"i","sub":"s","aud":"me","exp":10,"nbf":5.5,"iat":-3,"jti":"\u006a","scope":"a b","roles":["r"],"x":0}"#;
        let claims = claims(json).unwrap();
        assert_eq!((claims.issuer.as_deref(), claims.subject.as_deref()), (Some("i"), Some("s")));
        assert_eq!((claims.id.as_deref(), claims.scope.as_deref()), (Some("j"), Some("a b")));
        assert_eq!(&*claims.roles, [Box::from("r")]);
        assert_eq!((claims.audience, claims.required), (Some(true), 0b11));
        assert_eq!(claims.times.expires, Some(Duration::from_secs(10)));
        assert_eq!(claims.times.not_before, Some(Duration::from_millis(5_500)));
        assert_eq!(claims.times.issued, Some(Duration::ZERO));
    }

    #[test]
    fn an_audience_is_one_text_or_several() {
        for (aud, expected) in [
            (r#""me""#, true),
            (r#""us""#, true),
            (r#""Me""#, false),
            (r#"["x","us"]"#, true),
            (r#"["x"]"#, false),
            ("[]", false),
            (r#""\u006de""#, true),
        ] {
            assert_eq!(claims(&format!(r#"{{"aud":{aud}}}"#)).unwrap().audience, Some(expected), "{aud}");
        }
        assert_eq!(claims("{}").unwrap().audience, None);
    }

    #[test]
    fn scopes_and_roles_come_in_several_forms() {
        for (json, scope) in [
            (r#"{"scp":"a b"}"#, Some("a b")),
            (r#"{"scp":["a","b"]}"#, Some(" a b")),
            (r#"{"scp":["a","b c"]}"#, Some(" a")),
            (r#"{"scp":["x"],"scope":"a"}"#, Some("a")),
            (r#"{"scope":"a","scp":["x"]}"#, Some("a")),
            ("{}", None),
        ] {
            assert_eq!(claims(json).unwrap().scope.as_deref(), scope, "{json}");
        }
        for (roles, expected) in
            [(r#"["a","b"]"#, &["a", "b"][..]), (r#""a""#, &["a"]), ("{}", &[]), ("null", &[]), ("[1]", &[])]
        {
            let json = format!(r#"{{"roles":{roles}}}"#);
            let found = claims(&json).unwrap().roles;
            assert!(found.iter().map(|role| &**role).eq(expected.iter().copied()), "{roles}");
        }
    }

    #[test]
    fn a_claim_that_is_null_is_not_there() {
        assert_eq!(claims(r#"{"x":null,"sub":"s"}"#).unwrap().required, 0b01);
        assert_eq!(claims(r#"{"x":false}"#).unwrap().required, 0b10);
    }

    #[test]
    fn what_is_no_set_of_claims_is_refused() {
        for json in [
            "",
            "1",
            "[]",
            "{} {}",
            "{}x",
            r#"{"exp":1,"exp":1}"#,
            r#"{"x":1,"\u0078":1}"#,
            r#"{"x":{"y":1,"y":1}}"#,
            r#"{"roles":{"y":1,"y":1}}"#,
            r#"{"exp":"1"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":[1]}"#,
            r#"{"nbf":"1"}"#,
            r#"{"iat":true}"#,
            r#"{"iss":1}"#,
            r#"{"iss":["i"]}"#,
            r#"{"sub":null}"#,
            r#"{"jti":1}"#,
            r#"{"aud":1}"#,
            r#"{"aud":null}"#,
            r#"{"aud":["me",1]}"#,
            r#"{"aud":{"me":1}}"#,
            r#"{"scope":["a"]}"#,
            r#"{"scp":1}"#,
            r#"{"exp":1e999}"#,
            r#"{"exp":01}"#,
            r#"{"exp":NaN}"#,
        ] {
            assert!(claims(json).is_none(), "{json}");
        }
    }

    #[test]
    fn a_date_out_of_range_is_the_nearest_that_there_is() {
        for (exp, expected) in [
            ("1e300", Duration::MAX),
            ("-1e300", Duration::ZERO),
            ("-0.5", Duration::ZERO),
            ("18446744073709551615", Duration::from_secs(u64::MAX)),
            ("0.25", Duration::from_millis(250)),
        ] {
            assert_eq!(
                claims(&format!(r#"{{"exp":{exp}}}"#)).unwrap().times.expires,
                Some(expected),
                "{exp}"
            );
        }
    }
}
