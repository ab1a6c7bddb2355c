//! Members as they stand in a file: an address, or a table with one.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::balance::Member;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a member: a table with its `address`")]
struct Fields {
    address: String,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    tier: u8,
}

const fn one() -> u32 {
    1
}

/// Read by hand, so that an error says what is wrong with the table.
struct InAFile(Member);

impl<'de> Deserialize<'de> for InAFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherWay)
    }
}

struct EitherWay;

impl<'de> Visitor<'de> for EitherWay {
    type Value = InAFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address, as \"10.0.0.7:8080\", or a table with `address`, `weight` and `tier`")
    }

    fn visit_str<E>(self, address: &str) -> Result<InAFile, E> {
        Ok(InAFile(Member::new(address)))
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<InAFile, A::Error> {
        let Fields { address, weight, tier } = Fields::deserialize(MapAccessDeserializer::new(table))?;
        if weight == 0 {
            return Err(serde::de::Error::custom("`weight` is zero"));
        }
        Ok(InAFile(Member::new(address).weight(weight).tier(tier)))
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Member>, D::Error> {
    let members = Vec::<InAFile>::deserialize(deserializer)?;
    Ok(members.into_iter().map(|member| member.0).collect())
}

pub(super) fn serialize<S: Serializer>(members: &[Member], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(members.iter().map(|member| {
        let (id, weight, tier) = member.parts();
        Fields { address: id.to_string(), weight, tier }
    }))
}
