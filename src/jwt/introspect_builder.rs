use std::fmt;
use std::sync::Mutex;

use http::{Request, Response};
use tower_service::Service;

use super::active::Terms;
use super::cache::Cache;
use super::introspect::Shared;
use super::remote::address;
use super::{Backend, IntrospectSettings, Introspector, InvalidJwt};
use crate::base::body::Body;
use crate::base::{Ask, BoxError, ClientAuth, Observe, Observer, Rng, WallClock, scope};

/// Makes an [`Introspector`]. See there.
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct IntrospectorBuilder {
    endpoint: String,
    auth: ClientAuth,
    /// Nothing, as long as nobody has decided.
    audiences: Option<Option<Vec<String>>>,
    issuer: Option<String>,
    backend: Backend,
    clock: WallClock,
    observe: Observe,
    plain: bool,
    rng: Rng,
    settings: IntrospectSettings,
}

impl IntrospectorBuilder {
    pub(super) fn new(endpoint: String, auth: ClientAuth) -> Self {
        Self {
            endpoint,
            auth,
            audiences: None,
            issuer: None,
            backend: Backend::default(),
            clock: WallClock::default(),
            observe: Observe::default(),
            plain: false,
            rng: Rng::default(),
            settings: IntrospectSettings::new(),
        }
    }

    /// Whom tokens have to be for: one of these. The server has to say it, in `aud`.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.audiences = Some(Some(audiences.into_iter().map(Into::into).collect()));
        self
    }

    /// Take tokens for anybody, also those that somebody else was given for **another service**: only where the server itself refuses
    /// to say of those that they are active (RFC 7662, section 4).
    pub fn any_audience(mut self) -> Self {
        self.audiences = Some(None);
        self
    }

    /// Who has to have issued them. The server has to say it, in `iss`. Default: whoever the server answers for.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Also ask at an address that begins with `http:`, where whoever is on the way reads the tokens and the secret, and says what is active: for
    /// tests, and for what stays within one machine. Default: `https` alone (RFC 7662, section 4).
    pub const fn allow_plain_http(mut self) -> Self {
        self.plain = true;
        self
    }

    /// How it behaves. Default: [`IntrospectSettings::new`].
    pub fn settings(mut self, settings: IntrospectSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Whose SHA-256 tells tokens apart. Default: [`Backend::default`].
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Tell the time of day by this clock. Default: the system's.
    pub fn clock(mut self, clock: WallClock) -> Self {
        self.clock = clock;
        self
    }

    /// Draw the names of what is signed from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Tell this observer why tokens are refused. Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observe = Observe::by(observer);
        self
    }

    /// Ask with this client: any service of HTTP requests, with whatever limits and retries it has. It is cloned for each question.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], if nothing was said of the audience, the endpoint is no address, or the settings are not possible.
    pub fn build<S, B>(self, client: S) -> Result<Introspector, InvalidJwt>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Error: Into<BoxError>, Data: Send> + Send + 'static,
    {
        let Self { endpoint, auth, audiences, issuer, backend, clock, observe, plain, rng, settings } = self;
        settings.check()?;
        let empty = |field| InvalidJwt::Empty { field };
        let audiences = audiences.ok_or(empty("audiences"))?;
        let is_bare = |texts: &[String]| texts.is_empty() || texts.iter().any(String::is_empty);
        if audiences.as_deref().is_some_and(is_bare) {
            return Err(empty("audiences"));
        }
        if issuer.as_ref().is_some_and(String::is_empty) {
            return Err(empty("issuer"));
        }
        let endpoint = address(&endpoint, plain).ok_or(InvalidJwt::Address { field: "endpoint" })?;
        let terms = Terms {
            issuer: issuer.map(Into::into),
            audiences: audiences.map(|all| all.into_iter().map(Into::into).collect()),
            bound: settings.bound_tokens,
            leeway: settings.leeway,
        };
        Ok(Introspector::new(Shared {
            ask: Ask::new(client, settings.max_response),
            endpoint,
            auth,
            terms,
            backend,
            clock,
            observe,
            rng,
            cache: settings.cache.map(|most| Cache::new(most, settings.cache_ttl, scope::now())),
            settings,
            questions: Mutex::default(),
        }))
    }
}

/// Shows the settings, and neither where it asks nor as whom.
impl fmt::Debug for IntrospectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectorBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
