use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::algorithm::Algorithms;
use super::check::Expected;
use super::claims::TokenInfo;
use super::trusted::Trusted;
use super::verifier::{Memory, Revocation, Shared};
use super::verify::Rules;
use super::{Algorithm, Backend, InvalidJwt, JwtSettings, Keys, Verifier};
use crate::base::{BoxError, Observe, Observer, WallClock};

/// Makes a [`Verifier`], step by step; an example stands there. `Step` is what has to be said next.
#[derive(Debug)]
#[must_use = "it makes nothing until `build` is called"]
pub struct VerifierBuilder<Step = NeedsKeys, T = ()> {
    made: Made<T>,
    step: PhantomData<fn() -> Step>,
}

/// Its keys have to be said: [`keys`](VerifierBuilder::keys). See [`Verifier`].
#[derive(Debug)]
#[non_exhaustive]
pub struct NeedsKeys;

/// The algorithms have to be said: [`algorithms`](VerifierBuilder::algorithms). See [`Verifier`].
#[derive(Debug)]
#[non_exhaustive]
pub struct NeedsAlgorithms;

/// The algorithms have to be said, and the issuers were: [`algorithms`](VerifierBuilder::algorithms). See
/// [`issuers_with_keys`](VerifierBuilder::issuers_with_keys).
#[derive(Debug)]
#[non_exhaustive]
pub struct NeedsAlgorithmsOnly;

/// The issuer has to be said: [`issuer`](VerifierBuilder::issuer), [`issuers`](VerifierBuilder::issuers) or
/// [`any_issuer`](VerifierBuilder::any_issuer). See [`Verifier`].
#[derive(Debug)]
#[non_exhaustive]
pub struct NeedsIssuer;

/// The audience has to be said: [`audience`](VerifierBuilder::audience), [`audiences`](VerifierBuilder::audiences) or
/// [`any_audience`](VerifierBuilder::any_audience). See [`Verifier`].
#[derive(Debug)]
#[non_exhaustive]
pub struct NeedsAudience;

/// Everything was said: [`build`](VerifierBuilder::build). See [`Verifier`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Complete;

struct Made<T> {
    algorithms: Algorithms,
    audiences: Option<Vec<String>>,
    backend: Backend,
    clock: WallClock,
    issuers: Option<Vec<String>>,
    trusted: Trusted,
    observe: Observe,
    own: fn(&str) -> Option<T>,
    revocation: Option<Arc<dyn Revocation>>,
    settings: JwtSettings,
}

impl<T> std::fmt::Debug for Made<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl VerifierBuilder {
    pub(super) fn start() -> Self {
        Self::with(Made {
            algorithms: Algorithms::default(),
            audiences: None,
            backend: Backend::default(),
            clock: WallClock::system(),
            issuers: None,
            observe: Observe::default(),
            own: |_| Some(()),
            revocation: None,
            settings: JwtSettings::new(),
            trusted: Trusted::All(Keys::pending()),
        })
    }

    /// Who signs tokens: a [`Key`](super::Key), several as a [`KeySet::new([…])?`](super::KeySet::new), [`Keys`] that can be replaced, or
    /// [`RemoteKeys`](super::RemoteKeys).
    pub fn keys(mut self, keys: impl Into<Keys>) -> VerifierBuilder<NeedsAlgorithms> {
        self.made.trusted = Trusted::All(keys.into());
        self.next()
    }

    /// Who may issue tokens, each with keys of its own: `iss` must be there and be exactly one of these, and the token must be signed with
    /// a key of that one. So none can speak for another, and if the keys of one cannot be fetched, tokens of the others are as good as
    /// before.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, Keys, Verifier};
    ///
    /// # fn main() -> Result<(), stonework::jwt::InvalidJwt> {
    /// // Mostly these are `RemoteKeys`.
    /// let (ours, theirs) = (Keys::pending(), Keys::pending());
    /// let verifier = Verifier::builder()
    ///     .issuers_with_keys([("https://id.example", ours), ("https://partner.example", theirs)])
    ///     .algorithms([Algorithm::EdDsa, Algorithm::Rs256])
    ///     .audience("https://api.example")
    ///     .build()?;
    /// assert_eq!(verifier.keys().count(), 2);
    /// # Ok(()) }
    /// ```
    pub fn issuers_with_keys(
        mut self,
        issuers: impl IntoIterator<Item = (impl Into<String>, impl Into<Keys>)>,
    ) -> VerifierBuilder<NeedsAlgorithmsOnly> {
        let all = issuers.into_iter().map(|(issuer, keys)| (issuer.into().into(), keys.into()));
        let all: Box<[(Box<str>, Keys)]> = all.collect();
        self.made.issuers = Some(all.iter().map(|(issuer, _)| String::from(&**issuer)).collect());
        self.made.trusted = Trusted::Each(all);
        self.next()
    }
}

