//! Trusted proxies as they stand in a file: the word `"none"`, or a table.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use super::proxies::Trust;
use super::{ForwardingHeader, InvalidProxies, TrustedProxies};

const NONE: &str = "none";

#[derive(Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of `hops` or `networks`")]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    hops: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networks: Option<Vec<String>>,
    header: ForwardingHeader,
}

impl TryFrom<Fields> for TrustedProxies {
    type Error = InvalidProxies;

    fn try_from(fields: Fields) -> Result<Self, InvalidProxies> {
        let proxies = match (fields.hops, fields.networks) {
            (Some(count), None) => Self::hops(count)?,
            (None, Some(networks)) => Self::networks(networks)?,
            (None, None) => return Err(InvalidProxies::neither()),
            (Some(_), Some(_)) => return Err(InvalidProxies::both()),
        };
        Ok(proxies.header(fields.header))
    }
}

impl Serialize for TrustedProxies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields { header: self.header, ..Fields::default() };
        match &self.trust {
            Trust::Nobody => return serializer.serialize_str(NONE),
            Trust::Hops(count) => fields.hops = Some(*count),
            Trust::Networks(networks) => {
                fields.networks = Some(networks.iter().map(ToString::to_string).collect());
            }
        }
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NoneOrFields;

        impl<'de> Visitor<'de> for NoneOrFields {
            type Value = TrustedProxies;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", or a table with `hops` or `networks`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TrustedProxies, E> {
                if text == NONE {
                    return Ok(TrustedProxies::none());
                }
                Err(E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TrustedProxies, A::Error> {
                let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
                TrustedProxies::try_from(fields).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_any(NoneOrFields)
    }
}
