//! Where a request goes to, and what else tells requests apart.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use http::uri::{Authority, Scheme};
use http::{Request, header};

/// A host and a port: what a connection is made to, and what circuits and limits of a client are kept by.
///
/// It is read from the URI, or from `Host` where that names none (RFC 9110, section 7.2). Without a port it is the scheme's,
/// 80 or 443. Hosts are equal whatever their case (RFC 3986, section 3.2.2). User names and passwords are no part of it, and
/// are never shown.
///
/// ```
/// use http::Request;
/// use stonework::base::HostPort;
///
/// let of = |uri: &str| HostPort::of(&Request::get(uri).body(()).unwrap());
/// assert_eq!(of("https://user:secret@Example.com/a"), of("https://example.com:443/b"));
/// assert_ne!(of("https://example.com/"), of("http://example.com/"));
/// assert_eq!(of("https://user:secret@Example.com/").to_string(), "example.com:443");
/// ```
pub struct HostPort {
    /// None of a request that does not say where it goes.
    authority: Option<Authority>,
    /// Where the host stands in it: to look for that takes longer than anything else that is done with it.
    host: Range<usize>,
    port: u16,
}

impl HostPort {
    /// Where this request goes to.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        let scheme = request.uri().scheme();
        let named = request.uri().authority().cloned().or_else(|| {
            let host = request.headers().get(header::HOST)?;
            Authority::try_from(host.as_bytes()).ok()
        });
        let usual = match scheme {
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            _ => 80,
        };
        let host = named.as_ref().map_or(0..0, host_in);
        let port =
            named.as_ref().and_then(|named| named.as_str()[host.end..].strip_prefix(':')?.parse().ok());
        Self { authority: named, host, port: port.unwrap_or(usual) }
    }

    /// Of what somebody wrote: a host, and a port if it is not the usual one.
    #[cfg(any(feature = "server", all(feature = "balance", feature = "client")))]
    pub(crate) fn parse(text: &str, usual: u16) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        // Nothing before the host, and behind it a port or nothing.
        let port = match text.strip_prefix(authority.host())? {
            "" => usual,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        let host = host_in(&authority);
        (!host.is_empty()).then_some(Self { authority: Some(authority), host, port })
    }

    /// The same, with one memory.
    #[cfg(all(feature = "balance", feature = "client"))]
    pub(crate) fn share(&self) -> Self {
        Self { authority: self.authority.clone(), host: self.host.clone(), port: self.port }
    }

    /// The host, as it was written; empty of a request that does not say where it goes.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.as_ref().map_or("", |authority| &authority.as_str()[self.host.clone()])
    }

    /// The part of a URI that it was read from.
    #[cfg(feature = "client")]
    pub(crate) const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Where the host stands in it.
fn host_in(authority: &Authority) -> Range<usize> {
    let (all, host) = (authority.as_str(), authority.host());
    let start = host.as_ptr().addr() - all.as_ptr().addr();
    start..start + host.len()
}

/// A copy of its own: what is read from a request shares the memory of its URI, which whoever keeps it by host would keep, too.
impl Clone for HostPort {
    fn clone(&self) -> Self {
        let copy = |authority: &Authority| Authority::try_from(authority.as_str().as_bytes()).ok();
        Self { authority: self.authority.as_ref().and_then(copy), host: self.host.clone(), port: self.port }
    }
}

impl PartialEq for HostPort {
    fn eq(&self, other: &Self) -> bool {
        let (host, other_host) = (self.host(), other.host());
        // Most often as it is, which is compared in one go.
        self.port == other.port && (host == other_host || host.eq_ignore_ascii_case(other_host))
    }
}

impl Eq for HostPort {}

impl Hash for HostPort {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // In pieces: a hash that promises something takes its time over each call.
        for piece in self.host().as_bytes().chunks(32) {
            let mut small = [0; 32];
            let small = &mut small[..piece.len()];
            small.copy_from_slice(piece);
            small.make_ascii_lowercase();
            state.write(small);
        }
        state.write_u16(self.port);
    }
}

