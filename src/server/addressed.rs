//! Whether a request says whom it is for, as it has to.

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Version};

use crate::base::HostPort;

/// What is wrong with how it says that, if something is (RFC 9112, section 3.2; RFC 9113, section 8.3.1). Of two who read it differently one would
/// be led to another's page, or past what stands in front of it.
pub(super) fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let Some(host) = hosts.next() else {
        return (request.version() == Version::HTTP_11).then_some("the request names no host");
    };
    if hosts.next().is_some() {
        return Some("the request names more than one host");
    }
    if !is_plain(host.as_bytes()) && !is_host(host) {
        return Some("what the request says of its host is none");
    }
    // Over HTTP/1 what stands in the first line goes before.
    let named = request.uri().authority().filter(|_| request.version() == Version::HTTP_2)?;
    (!is_same(named, host, request.uri().scheme())).then_some("the request names two hosts")
}

/// Nearly always: a name, and perhaps a port.
fn is_plain(host: &[u8]) -> bool {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let name = host.iter().take_while(|byte| is_of_name(byte)).count();
    match host[name..].split_first() {
        None => true,
        Some((b':', port)) => name > 0 && port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

/// Some name, and perhaps a port; of no user.
fn is_host(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let Some(port) = authority.as_str().strip_prefix(authority.host()) else { return false };
    !authority.host().is_empty() && is_plain(format!("x{port}").as_bytes())
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
        for host in ["a.test", "A.test:8080", "127.0.0.1", "[::1]", "[::1]:81", "a_b", "a.test:", ""] {
            assert_eq!(http1(&[host]), None, "{host}");
        }
        for host in
            ["a b", "a/b", "u@a.test", "u:p@a.test", "a.test:x", "a:1:2", ":80", "a.test:123456", "[::1"]
        {
            assert_eq!(http1(&[host]), Some("what the request says of its host is none"), "{host}");
        }
        assert_eq!(http1(&[]), Some("the request names no host"));
        assert_eq!(http1(&["a.test", "a.test"]), Some("the request names more than one host"));
        // What stands in the first line goes before; there was no such field before HTTP/1.1.
        assert_eq!(of(Version::HTTP_11, "http://a.test/", &["b.test"]), None);
        assert_eq!(of(Version::HTTP_10, "/", &[]), None);
        assert!(of(Version::HTTP_10, "/", &["a.test", "b.test"]).is_some());
    }

    #[test]
    fn over_http_2_both_ways_to_name_a_host_name_the_same() {
        let http2 = |uri: &str, hosts: &[&str]| of(Version::HTTP_2, uri, hosts);
        assert_eq!(http2("https://a.test/", &[]), None);
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
