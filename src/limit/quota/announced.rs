//! Reads what a server says of its limits: the fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), which are
//! lists of strings with parameters (RFC 9651). A field that is anything else says nothing, as the draft wants it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use sfv::visitor::{EntryVisitor, InnerListVisitor, ItemVisitor, ListVisitor, Never, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many limits are read of one answer; who has more has said enough.
pub(super) const MOST: usize = 8;
/// How long a name or a partition may be, in bytes, and a field.
const LONGEST: usize = 128;
const LONGEST_FIELD: usize = 4096;

/// Which limit it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) name: Arc<str>,
    /// The part of a limit that is kept apart, as for a tenant; empty if nothing is said of it.
    pub(super) partition: Box<[u8]>,
}

/// What is said of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) id: Id,
    pub(super) left: u64,
    /// When there is more. Nothing, if that is not said.
    pub(super) more_in: Option<Duration>,
    /// How much there is in which time, if both are said.
    pub(super) policy: Option<(u64, Duration)>,
}

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) limits: Vec<Limit>,
    /// The limits that it names a policy of, whether it says how they stand or not.
    pub(super) policies: Vec<Id>,
}

/// Whether there is anything to read.
pub(super) fn is_said(headers: &HeaderMap) -> bool {
    headers.contains_key(LIMIT)
}

/// What these headers say, as far as it is about numbers of requests.
pub(super) fn read(headers: &HeaderMap) -> Said {
    let policies = list(headers, &POLICY);
    let limits = list(headers, &LIMIT).into_iter().filter_map(|item| {
        let policy = policies.iter().find(|policy| policy.id == item.id);
        // What is counted in bytes, or at once, is not counted here.
        if policy.is_some_and(|policy| policy.other_unit) {
            return None;
        }
        let policy =
            policy.and_then(|policy| Some((policy.q.filter(|q| *q > 0)?, policy.w.filter(|w| *w > 0)?)));
        Some(Limit {
            left: item.r?,
            more_in: item.t.map(Duration::from_secs),
            policy: policy.map(|(q, w)| (q, Duration::from_secs(w))),
            id: item.id,
        })
    });
    let limits = limits.collect();
    Said { limits, policies: policies.into_iter().map(|policy| policy.id).collect() }
}

/// Several lines are one list (RFC 9651, section 4.2).
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<Item> {
    let mut lines = headers.get_all(name).iter().map(|line| line.as_bytes());
    let Some(first) = lines.next() else { return Vec::new() };
    let mut all = std::borrow::Cow::Borrowed(first);
    for line in lines {
        let all = all.to_mut();
        all.extend_from_slice(b", ");
        all.extend_from_slice(line);
    }
    if all.len() > LONGEST_FIELD {
        return Vec::new();
    }
    Parser::new(&*all).parse_list_with_visitor(Items(Vec::new())).unwrap_or_default()
}

/// One member of either list.
struct Item {
    id: Id,
    r: Option<u64>,
    t: Option<u64>,
    q: Option<u64>,
    w: Option<u64>,
    other_unit: bool,
}

struct Items(Vec<Item>);

/// It is not what the draft defines.
#[derive(Debug, thiserror::Error)]
#[error("no list of strings with numbers")]
struct Malformed;

impl<'de> ListVisitor<'de> for Items {
    type Out = Vec<Item>;
    type Error = Malformed;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, Malformed> {
        Ok(Member(&mut self.0))
    }

    fn finish(self) -> Result<Vec<Item>, Malformed> {
        Ok(self.0)
    }
}

struct Member<'a>(&'a mut Vec<Item>);

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = Malformed;

    fn item(self) -> Result<impl ItemVisitor<'de>, Malformed> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Malformed> {
        Err::<Never, _>(Malformed)
    }
}

impl<'de> ItemVisitor<'de> for Member<'_> {
    type Out = ();
    type Error = Malformed;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Malformed> {
        let BareItemFromInput::String(name) = item else { return Err(Malformed) };
        let id = Id { name: name.as_str().into(), partition: Box::default() };
        let item = Item { id, r: None, t: None, q: None, w: None, other_unit: false };
        Ok(Parameters { item, all: self.0 })
    }
}

struct Parameters<'a> {
    item: Item,
    all: &'a mut Vec<Item>,
}

