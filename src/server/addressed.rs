//! Whether a request says whom it is for, as it has to.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Version};

use crate::base::HostPort;

/// What is wrong with how it says that, if something is (RFC 9112, section 3.2; RFC 9113, section 8.3.1). Of two who read it differently one would
/// be led to another's page, or past what stands in front of it.
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    const NONE: &str = "what the request says of its host is none";
    let (named, version) = (request.uri().authority(), request.version());
    if named.is_some_and(|named| !is_host(named.as_str().as_bytes())) {
        return Some(NONE);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        // HTTP/1.0 knew none, and HTTP/2 has another place for it.
        let is_named = version == Version::HTTP_2 && named.is_some();
        return (version >= Version::HTTP_11 && !is_named).then_some("the request names no host");
    };
    if hosts.next().is_some() {
        return Some("the request names more than one host");
    }
    if !host.is_empty() && !is_host(host.as_bytes()) {
        return Some(NONE);
    }
    if version != Version::HTTP_2 {
        // What stands in the first line goes before.
        return None;
    }
    match named {
        Some(named) => {
            (!is_same(named, host, request.uri().scheme())).then_some("the request names two hosts")
        }
        None => host.is_empty().then_some("the request names no host"),
    }
}

/// A host, and perhaps a port; of no user (RFC 3986, section 3.2, and RFC 9110, section 4.2.4).
fn is_host(text: &[u8]) -> bool {
    // Nearly always: a name.
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let end = text.iter().take_while(|byte| is_of_name(byte)).count();
    match text.get(end) {
        None => end > 0,
        Some(b':') => end > 0 && is_port(&text[end + 1..]),
        Some(b'[') if end == 0 => {
            let Some(end) = text.iter().position(|byte| *byte == b']') else { return false };
            let is_end = match text[end + 1..].split_first() {
                None => true,
                Some((colon, port)) => *colon == b':' && is_port(port),
            };
            is_end && is_literal(&text[1..end])
        }
        Some(_) => {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            end > 0 && is_made_of(&text[..end], is_of_registered) && text.get(end + 1..).is_none_or(is_port)
        }
    }
}

/// Perhaps none, and as many zeros as somebody likes.
fn is_port(digits: &[u8]) -> bool {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let rest = &digits[zeros..];
    rest.iter().all(u8::is_ascii_digit)
        && (rest.len() < 5 || str::from_utf8(rest).is_ok_and(|port| port.parse::<u16>().is_ok()))
}

/// An IPv6 address, with a zone at most (RFC 6874), or one of a version to come.
fn is_literal(inside: &[u8]) -> bool {
    if let [b'v' | b'V', version @ ..] = inside {
        let digits = version.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_of_future = |byte: u8| is_of_registered(byte) || byte == b':';
        return digits > 0
            && matches!(version[digits..].split_first(), Some((b'.', rest)) if !rest.is_empty() && rest.iter().all(|byte| is_of_future(*byte)));
    }
    let zone = inside.iter().position(|byte| *byte == b'%').unwrap_or(inside.len());
    let is_zone = |zone: &[u8]| {
        let name = zone.strip_prefix(b"%25").unwrap_or_default();
        !name.is_empty() && is_made_of(name, |byte| is_of_registered(byte) && !is_delimiter(byte))
    };
    str::from_utf8(&inside[..zone]).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        && (zone == inside.len() || is_zone(&inside[zone..]))
}

/// Of these, and of what is written with a percent sign.
fn is_made_of(text: &[u8], these: impl Fn(u8) -> bool) -> bool {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return true,
            [b'%', one, two, rest @ ..] if one.is_ascii_hexdigit() && two.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if these(*byte) => rest,
            _ => return false,
        };
    }
}

const fn is_of_registered(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || is_delimiter(byte)
}

/// `sub-delims`, which may stand in a name.
const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