/// In small letters, so that one host has one name.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host().to_ascii_lowercase(), self.port)
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostPort({self})")
    }
}

/// What a request belongs to: a circuit, a limit. Any closure from a request to a key will do.
///
/// ```
/// use http::Request;
/// use stonework::base::KeyOf;
///
/// // By tenant.
/// let tenant = |request: &Request<String>| {
///     let name = request.headers().get("x-tenant").and_then(|name| name.to_str().ok());
///     name.unwrap_or("nobody").to_owned()
/// };
/// assert_eq!(tenant.key_of(&Request::new(String::new())), "nobody");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no key of requests of type `{Req}`",
    label = "this has to make a key",
    note = "a closure that takes a reference does: `|request: &http::Request<_>| …`; so does `stonework::base::ByHost`"
)]
pub trait KeyOf<Req> {
    /// What tells apart.
    type Key: Hash + Eq + Clone;

    /// The key of a request.
    fn key_of(&self, request: &Req) -> Self::Key;
}

impl<F, Req, K> KeyOf<Req> for F
where
    F: Fn(&Req) -> K,
    K: Hash + Eq + Clone,
{
    type Key = K;

    fn key_of(&self, request: &Req) -> K {
        self(request)
    }
}

/// By host and port: see [`HostPort`].
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct ByHost;

impl<B> KeyOf<Request<B>> for ByHost {
    type Key = HostPort;

    fn key_of(&self, request: &Request<B>) -> HostPort {
        HostPort::of(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, host: Option<&str>) -> String {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        HostPort::of(&request.body(()).unwrap()).to_string()
    }

    #[test]
    fn host_and_port_are_read_from_the_uri_or_the_host_header() {
        for (uri, host, expected) in [
            ("http://a.test/", None, "a.test:80"),
            ("https://a.test/", None, "a.test:443"),
            ("https://A.Test:8443/", None, "a.test:8443"),
            ("http://[::1]:81/", None, "[::1]:81"),
            ("http://a.test/", Some("b.test"), "a.test:80"),
            ("/", Some("b.test:99"), "b.test:99"),
            ("/", Some("b.test"), "b.test:80"),
            ("/", Some("not a host"), ":80"),
            ("/", None, ":80"),
            ("http://u:p@a.test/", None, "a.test:80"),
            ("http://u:p@[::1]:81/", None, "[::1]:81"),
            ("http://a.test:/", None, "a.test:80"),
            ("http://a.test:99999/", None, "a.test:80"),
        ] {
            assert_eq!(of(uri, host), expected, "{uri} {host:?}");
        }
    }

    #[test]
    fn equal_ones_have_one_hash_and_nothing_shows_a_password() {
        let one = HostPort::of(&Request::get("http://u:secret@A.test/").body(()).unwrap());
        let other = HostPort::of(&Request::get("http://a.test:80/x").body(()).unwrap());
        assert_eq!(one, other);
        assert_eq!(std::collections::HashSet::from([one.clone(), other]).len(), 1);
        assert!(!format!("{one:?} {one}").contains("secret"));
    }

    #[test]
    fn others_have_another_hash() {
        let hash = |uri: &str| {
            let mut hasher = std::hash::DefaultHasher::new();
            HostPort::of(&Request::get(uri).body(()).unwrap()).hash(&mut hasher);
            hasher.finish()
        };
        let long = format!("http://{}.test/", "a".repeat(40));
        assert_eq!(hash("http://A.test/x"), hash("http://a.test:80/y"));
        assert_eq!(hash(&long), hash(&long.replace('a', "A")));
        let all = ["http://a.test/", "http://b.test/", "http://a.test:81/", &long];
        assert_eq!(all.map(hash).into_iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[cfg(feature = "client")]
    #[test]
    fn what_named_it_is_known() {
        let named = |uri| HostPort::of(&Request::get(uri).body(()).unwrap()).authority().cloned();
        assert_eq!(named("http://a.test:81/").as_ref().map(Authority::as_str), Some("a.test:81"));
        assert_eq!(named("/"), None);
    }
}