impl<'de> ParameterVisitor<'de> for Parameters<'_> {
    type Out = ();
    type Error = Malformed;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Malformed> {
        let number = match key.as_str() {
            "r" => &mut self.item.r,
            "t" => &mut self.item.t,
            "q" => &mut self.item.q,
            "w" => &mut self.item.w,
            "qu" => {
                let BareItemFromInput::String(unit) = value else { return Err(Malformed) };
                self.item.other_unit = unit.as_str() != "requests";
                return Ok(());
            }
            "pk" => {
                let BareItemFromInput::ByteSequence(partition) = value else { return Err(Malformed) };
                self.item.id.partition = partition.into();
                return Ok(());
            }
            _ => return Ok(()),
        };
        let BareItemFromInput::Integer(value) = value else { return Err(Malformed) };
        *number = Some(u64::try_from(i64::from(value)).map_err(|_| Malformed)?);
        Ok(())
    }

    fn finish(self) -> Result<(), Malformed> {
        let Id { name, partition } = &self.item.id;
        if self.all.len() < MOST && name.len() <= LONGEST && partition.len() <= LONGEST {
            self.all.push(self.item);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn said(limit: &[&str], policy: &[&str]) -> Vec<Limit> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(LIMIT, limit), (POLICY, policy)] {
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
        }
        read(&headers).limits
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(name: &str, left: u64, more_in: Option<u32>, policy: Option<(u64, u32)>) -> Limit {
        let id = Id { name: name.into(), partition: Box::default() };
        let policy = policy.map(|(q, w)| (q, SECOND * w));
        Limit { id, left, more_in: more_in.map(|t| SECOND * t), policy }
    }

    #[test]
    fn limits_are_read_with_the_policies_of_their_names() {
        let policies = r#""burst";q=100;w=60, "day";q=1000;w=86400"#;
        for (fields, policy, expected) in [
            (
                vec![r#""burst";r=50;t=30"#],
                vec![policies],
                vec![limit("burst", 50, Some(30), Some((100, 60)))],
            ),
            (
                vec![r#""burst";r=0;t=3, "day";r=900"#],
                vec![policies],
                vec![
                    limit("burst", 0, Some(3), Some((100, 60))),
                    limit("day", 900, None, Some((1000, 86400))),
                ],
            ),
            // Several lines, in any order, with what nobody has defined.
            (
                vec![r#""a";t=1;new;r=2"#, r#""b";r=3;t=4;other=?0"#],
                vec![r#""b";w=1;q=9;qu="requests""#, r#""c";q=1"#],
                vec![limit("a", 2, Some(1), None), limit("b", 3, Some(4), Some((9, 1)))],
            ),
            // Not all that belongs to a policy.
            (vec![r#""a";r=1;t=1"#], vec![r#""a";q=5"#], vec![limit("a", 1, Some(1), None)]),
            (vec![r#""a";r=1;t=1"#], vec![r#""a";q=0;w=5"#], vec![limit("a", 1, Some(1), None)]),
            (vec![r#""a";r=1;t=1"#], vec![r#""a";q=5;w=0"#], vec![limit("a", 1, Some(1), None)]),
            // Of two values the last one counts (RFC 9651, section 4.2.3.2).
            (vec![r#""a";r=1;r=7;t=1"#], vec![], vec![limit("a", 7, Some(1), None)]),
            // Not counted in requests.
            (vec![r#""a";r=1;t=1"#], vec![r#""a";q=5;w=1;qu="content-bytes""#], vec![]),
            // What is left is not said.
            (vec![r#""a";t=1"#], vec![], vec![]),
            (vec![], vec![policies], vec![]),
        ] {
            assert_eq!(said(&fields, &policy), expected, "{fields:?} {policy:?}");
        }
    }

    #[test]
    fn partitions_are_limits_of_their_own() {
        let read = said(&[r#""a";r=1;pk=:YQ==:, "a";r=2"#], &[r#""a";q=5;w=1;pk=:YQ==:"#]);
        assert_eq!((&*read[0].id.partition, read[0].policy.is_some()), (&b"a"[..], true));
        assert_eq!((&*read[1].id.partition, read[1].policy.is_some()), (&b""[..], false));
    }

    #[test]
    fn a_malformed_field_says_nothing_at_all() {
        for field in [
            "burst;r=50;t=30",
            r#""a";r=1, ("b");r=2"#,
            r#""a";r=1.5"#,
            r#""a";r=-1"#,
            r#""a";r="1""#,
            r#""a";r"#,
            r#""a";t=-1;r=1"#,
            r#""a";r=1,"#,
            r#""a";r=1 "b";r=2"#,
            "limit=100, remaining=50, reset=30",
            "100",
            "",
            r#""a";r=1;pk=x"#,
            r#""a";r=1;qu=requests"#,
            r#""a";r=1000000000000000"#,
        ] {
            assert_eq!(said(&[field], &[]), [], "{field}");
            assert_eq!(said(&[r#""b";r=1"#, field], &[]), [], "beside a good line: {field}");
        }
        let bytes = HeaderValue::from_bytes(b"\"\xff\";r=1").unwrap();
        assert_eq!(read(&HeaderMap::from_iter([(LIMIT, bytes)])).limits, []);
        // A policy that cannot be read takes nothing from a limit that can.
        assert_eq!(said(&[r#""a";r=1;t=1"#], &["a;q=1"]), [limit("a", 1, Some(1), None)]);
    }

    #[test]
    fn no_more_is_read_than_anybody_needs() {
        let many: Vec<_> = (0..100).map(|at| format!(r#""{at}";r=1"#)).collect();
        assert_eq!(said(&[&many.join(", ")], &[]).len(), MOST);
        let name = "x".repeat(LONGEST + 1);
        assert_eq!(said(&[&format!(r#""{name}";r=1, "a";r=1"#)], &[]).len(), 1);
        let of_length = |length: usize| format!(r#""a";r=1;x="{}""#, "x".repeat(length - 12));
        assert_eq!(said(&[&of_length(LONGEST_FIELD)], &[]).len(), 1);
        assert_eq!(said(&[&of_length(LONGEST_FIELD + 1)], &[]), []);
    }

    #[test]
    fn there_is_something_to_read_where_the_field_is_even_if_it_says_nothing() {
        let value = HeaderValue::from_static("1");
        assert!(is_said(&HeaderMap::from_iter([(LIMIT, value.clone())])));
        assert!(!is_said(&HeaderMap::from_iter([(POLICY, value)])) && !is_said(&HeaderMap::new()));
    }
}
