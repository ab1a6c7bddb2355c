//! What tells one request from another. Nothing here waits, locks or reads a clock.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sha2::{Digest as _, Sha256};

use crate::base::PrincipalId;

/// What a key belongs to: somebody, a method and a route. A store has one entry for each.
///
/// It is a SHA-256, so what a client chose as its key, and who it is, cannot be read from it. Its `Debug` shows a part of it.
///
/// ```
/// use http::Method;
/// use stonework::base::PrincipalId;
/// use stonework::idempotency::Scope;
///
/// let alice = PrincipalId::new("alice", Some("https://id.example"));
/// let one = Scope::new(Some(&alice), &Method::POST, "/charges", "8e03978e");
/// assert_eq!(Scope::from_bytes(*one.as_bytes()), one);
/// assert_ne!(one, Scope::new(None, &Method::POST, "/charges", "8e03978e"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope([u8; 32]);

impl Scope {
    /// That of this key, from this sender, nobody if it is not known, to this route.
    #[must_use]
    pub fn new(principal: Option<&PrincipalId>, method: &Method, route: &str, key: &str) -> Self {
        let mut digest = Digest::new(b"scope");
        digest.option(principal.map(|who| who.subject().as_bytes()));
        digest.option(principal.and_then(|who| who.issuer()).map(str::as_bytes));
        digest.part(method.as_str().as_bytes());
        digest.part(route.as_bytes());
        digest.part(key.as_bytes());
        Self(digest.end())
    }

    /// What [`as_bytes`](Self::as_bytes) gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What a store keeps it as.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a request asks for: method, path, query, some of its headers, and its body. Two requests with one key have to have one.
///
/// Like a [`Scope`] it is a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        chosen: &[HeaderName],
        body: &Bytes,
    ) -> Self {
        let mut digest = Digest::new(b"request");
        digest.part(method.as_str().as_bytes());
        digest.part(uri.path().as_bytes());
        digest.option(uri.query().map(str::as_bytes));
        for name in chosen {
            let values = headers.get_all(name);
            digest.number(values.iter().count());
            values.iter().map(HeaderValue::as_bytes).for_each(|value| digest.part(value));
        }
        digest.part(body);
        Self(digest.end())
    }

    /// What [`as_bytes`](Self::as_bytes) gave.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What a store keeps it as.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

macro_rules! shown_in_part {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"), a, b, c, d)
            }
        }
    )*};
}

shown_in_part!(Fingerprint Scope);

/// Parts with their lengths, so that no two lists of parts are the same bytes.
struct Digest(Sha256);

impl Digest {
    /// `of` keeps two kinds of digests apart.
    fn new(of: &[u8]) -> Self {
        let mut digest = Self(Sha256::new());
        digest.part(of);
        digest
    }

    fn number(&mut self, number: usize) {
        self.0.update((number as u64).to_be_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.number(part.len());
        self.0.update(part);
    }

    fn option(&mut self, part: Option<&[u8]>) {
        self.number(usize::from(part.is_some()));
        self.part(part.unwrap_or_default());
    }

    fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn two_scopes_are_one_only_if_all_of_it_is_the_same() {
        let who = |subject, issuer| Some(PrincipalId::new(subject, issuer));
        let (post, patch) = (Method::POST, Method::PATCH);
        let all = [
            (None, &post, "/a", "key"),
            (None, &post, "/ak", "ey"),
            (None, &patch, "/a", "key"),
            (who("", None), &post, "/a", "key"),
            (who("", Some("")), &post, "/a", "key"),
            (who("a", Some("b")), &post, "/a", "key"),
            (who("ab", Some("")), &post, "/a", "key"),
            (who("ab", None), &post, "/a", "key"),
        ];
        let scopes: HashSet<_> = all
            .iter()
            .map(|(who, method, route, key)| Scope::new(who.as_ref(), method, route, key))
            .collect();
        assert_eq!(scopes.len(), all.len());
    }

    #[test]
    fn two_fingerprints_are_one_only_if_all_that_was_chosen_is_the_same() {
        let chosen = [http::header::CONTENT_TYPE, http::header::ACCEPT];
        let print = |method: Method, uri: &str, lines: &[(HeaderName, &str)], body: &'static str| {
            let headers = lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            Fingerprint::of(
                &method,
                &uri.parse().unwrap(),
                &headers,
                &chosen,
                &Bytes::from_static(body.as_bytes()),
            )
        };
        let (kind, accept) = (http::header::CONTENT_TYPE, http::header::ACCEPT);
        let all = [
            print(Method::POST, "/a", &[], "body"),
            print(Method::PATCH, "/a", &[], "body"),
            print(Method::POST, "/b", &[], "body"),
            print(Method::POST, "/a?", &[], "body"),
            print(Method::POST, "/a?b", &[], "body"),
            print(Method::POST, "/a", &[(kind.clone(), "x")], "body"),
            print(Method::POST, "/a", &[(accept, "x")], "body"),
            print(Method::POST, "/a", &[(kind.clone(), "")], "body"),
            print(Method::POST, "/a", &[(kind.clone(), "x"), (kind, "y")], "body"),
            print(Method::POST, "/a", &[], "Body"),
            print(Method::POST, "/a", &[], ""),
        ];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        let other = print(Method::POST, "/a", &[(http::header::USER_AGENT, "x")], "body");
        assert_eq!(other, all[0], "it was not chosen");
    }

    #[test]
    fn of_what_identifies_no_more_than_a_part_is_shown() {
        let shown = format!("{:?}", Scope::from_bytes([0xab; 32]));
        assert_eq!(shown, "Scope(abababab…)");
    }
}
