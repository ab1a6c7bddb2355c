//! What JSON has to be beyond its grammar: no member twice, at any depth (RFC 7515, section 4; RFC 7519, section 4).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A text, borrowed where nothing in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Read)
    }
}

/// The names that an object has so far. The first few need no memory of their own.
#[derive(Debug)]
pub(super) struct Names<'de> {
    few: [Option<Text<'de>>; 12],
    len: usize,
    more: Option<HashSet<Text<'de>>>,
    /// A bit for each, of which several may have the same: whoever's is not there is new.
    bits: u64,
}

impl<'de> Names<'de> {
    pub(super) fn new() -> Self {
        Self { few: [const { None }; 12], len: 0, more: None, bits: 0 }
    }

    /// # Errors
    ///
    /// If it has that name already.
    pub(super) fn add<E: Error>(&mut self, name: Text<'de>) -> Result<(), E> {
        let bytes = name.0.as_bytes();
        let end = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
        let bit = 1 << ((bytes.len() + 3 * end(bytes.first()) + 9 * end(bytes.last())) % 64);
        let may_be_known = self.bits & bit != 0;
        self.bits |= bit;
        let (few, free) = self.few.split_at_mut(self.len);
        let known = may_be_known && few.iter().flatten().any(|known| *known == name);
        let new = !known
            && match free.first_mut() {
                Some(place) => {
                    *place = Some(name);
                    self.len += 1;
                    true
                }
                None => self.more.get_or_insert_default().insert(name),
            };
        if new { Ok(()) } else { Err(E::custom("a member stands there twice")) }
    }
}

/// Something that is read for its form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Null,
    Value,
}

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Checked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E: Error>(self) -> Result<Checked, E> {
                Ok(Checked::Null)
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Checked, E> {
                Ok(Checked::Value)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Checked, E> {
                Ok(Checked::Value)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Checked, E> {
                Ok(Checked::Value)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Checked, E> {
                Ok(Checked::Value)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Checked, E> {
                Ok(Checked::Value)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
                while seq.next_element::<Checked>()?.is_some() {}
                Ok(Checked::Value)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
                let mut names = Names::new();
                while let Some(name) = map.next_key()? {
                    names.add(name)?;
                    map.next_value::<Checked>()?;
                }
                Ok(Checked::Value)
            }
        }

        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(text: &str) -> bool {
        serde_json::from_str::<Checked>(text).is_ok()
    }

    #[test]
    fn a_member_that_stands_twice_is_found_at_any_depth_and_however_it_is_written() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"a":{"b":[{"c":1,"c":2}]}}"#,
            r#"[[{"":1,"":2}]]"#,
        ] {
            assert!(!is_fine(text), "{text}");
        }
        assert!(is_fine(r#"{"a":{"a":[{"a":null},{"a":1e3}]},"A":true,"":"a"}"#));
        let many = |last: usize| {
            let members: Vec<_> = (0..100).chain([last]).map(|at| format!(r#""{at}":0"#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(is_fine(&many(100)));
        for last in [0, 11, 12, 13, 99] {
            assert!(!is_fine(&many(last)), "{last}");
        }
    }
}
