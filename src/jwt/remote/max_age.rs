//! For how long an answer says that it is fresh (RFC 9111, section 4.2).

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};

/// By `max-age` less `Age`; none at all, if it must not be used again without asking. Nothing, if it does not say.
///
/// What it says is only ever used within limits, so an odd value does no harm: of several the shortest counts.
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let age = headers.get(AGE).and_then(|age| seconds(age.to_str().ok()?)).unwrap_or_default();
    fields.flat_map(|field| field.split(',')).filter_map(directive).min().map(|most| most.saturating_sub(age))
}

fn directive(text: &str) -> Option<Duration> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match name.trim() {
        name if name.eq_ignore_ascii_case("max-age") => seconds(value.trim().trim_matches('"')),
        name if ["no-cache", "no-store"].iter().any(|no| name.eq_ignore_ascii_case(no)) => {
            Some(Duration::ZERO)
        }
        _ => None,
    }
}

/// Digits; more than fit are as many as fit.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(fields: &[&'static str], age: Option<&'static str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(field));
        }
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from_static(age));
        }
        max_age(&headers).map(|age| age.as_secs())
    }

    #[test]
    fn max_age_is_read_in_all_the_ways_it_is_written() {
        for field in
            ["max-age=300", "public, Max-Age=300, must-revalidate", "max-age=\"300\"", " max-age = 300 "]
        {
            assert_eq!(of(&[field], None), Some(300), "{field}");
        }
        assert_eq!(of(&["max-age=300"], Some("100")), Some(200));
        assert_eq!(of(&["max-age=300"], Some("400")), Some(0));
        assert_eq!(of(&["max-age=300"], Some("soon")), Some(300));
        assert_eq!(of(&["public", "max-age=9", "max-age=5"], None), Some(5));
        assert_eq!(of(&["max-age=99999999999999999999"], None), Some(u64::MAX));
        for field in ["no-store", "no-cache, max-age=300", "private, NO-CACHE=\"set-cookie\""] {
            assert_eq!(of(&[field], None), Some(0), "{field}");
        }
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        assert_eq!(of(&[], None), None);
        for field in
            ["", "public", "s-maxage=5", "max-age", "max-age=", "max-age=-1", "max-age=1.5", "x-max-age=5"]
        {
            assert_eq!(of(&[field], Some("5")), None, "{field}");
        }
    }
}
