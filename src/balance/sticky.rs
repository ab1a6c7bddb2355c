use http::{HeaderName, Request, header};

use super::rendezvous;

/// A key that sticks to an endpoint: the same key goes to the same endpoint, in every process that has the same endpoints, as long as
/// that can be picked and has not too much to do.
///
/// ```
/// use stonework::balance::StickyKey;
///
/// assert_eq!(StickyKey::of("tenant-7"), StickyKey::of(b"tenant-7"));
/// assert_ne!(StickyKey::of("tenant-7"), StickyKey::of(7_u32.to_be_bytes()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StickyKey(pub(super) u64);

impl StickyKey {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(rendezvous::hash(bytes.as_ref()))
    }
}

/// Says by which key a request sticks to an endpoint, if by any: a closure, [`StickyHeader`] or [`StickyCookie`].
///
/// ```
/// use http::Request;
/// use stonework::balance::{Sticky, StickyKey};
///
/// // By the first part of the path.
/// let tenant = |request: &Request<()>| request.uri().path().split('/').nth(1).map(StickyKey::of);
/// let key = tenant.key(&Request::get("/tenant-7/orders").body(()).unwrap());
/// assert_eq!(key, Some(StickyKey::of("tenant-7")));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no sticky key of requests of type `{Req}`",
    note = "a closure does: `|request: &http::Request<_>| Some(stonework::balance::StickyKey::of(…))`"
)]
pub trait Sticky<Req> {
    /// The key of this request. Those without are sent as if nothing stuck.
    fn key(&self, request: &Req) -> Option<StickyKey>;
}

impl<Req, F: Fn(&Req) -> Option<StickyKey>> Sticky<Req> for F {
    fn key(&self, request: &Req) -> Option<StickyKey> {
        self(request)
    }
}

/// Nothing sticks: the default. See [`Sticky`].
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct NotSticky;

impl<Req> Sticky<Req> for NotSticky {
    fn key(&self, _: &Req) -> Option<StickyKey> {
        None
    }
}

/// Sticks by the value of a header; by the first, if there are several.
///
/// ```
/// use http::{HeaderName, Request};
/// use stonework::balance::{Sticky, StickyHeader, StickyKey};
///
/// let by_tenant = StickyHeader::new(HeaderName::from_static("x-tenant"));
/// let request = Request::get("/").header("x-tenant", "seven").body(()).unwrap();
/// assert_eq!(by_tenant.key(&request), Some(StickyKey::of("seven")));
/// ```
#[derive(Clone, Debug)]
pub struct StickyHeader(HeaderName);

impl StickyHeader {
    /// By this header.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl<B> Sticky<Request<B>> for StickyHeader {
    fn key(&self, request: &Request<B>) -> Option<StickyKey> {
        request.headers().get(&self.0).map(StickyKey::of)
    }
}

/// Sticks by the value of a cookie (RFC 6265, section 4.2.1); by the first, if there are several of that name.
///
/// ```
/// use http::Request;
/// use stonework::balance::{Sticky, StickyCookie, StickyKey};
///
/// let by_session = StickyCookie::new("session");
/// let request = Request::get("/").header("cookie", "lang=en; session=s7; session=other").body(()).unwrap();
/// assert_eq!(by_session.key(&request), Some(StickyKey::of("s7")));
/// ```
#[derive(Clone, Debug)]
pub struct StickyCookie(Box<str>);

impl StickyCookie {
    /// By the cookie of this name.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }
}

impl<B> Sticky<Request<B>> for StickyCookie {
    fn key(&self, request: &Request<B>) -> Option<StickyKey> {
        let named = |pair: &[u8]| {
            let value = pair.trim_ascii().strip_prefix(self.0.as_bytes())?.strip_prefix(b"=")?;
            Some(StickyKey::of(value))
        };
        // HTTP/2 may split the field (RFC 9113, section 8.2.3).
        let fields = request.headers().get_all(header::COOKIE).iter();
        fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).find_map(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_says_by_which_key_a_request_sticks() {
        let by_host = |request: &Request<()>| request.uri().host().map(StickyKey::of);
        let key = |uri: &str| by_host.key(&Request::get(uri).body(()).unwrap());
        assert_eq!(key("http://a.test/"), Some(StickyKey::of("a.test")));
        assert_eq!(key("/"), None);
    }
}
