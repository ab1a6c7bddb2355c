//! Decides for how long a connection may lie idle. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use http::header::{CONNECTION, HeaderMap};
use http::{HeaderName, HeaderValue, Version};

/// A server that says when it will close an idle connection means its own clock, from when it had sent its answer. So a request may leave
/// until this long before that; where the server allows less than twice as much, half of what it allows.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// How long a connection may lie idle after this answer over HTTP/1: not at all if either side closes it, else as long as the client keeps
/// them, and less than the server says that it does (`Keep-Alive: timeout=5`; RFC 2068, section 19.7.1, and what servers have made of it).
pub(super) fn idle_after(version: Version, headers: &HeaderMap, own: Duration) -> Option<Duration> {
    let says = |wanted: &str| says(headers, wanted);
    // RFC 9112, section 9.3.
    let persists =
        if version >= Version::HTTP_11 { !says("close") } else { says("keep-alive") && !says("close") };
    if !persists {
        return None;
    }
    match timeout(headers) {
        Some(theirs) => Some(own.min(theirs.saturating_sub(MARGIN.min(theirs / 2)))),
        None => Some(own),
    }
}

fn says(headers: &HeaderMap, wanted: &str) -> bool {
    let text = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| text.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)))
    };
    headers.get_all(CONNECTION).iter().any(text)
}

fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(KEEP_ALIVE).iter().filter_map(|value| value.to_str().ok());
    let words = values.flat_map(|text| text.split([',', ';']));
    let seconds = words.filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("timeout");
        if named { value.trim().trim_matches('"').parse::<u32>().ok() } else { None }
    });
    // Of several, the strictest.
    seconds.min().map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Duration = Duration::from_secs(60);

    fn after(version: Version, fields: &[(&'static str, &str)]) -> Option<Duration> {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        idle_after(version, &fields.collect(), OWN)
    }

    #[test]
    fn a_connection_is_let_go_before_its_server_closes_it() {
        for (said, millis) in [
            ("timeout=5", 4_000),
            ("timeout=5, max=100", 4_000),
            ("max=100, Timeout = \"5\"", 4_000),
            ("timeout=2", 1_000),
            ("timeout=1", 500),
            ("timeout=0", 0),
            ("timeout=90", 60_000),
            ("timeout=9, timeout=7", 6_000),
            ("timeout=", 60_000),
            ("timeout=-1", 60_000),
            ("timeout=99999999999999999999", 60_000),
            ("max=5", 60_000),
        ] {
            let idle = after(Version::HTTP_11, &[("keep-alive", said)]);
            assert_eq!(idle, Some(Duration::from_millis(millis)), "{said}");
        }
    }

    #[test]
    fn what_is_closed_is_not_kept() {
        assert_eq!(after(Version::HTTP_11, &[]), Some(OWN));
        assert_eq!(after(Version::HTTP_11, &[("connection", "Close")]), None);
        assert_eq!(after(Version::HTTP_11, &[("connection", "foo, close")]), None);
        assert_eq!(after(Version::HTTP_10, &[]), None);
        assert_eq!(after(Version::HTTP_10, &[("connection", "Keep-Alive")]), Some(OWN));
        assert_eq!(after(Version::HTTP_10, &[("connection", "keep-alive, close")]), None);
    }
}
