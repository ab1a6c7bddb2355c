use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Key;
use super::read::{Registered, Times};
use crate::base::{Grants, Principal, PrincipalId};

/// What a token says that was found to be good: an extension of each request that passes a [`JwtLayer`](super::JwtLayer), and with the
/// feature `axum` an argument of handlers. Copying it copies no text.
///
/// `T` is a type of the service's own that reads further claims: see [`VerifierBuilder::claims`](super::VerifierBuilder::claims). Without
/// one it is `()`. Whoever needs to know only who is asking, whatever the tokens look like, takes the
/// [`Principal`].
///
/// An example stands at the [module](super). `Debug` shows nothing of what it says.
pub struct Claims<T = ()>(pub(super) Arc<Verified<T>>);

impl<T> Claims<T> {
    /// What the service's own type has read.
    #[must_use]
    pub fn own(&self) -> &T {
        &self.0.own
    }

    /// Whom it is about: `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.known.subject()
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.known.issuer()
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.known.id.as_deref()
    }

    /// When it ends, `exp`. Nothing, if that is later than any date that the platform can show.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        date(self.0.known.times.expires)
    }

    /// When it began: `nbf`.
    #[must_use]
    pub fn not_before(&self) -> Option<SystemTime> {
        date(self.0.known.times.not_before)
    }

    /// When it was issued: `iat`.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        date(self.0.known.times.issued)
    }

    /// Who sends it, and what they may do.
    #[must_use]
    pub fn principal(&self) -> Principal
    where
        T: Send + Sync + 'static,
    {
        let who = match &self.0.known.who {
            Who::Named(id) => Some(id.clone()),
            Who::Unnamed { .. } => None,
        };
        Principal::with(who, Arc::clone(&self.0) as Arc<dyn Grants>)
    }

    /// The same for those who do not know its type.
    pub(super) fn info(&self) -> TokenInfo
    where
        T: Send + Sync + 'static,
    {
        TokenInfo(Arc::clone(&self.0) as Arc<dyn Facts>)
    }
}

impl<T> Clone for Claims<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Claims<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// A token that was found to be good, for whoever is to say whether it was [revoked](super::VerifierBuilder::revocation). Copying it
/// copies no text. `Debug` shows nothing of what it says.
#[derive(Clone)]
pub struct TokenInfo(Arc<dyn Facts>);

impl TokenInfo {
    /// Whom it is about: `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.known().subject()
    }

    /// Who issued it: `iss`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.0.known().issuer()
    }

    /// Its own name: `jti`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.known().id.as_deref()
    }

    /// When it was issued: `iat`. "All that were issued before the password was changed" goes by it.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        date(self.0.known().times.issued)
    }
}

impl fmt::Debug for TokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenInfo").finish_non_exhaustive()
    }
}

fn date(since: Option<Duration>) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(since?)
}

/// A token that was found to be good.
pub(super) struct Verified<T> {
    pub(super) known: Known,
    pub(super) own: T,
}

/// What is known of each.
pub(super) struct Known {
    who: Who,
    id: Option<Box<str>>,
    scope: Option<Box<str>>,
    roles: Box<[Box<str>]>,
    pub(super) times: Times,
    /// That which has signed it.
    pub(super) key: Arc<Key>,
}

enum Who {
    Named(PrincipalId),
    Unnamed { issuer: Option<Box<str>> },
}

impl Known {
    pub(super) fn new(claims: Registered<'_>, key: Arc<Key>) -> Self {
        let issuer = claims.issuer.as_deref();
        let who = match claims.subject.as_deref() {
            Some(subject) => Who::Named(PrincipalId::new(subject, issuer)),
            None => Who::Unnamed { issuer: issuer.map(Into::into) },
        };
        let owned =
            |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned().into_boxed_str());
        Self {
            who,
            id: owned(claims.id),
            scope: owned(claims.scope),
            roles: claims.roles,
            times: claims.times,
            key,
        }
    }

    fn subject(&self) -> Option<&str> {
        match &self.who {
            Who::Named(id) => Some(id.subject()),
            Who::Unnamed { .. } => None,
        }
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        match &self.who {
            Who::Named(id) => id.issuer(),
            Who::Unnamed { issuer } => issuer.as_deref(),
        }
    }
}

impl<T: Send + Sync> Grants for Verified<T> {
    fn scopes(&self) -> &str {
        self.known.scope.as_deref().unwrap_or_default()
    }

    fn roles(&self) -> &[Box<str>] {
        &self.known.roles
    }
}

trait Facts: Send + Sync {
    fn known(&self) -> &Known;
}

impl<T: Send + Sync> Facts for Verified<T> {
    fn known(&self) -> &Known {
        &self.known
    }
}
