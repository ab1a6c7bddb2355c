//! Durations in settings files, as people write them: `"250ms"`, `"1m 30s"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A duration that is read from and written as a text with its unit.
///
/// A bare number is refused: nobody can tell whether `30` means seconds or milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Human(pub(crate) Duration);

impl<'de> Deserialize<'de> for Human {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Human;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"250ms\" or \"1m 30s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Human, E> {
                humantime::parse_duration(text).map(Human).map_err(|why| {
                    E::custom(format_args!("{text:?} is no duration such as \"250ms\" or \"1m 30s\": {why}"))
                })
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Human {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// For a field of type `Duration`: `#[serde(with = "crate::base::human::plain")]`.
pub(crate) mod plain {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Human::deserialize(deserializer).map(|human| human.0)
    }

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        Human(*duration).serialize(serializer)
    }
}

#[cfg(all(test, feature = "client"))]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Settings {
        #[serde(with = "plain")]
        plain: Duration,
    }

    fn read(text: &str) -> Result<Settings, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn durations_are_read_with_their_unit_and_written_back() {
        for (text, duration) in [("250ms", Duration::from_millis(250)), ("1m 30s", Duration::from_secs(90))] {
            let json = format!(r#"{{"plain":"{text}"}}"#);
            let settings = read(&json).unwrap();
            assert_eq!(settings.plain, duration);
            assert_eq!(serde_json::to_string(&settings).unwrap(), json);
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_an_example() {
        for text in [r#"{"plain": 250}"#, r#"{"plain": "250"}"#, r#"{"plain": "soon"}"#] {
            assert!(read(text).unwrap_err().to_string().contains("250ms"), "{text}");
        }
    }
}
