//! What a server says about its limits: the fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{ListSerializer, StringRef, key_ref};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How things stand with one limit.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[allow(missing_debug_implementations, reason = "it lives for one step")]
pub struct Standing<'a> {
    pub(in crate::limit) name: &'a str,
    /// How much in which time.
    pub(in crate::limit) amount: u32,
    pub(in crate::limit) per: Duration,
    /// How much is left, and when there will be more.
    pub(in crate::limit) left: u32,
    pub(in crate::limit) more_in: Duration,
}

/// The two fields.
pub(in crate::limit) struct Fields {
    policy: Option<HeaderValue>,
    limit: Option<HeaderValue>,
}

impl Fields {
    /// Of all limits that were asked, in their order.
    pub(in crate::limit) fn of<'a>(standings: impl Iterator<Item = Standing<'a>>) -> Box<Self> {
        // As long as one limit with a long name takes.
        let mut texts = [String::with_capacity(96), String::with_capacity(96)];
        let [policy, limit] = &mut texts;
        let (mut policy, mut limit) =
            (ListSerializer::with_buffer(policy), ListSerializer::with_buffer(limit));
        for standing in standings {
            // A name is made of what such a string may hold.
            let Ok(name) = StringRef::from_str(standing.name) else { continue };
            let _ = policy
                .bare_item(name)
                .parameter(key_ref("q"), standing.amount)
                .parameter(key_ref("w"), seconds(standing.per));
            let _ = limit
                .bare_item(name)
                .parameter(key_ref("r"), standing.left)
                .parameter(key_ref("t"), seconds(standing.more_in));
        }
        let (any, _) = (policy.finish(), limit.finish());
        if any.is_none() {
            return Box::new(Self { policy: None, limit: None });
        }
        let [policy, limit] = texts.map(|text| HeaderValue::try_from(text).ok());
        Box::new(Self { policy, limit })
    }

    /// Behind those of limits outside and inside of this one.
    pub(in crate::limit) fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in [(POLICY, &self.policy), (LIMIT, &self.limit)] {
            if let Some(value) = value {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Rounded up, so that whoever goes by it is not too early.
fn seconds(time: Duration) -> u32 {
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_lists_of_strings_with_whole_numbers_rounded_up() {
        let standing = |name, per, more_in| Standing { name, amount: 10, per, left: 3, more_in };
        let ms = Duration::from_millis;
        let all = [standing("burst", ms(1_000), ms(1)), standing("a b", ms(1_500), ms(0))];
        let mut headers = HeaderMap::new();
        Fields::of(all.into_iter()).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""burst";q=10;w=1, "a b";q=10;w=2"#);
        assert_eq!(headers["ratelimit"], r#""burst";r=3;t=1, "a b";r=3;t=0"#);
    }

    #[test]
    fn other_limits_fields_are_left_where_they_are() {
        let mut headers = HeaderMap::new();
        for name in ["inner", "outer"] {
            let standing =
                Standing { name, amount: 1, per: Duration::from_secs(1), left: 0, more_in: Duration::MAX };
            Fields::of([standing].into_iter()).write(&mut headers);
        }
        let all: Vec<_> = headers.get_all("ratelimit").iter().collect();
        assert_eq!(all, [r#""inner";r=0;t=4294967295"#, r#""outer";r=0;t=4294967295"#]);
        Fields::of(std::iter::empty()).write(&mut headers);
        assert_eq!(headers.len(), 4);
    }
}
