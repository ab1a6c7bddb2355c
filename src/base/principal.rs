use std::fmt;
use std::sync::Arc;

use http::{Extensions, Request};

use super::KeyOf;

/// Who sends a request, and what they may do: an extension of each request that passes a [`JwtLayer`](../jwt/struct.JwtLayer.html) with a token.
///
/// Layers below need not know how it was found out. Whoever finds it out in another way inserts one, [named](Principal::named).
/// Handlers of axum take it as `Extension<Principal>`.
///
/// ```
/// use http::Request;
/// use stonework::base::Principal;
///
/// let mut request = Request::new(());
/// assert!(Principal::of(request.extensions()).is_none());
///
/// request.extensions_mut().insert(Principal::named("alice", Some("https://id.example")));
/// let who = Principal::of(request.extensions()).unwrap();
/// assert_eq!((who.subject(), who.issuer()), (Some("alice"), Some("https://id.example")));
/// assert!(!who.has_scope("orders:write"));
/// ```
///
/// Its `Debug` shows neither subject nor issuer.
#[derive(Clone)]
pub struct Principal {
    id: Option<PrincipalId>,
    grants: Option<Arc<dyn Grants>>,
}

/// What somebody may do.
pub(crate) trait Grants: Send + Sync {
    /// Words between spaces.
    fn scopes(&self) -> &str;
    fn roles(&self) -> &[Box<str>];
}

impl Principal {
    /// Somebody without scopes and roles. `issuer` is who says that it is them: two issuers may use one name for two people.
    #[must_use]
    pub fn named(subject: &str, issuer: Option<&str>) -> Self {
        Self { id: Some(PrincipalId::new(subject, issuer)), grants: None }
    }

    #[cfg_attr(
        not(any(feature = "jwt", feature = "jwt-rust-crypto")),
        allow(dead_code, reason = "only tokens say what somebody may do")
    )]
    pub(crate) fn with(id: Option<PrincipalId>, grants: Arc<dyn Grants>) -> Self {
        Self { id, grants: Some(grants) }
    }

    /// That of a request, if anybody has found it out.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// What tells it from others: issuer and subject. Nothing, if its token has no subject.
    #[must_use]
    pub const fn id(&self) -> Option<&PrincipalId> {
        self.id.as_ref()
    }

    /// Its name, which is one only together with its issuer. Nothing, if its token has no subject.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.id.as_ref().map(PrincipalId::subject)
    }

    /// Who says so.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.id.as_ref().and_then(PrincipalId::issuer)
    }

    /// What it may do, in words of its issuer's.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let words = self.grants.as_ref().map_or("", |grants| grants.scopes());
        words.split(' ').filter(|word| !word.is_empty())
    }

    /// Whether `scope` is among them.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|has| has == scope)
    }

    /// What it is, in words of its issuer's.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().flat_map(|grants| grants.roles()).map(|role| &**role)
    }

    /// Whether `role` is among them.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|has| has == role)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal").finish_non_exhaustive()
    }
}

/// What tells one [`Principal`] from another: its subject and its issuer. Copying it copies no text.
///
/// ```
/// use stonework::base::PrincipalId;
///
/// let id = PrincipalId::new("alice", Some("https://id.example"));
/// assert_eq!((id.subject(), id.issuer()), ("alice", Some("https://id.example")));
/// assert_ne!(id, PrincipalId::new("alice", None));
/// ```
///
/// Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId {
    /// The subject, and behind it the issuer.
    text: Arc<str>,
    subject: usize,
    issued: bool,
}

impl PrincipalId {
    /// Who `issuer` calls `subject`.
    #[must_use]
    pub fn new(subject: &str, issuer: Option<&str>) -> Self {
        let issued = issuer.is_some();
        let issuer = issuer.unwrap_or_default();
        // On the stack, where it has room: only the text itself is to be kept.
        let mut room = [0; 128];
        let text = match room.get_mut(..subject.len() + issuer.len()) {
            Some(room) => {
                let (first, second) = room.split_at_mut(subject.len());
                first.copy_from_slice(subject.as_bytes());
                second.copy_from_slice(issuer.as_bytes());
                std::str::from_utf8(room).map(Arc::from)
            }
            None => Ok(Arc::from([subject, issuer].concat())),
        };
        let text = text.expect("two texts are a text");
        Self { text, subject: subject.len(), issued }
    }

    /// The name that the issuer gave.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.text[..self.subject]
    }

    /// Who says so.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issued.then(|| &self.text[self.subject..])
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrincipalId").finish_non_exhaustive()
    }
}

/// By [who sends it](Principal::id): a limit for each. Requests of whom nothing is known share one.
///
/// ```
/// use stonework::base::{ByPrincipal, PrincipalKey};
/// use stonework::limit::{KeyedRateLimiter, Quota, RateLimitLayer};
///
/// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
/// let limiter = KeyedRateLimiter::<PrincipalKey>::new(Quota::per_second(50))?;
/// let layer = RateLimitLayer::keyed(limiter, ByPrincipal).answer();
/// # let _ = layer;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct ByPrincipal;

impl<B> KeyOf<Request<B>> for ByPrincipal {
    type Key = PrincipalKey;

    fn key_of(&self, request: &Request<B>) -> PrincipalKey {
        PrincipalKey(Principal::of(request.extensions()).and_then(|who| who.id().cloned()))
    }
}

/// Who sends a request, as a key: of all that nobody is known of, it is one. Its text, which stores of shared limits see, is another for
/// each.
///
/// ```
/// use http::Request;
/// use stonework::base::{ByPrincipal, KeyOf, Principal};
///
/// let mut request = Request::new(());
/// assert_eq!(ByPrincipal.key_of(&request).to_string(), "-");
/// request.extensions_mut().insert(Principal::named("alice", Some("https://id.example")));
/// assert_eq!(ByPrincipal.key_of(&request).to_string(), "5:alice:https://id.example");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrincipalKey(Option<PrincipalId>);

impl fmt::Display for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(id) = &self.0 else { return f.write_str("-") };
        // With its length, so that nobody is called as somebody else with their issuer is.
        write!(f, "{}:{}", id.subject, id.subject())?;
        id.issuer().map_or(Ok(()), |issuer| write!(f, ":{issuer}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_one_only_if_issuer_and_subject_are_the_same() {
        let long = "x".repeat(300);
        let all = [
            PrincipalId::new("ab", Some("c")),
            PrincipalId::new("a", Some("bc")),
            PrincipalId::new("abc", Some("")),
            PrincipalId::new("abc", None),
            PrincipalId::new("", Some("abc")),
            PrincipalId::new(&long, Some("c")),
            PrincipalId::new("x", Some(&long)),
        ];
        for (at, one) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert_eq!(one == other, at == other_at, "{at} {other_at}");
            }
            assert_eq!(&PrincipalId::new(one.subject(), one.issuer()), one);
            let key = |id: &PrincipalId| PrincipalKey(Some(id.clone())).to_string();
            assert!(all.iter().enumerate().all(|(at2, other)| (key(one) == key(other)) == (at == at2)));
            assert_ne!(key(one), PrincipalKey(None).to_string());
        }
        assert!(!format!("{:?} {:?}", all[0], Principal::named("ab", None)).contains("ab\""));
    }
}
