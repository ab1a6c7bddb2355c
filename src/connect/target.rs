use std::fmt;
use std::net::Ipv6Addr;

/// Where to: a host, a port, and whether over TLS.
///
/// ```
/// use stonework::connect::Target;
///
/// let target = Target::new("Example.com", 443, true);
/// assert_eq!(target.to_string(), "https://example.com:443");
/// assert_eq!(Target::new("[::1]", 80, false).host(), "::1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: Box<str>,
    port: u16,
    tls: bool,
}

impl Target {
    /// To this host, which is a name or an address; an IPv6 address may be in brackets, as in a URI. In small letters it is the same
    /// host (RFC 3986, section 3.2.2), and is kept so.
    #[must_use]
    pub fn new(host: &str, port: u16, tls: bool) -> Self {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self { host: inner.to_ascii_lowercase().into(), port, tls }
    }

    /// The host, in small letters and without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether over TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host and port, as they stand in a request: an IPv6 address in brackets.
    pub(super) fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(_) => format!("[{}]:{}", self.host, self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// `https://example.com:443`
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_name_and_is_shown_as_in_a_uri() {
        for (host, expected) in [
            ("Example.COM", "http://example.com:8080"),
            ("::1", "http://[::1]:8080"),
            ("[FE80::1]", "http://[fe80::1]:8080"),
            ("127.0.0.1", "http://127.0.0.1:8080"),
            ("", "http://:8080"),
            ("[", "http://[:8080"),
        ] {
            assert_eq!(Target::new(host, 8080, false).to_string(), expected, "{host}");
        }
        assert_eq!(Target::new("[::1]", 1, true), Target::new("::1", 1, true));
        assert_ne!(Target::new("a", 1, true), Target::new("a", 1, false));
    }
}