impl VerifierBuilder<NeedsAlgorithmsOnly> {
    /// How tokens may be signed. Which of these one must have, the key says; this is what keys may say.
    pub fn algorithms(mut self, all: impl IntoIterator<Item = Algorithm>) -> VerifierBuilder<NeedsAudience> {
        self.made.algorithms = all.into_iter().collect();
        self.next()
    }
}

impl VerifierBuilder<NeedsAlgorithms> {
    /// How tokens may be signed. Which of these one must have, the key says; this is what keys may say.
    pub fn algorithms(mut self, all: impl IntoIterator<Item = Algorithm>) -> VerifierBuilder<NeedsIssuer> {
        self.made.algorithms = all.into_iter().collect();
        self.next()
    }
}

impl VerifierBuilder<NeedsIssuer> {
    /// Who issues them: `iss` must be there, and be exactly this.
    pub fn issuer(self, issuer: impl Into<String>) -> VerifierBuilder<NeedsAudience> {
        self.issuers([issuer])
    }

    /// Who issues them: `iss` must be there, and be exactly one of these. All of them are believed to the same extent, since their keys
    /// are the same.
    pub fn issuers(
        mut self,
        issuers: impl IntoIterator<Item = impl Into<String>>,
    ) -> VerifierBuilder<NeedsAudience> {
        self.made.issuers = Some(issuers.into_iter().map(Into::into).collect());
        self.next()
    }

    /// Whoever has these keys: `iss` is not looked at. For keys that only one issuer has, and where it says nothing of itself.
    pub fn any_issuer(self) -> VerifierBuilder<NeedsAudience> {
        self.next()
    }
}

impl VerifierBuilder<NeedsAudience> {
    /// For whom they are: `aud` must be there, and be exactly this, or have it among others.
    pub fn audience(self, audience: impl Into<String>) -> VerifierBuilder<Complete> {
        self.audiences([audience])
    }

    /// For whom they are: `aud` must be there, and be exactly one of these, or have one among others.
    pub fn audiences(
        mut self,
        audiences: impl IntoIterator<Item = impl Into<String>>,
    ) -> VerifierBuilder<Complete> {
        self.made.audiences = Some(audiences.into_iter().map(Into::into).collect());
        self.next()
    }

    /// Whomever they are for: `aud` is not looked at. A token that somebody was given for another service of the same issuer is then as
    /// good here, and that service can use it in their name.
    pub fn any_audience(self) -> VerifierBuilder<Complete> {
        self.next()
    }
}