fn is_same(named: &Authority, host: &HeaderValue, scheme: Option<&Scheme>) -> bool {
    if named.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) {
        return true;
    }
    let usual = if scheme == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let of = |text| HostPort::parse(text, usual);
    host.to_str().is_ok_and(|host| of(named.as_str()).is_some_and(|named| of(host) == Some(named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: Version, uri: &str, hosts: &[&str]) -> Option<&'static str> {
        let mut request = Request::get(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        fault(&request.body(()).unwrap())
    }

    #[test]
    fn over_http_1_there_is_one_host_and_it_is_one() {
        let http1 = |hosts: &[&str]| of(Version::HTTP_11, "/", hosts);
        for host in [
            "a.test",
            "A.test:8080",
            "a.test:65535",
            "a.test:000080",
            "a.test:",
            "127.0.0.1",
            "a_b",
            "a~b.test:1",
            "a%2Db.test",
            "%2Fvar%2Frun%2Fapp.sock",
            "a!b$c&d'e(f)g*h+i,j;k=l",
            "[::1]",
            "[::1]:81",
            "[::1]:",
            "[::ffff:192.0.2.1]",
            "[fe80::1%25eth0]:80",
            "[fe80::1%25a%2Fb]",
            "[v1.a:b]",
            "",
        ] {
            assert_eq!(http1(&[host]), None, "{host}");
        }
        for host in [
            "a b",
            "a/b",
            "a\\b",
            "u@a.test",
            "u:p@a.test",
            "a.test:x",
            "a.test:8x",
            "a:1:2",
            "a_b:1:2",
            ":80",
            "a.test:65536",
            "a.test:123456",
            "a_b:65536",
            "a%2",
            "a%2g",
            "%",
            "a[b]",
            "[",
            "[]",
            "[::1",
            "[a.test]",
            "[::1]x",
            "[::1]evil.test",
            "[::1]:x",
            "[::1%eth0]",
            "[::1%25]",
            "[::1%25a=b]",
            "[v.a]",
            "[v1.]",
            "[v1a]",
            "[v1.a/b]",
            "[127.0.0.1]",
        ] {
            assert_eq!(http1(&[host]), Some("what the request says of its host is none"), "{host}");
        }
        assert_eq!(http1(&[]), Some("the request names no host"));
        assert_eq!(http1(&["a.test", "a.test"]), Some("the request names more than one host"));
        // What stands in the first line goes before; there was no such field before HTTP/1.1.
        assert_eq!(of(Version::HTTP_11, "http://a.test/", &["b.test"]), None);
        assert!(of(Version::HTTP_11, "http://u:p@a.test/", &["a.test"]).is_some());
        assert_eq!(of(Version::HTTP_11, "http://a.test/", &[""]), None);
        assert_eq!(of(Version::HTTP_10, "/", &[]), None);
        assert!(of(Version::HTTP_10, "/", &["a.test", "b.test"]).is_some());
    }

    #[test]
    fn over_http_2_both_ways_to_name_a_host_name_the_same() {
        let http2 = |uri: &str, hosts: &[&str]| of(Version::HTTP_2, uri, hosts);
        assert_eq!(http2("https://a.test/", &[]), None);
        for nobody in [&[][..], &[""]] {
            assert_eq!(http2("/", nobody), Some("the request names no host"));
        }
        assert!(http2("https://u@a.test/", &[]).is_some());
        assert!(http2("https://u@a.test/", &["a.test"]).is_some());
        assert_eq!(http2("/", &["a.test"]), None, "as what came over HTTP/1 may be passed on");
        assert_eq!(http2("https://a.test/", &["A.test"]), None);
        assert_eq!(http2("https://a.test/", &["a.test:443"]), None);
        assert_eq!(http2("http://a.test:80/", &["a.test"]), None);
        assert_eq!(http2("https://a.test/", &["a.test:80"]), Some("the request names two hosts"));
        assert_eq!(http2("https://a.test/", &["b.test"]), Some("the request names two hosts"));
        assert_eq!(
            http2("https://a.test/", &["a.test", "a.test"]),
            Some("the request names more than one host")
        );
    }
}
