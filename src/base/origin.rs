//! Where requests go (RFC 6454, section 4): that of a token, that of a service. Nothing here waits, locks or reads a clock.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

/// A scheme, a host and a port.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    is_secure: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Of what has a scheme and a host.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (is_secure, host, port) = parts(uri)?;
        Some(Self { is_secure, host: host.into(), port })
    }

    /// As somebody writes it: with nothing behind the host and the port, and nobody's name before them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let is_anonymous = !uri.authority()?.as_str().contains('@');
        Self::of(&uri).filter(|_| is_bare && is_anonymous)
    }

    /// Whether nobody on the way can read what goes there.
    pub(crate) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Also where it was not written.
    #[cfg(all(feature = "balance", feature = "client"))]
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Whether this goes there. What does not say where it goes does not.
    pub(crate) fn has(&self, uri: &Uri) -> bool {
        parts(uri).is_some_and(|(is_secure, host, port)| {
            is_secure == self.is_secure && port == self.port && host.eq_ignore_ascii_case(&self.host)
        })
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        (self.is_secure, self.port) == (other.is_secure, other.port)
            && self.host.eq_ignore_ascii_case(&other.host)
    }
}

/// `https://api.example:443`
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.is_secure { "https" } else { "http" }, self.host, self.port)
    }
}

fn parts(uri: &Uri) -> Option<(bool, &str, u16)> {
    let scheme = uri.scheme()?;
    let is_secure = *scheme == Scheme::HTTPS;
    if !is_secure && *scheme != Scheme::HTTP {
        return None;
    }
    let authority = uri.authority()?;
    let usual = if is_secure { 443 } else { 80 };
    // Not by what `http` calls the port, which is none if it is too large: that is no port that anybody has allowed.
    let named = authority.as_str().rsplit('@').next()?.strip_prefix(authority.host())?;
    let port = match named.strip_prefix(':') {
        // RFC 3986 section 3.2.3: an empty one is the usual one, too.
        Some("") | None => usual,
        Some(port) => port.parse().ok()?,
    };
    (!authority.host().is_empty()).then_some((is_secure, authority.host(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(origin: &str, uri: &str) -> bool {
        Origin::parse(origin).unwrap().has(&uri.parse().unwrap())
    }

    #[test]
    fn only_the_same_scheme_host_and_port_are_the_same_place() {
        for (origin, uri, expected) in [
            ("https://api.example", "https://api.example/orders?x=1", true),
            ("https://api.example", "https://API.example:443/", true),
            ("https://api.example/", "https://somebody@api.example/", true),
            ("https://api.example:8443", "https://api.example:8443/", true),
            ("https://api.example", "https://api.example:/", true),
            ("https://api.example:8443", "https://api.example:/", false),
            ("http://[::1]:80", "http://[::1]/", true),
            ("https://api.example", "http://api.example/", false),
            ("https://api.example", "http://api.example:443/", false),
            ("https://api.example", "https://api.example:8443/", false),
            ("https://api.example", "https://api.example:65979/", false),
            ("https://api.example", "https://api.example.evil/", false),
            ("https://api.example", "https://evil/api.example", false),
            ("https://api.example", "https://api.example@evil/", false),
            ("https://api.example", "https://x.api.example/", false),
            ("https://api.example", "ftp://api.example/", false),
            ("https://api.example", "/orders", false),
            ("https://api.example", "api.example:443", false),
        ] {
            assert_eq!(goes(origin, uri), expected, "{origin} {uri}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_none() {
        for text in [
            "",
            "api.example",
            "//api.example",
            "https://",
            "https://api.example/orders",
            "https://api.example?x",
            "https://me@api.example",
            "https://api.example:99999",
            "ftp://api.example",
            "*",
        ] {
            assert!(Origin::parse(text).is_none(), "{text}");
        }
    }
}