impl<T> VerifierBuilder<Complete, T> {
    /// Read the claims into a type of your own as well: [`Claims::own`](super::Claims::own). A token that it cannot be read from is refused.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, Claims, Keys, Verifier};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Tenant {
    ///     tenant: String,
    /// }
    ///
    /// # fn main() -> Result<(), stonework::jwt::InvalidJwt> {
    /// let verifier: Verifier<Tenant> = Verifier::builder()
    ///     .keys(Keys::pending())
    ///     .algorithms([Algorithm::Es256])
    ///     .issuer("https://id.example")
    ///     .audience("https://api.example")
    ///     .claims::<Tenant>()
    ///     .build()?;
    /// let tenant = |claims: &Claims<Tenant>| claims.own().tenant.clone();
    /// # let _ = (verifier, tenant);
    /// # Ok(()) }
    /// ```
    pub fn claims<U: DeserializeOwned + Send + Sync + 'static>(self) -> VerifierBuilder<Complete, U> {
        let Made {
            algorithms,
            audiences,
            backend,
            clock,
            issuers,
            observe,
            own: _,
            revocation,
            settings,
            trusted,
        } = self.made;
        let own = |json: &str| serde_json::from_str(json).ok();
        VerifierBuilder::with(Made {
            algorithms,
            audiences,
            backend,
            clock,
            issuers,
            observe,
            own,
            revocation,
            settings,
            trusted,
        })
    }

    /// What else tokens have to be. Default: [`JwtSettings::new`].
    pub fn settings(mut self, settings: JwtSettings) -> Self {
        self.made.settings = settings;
        self
    }

    /// Ask this about each token that is good otherwise, [remembered](JwtSettings::cache) or not, and never about another: true means that
    /// it was revoked, and it is refused. If it fails, nobody knows, and the answer is 503.
    ///
    /// It costs what it costs for each request: look into what is in memory, and let something else keep that up to date. How long a token
    /// that was revoked is still good is as long as that takes; without this, until it expires.
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use std::convert::Infallible;
    /// use std::sync::{Arc, RwLock};
    /// use stonework::jwt::{Algorithm, Keys, TokenInfo, Verifier};
    ///
    /// # fn main() -> Result<(), stonework::jwt::InvalidJwt> {
    /// let revoked: Arc<RwLock<HashSet<String>>> = Arc::default();
    /// let verifier = Verifier::builder()
    ///     .keys(Keys::pending())
    ///     .algorithms([Algorithm::Es256])
    ///     .issuer("https://id.example")
    ///     .audience("https://api.example")
    ///     .revocation(move |token: TokenInfo| {
    ///         let is_revoked = token.id().is_none_or(|id| revoked.read().unwrap().contains(id));
    ///         async move { Ok::<_, Infallible>(is_revoked) }
    ///     })
    ///     .build()?;
    /// # let _ = verifier;
    /// # Ok(()) }
    /// ```
    pub fn revocation<F, Fut, E>(mut self, is_revoked: F) -> Self
    where
        F: Fn(TokenInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.made.revocation = Some(Arc::new(is_revoked));
        self
    }

    /// Tell this one why tokens are refused. Answers say less.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.made.observe = Observe::by(observer);
        self
    }

    /// Go by this calendar. Default: that of the machine.
    pub fn clock(mut self, clock: WallClock) -> Self {
        self.made.clock = clock;
        self
    }

    /// Let this check signatures. Default: [`Backend::default`].
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.made.backend = backend;
        self
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], which names the field.
    pub fn build(self) -> Result<Verifier<T>, InvalidJwt>
    where
        T: Send + Sync + 'static,
    {
        let Made {
            algorithms,
            audiences,
            backend,
            clock,
            issuers,
            observe,
            own,
            revocation,
            settings,
            trusted,
        } = self.made;
        settings.check()?;
        if algorithms.is_empty() {
            return Err(InvalidJwt::Empty { field: "algorithms" });
        }
        if trusted.keys().any(|keys| keys.are_useless(algorithms)) {
            return Err(InvalidJwt::Useless { field: "keys" });
        }
        for (field, texts) in [("issuer", &issuers), ("audience", &audiences)] {
            if texts.as_ref().is_some_and(|texts| texts.is_empty() || texts.iter().any(String::is_empty)) {
                return Err(InvalidJwt::Empty { field });
            }
        }
        let repeats =
            |texts: &Vec<String>| texts.iter().enumerate().any(|(at, text)| texts[..at].contains(text));
        if issuers.as_ref().is_some_and(repeats) {
            return Err(InvalidJwt::Repeated { field: "issuer" });
        }
        let JwtSettings { bound_tokens, cache, cache_ttl, leeway, max_token_size, required_claims, types } =
            settings;
        let expected = Expected {
            issuers: issuers.map(boxed),
            audiences: audiences.map(boxed),
            required: boxed(required_claims),
            bound: bound_tokens,
            types: Some(types).filter(|types| !types.is_empty()).map(boxed),
        };
        Ok(Verifier::new(Shared {
            memory: cache.map(|most| Memory::new(backend, most, cache_ttl)),
            clock,
            trusted,
            observe,
            own,
            revocation,
            rules: Rules { algorithms, backend, expected, leeway, longest: max_token_size },
        }))
    }
}

impl<Step, T> VerifierBuilder<Step, T> {
    const fn with(made: Made<T>) -> Self {
        Self { made, step: PhantomData }
    }

    fn next<Next>(self) -> VerifierBuilder<Next, T> {
        VerifierBuilder::with(self.made)
    }
}

fn boxed(texts: Vec<String>) -> Box<[Box<str>]> {
    texts.into_iter().map(Into::into).collect()
}
