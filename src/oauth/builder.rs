use std::fmt;

use http::{Request, Response, Uri};
use tower_service::Service;

use super::{InvalidOauth, TokenSettings, TokenSource};
use crate::base::body::Body;
use crate::base::{Ask, BoxError, ClientAuth, Origin, Rng, WallClock, form};

/// What has a meaning of its own in the request for a token.
const RESERVED: [&str; 6] =
    ["grant_type", "scope", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// Makes a [`TokenSource`]. See there.
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct TokenSourceBuilder {
    endpoint: String,
    auth: ClientAuth,
    scope: Option<String>,
    parameters: Vec<(String, String)>,
    plain: bool,
    settings: TokenSettings,
    clock: WallClock,
    rng: Rng,
}

impl TokenSourceBuilder {
    pub(super) fn new(endpoint: String, auth: ClientAuth) -> Self {
        Self {
            endpoint,
            auth,
            scope: None,
            parameters: Vec::new(),
            plain: false,
            settings: TokenSettings::new(),
            clock: WallClock::default(),
            rng: Rng::default(),
        }
    }

    /// What the token is to be good for: words between spaces (RFC 6749, section 3.3). Default: what the server thinks fit.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Something else that the server wants to be told, such as `resource` (RFC 8707) or `audience`.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Also ask at an address that begins with `http:`, where whoever is on the way reads the secret and the tokens: for tests, and for what
    /// stays within one machine. Default: `https` alone (RFC 6749, section 3.2).
    pub const fn allow_plain_http(mut self) -> Self {
        self.plain = true;
        self
    }

    /// How it behaves. Default: [`TokenSettings::new`].
    pub fn settings(mut self, settings: TokenSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Tell the time of day by this clock: a `Retry-After` that is a date, and what is signed with a key. Default: the system's.
    pub fn clock(mut self, clock: WallClock) -> Self {
        self.clock = clock;
        self
    }

    /// Draw from here when a token is replaced, how long to pause, and the names of what is signed. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Ask with this client: any service of HTTP requests, with whatever limits and retries it has. It is cloned for each fetch. It must not
    /// itself wait for this source, nor share a limit on calls at once or a pool with a cap with the client that sends the tokens: those that
    /// were answered with 401 keep their places there while they wait for another.
    ///
    /// Nothing is sent yet: the first who needs a token begins.
    ///
    /// # Errors
    ///
    /// [`InvalidOauth`], if the endpoint is no address, or the scope, a parameter or the settings are not possible.
    pub fn build<S, B>(self, client: S) -> Result<TokenSource, InvalidOauth>
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: http_body::Body<Error: Into<BoxError>, Data: Send> + Send + 'static,
    {
        let Self { endpoint, auth, scope, parameters, plain, settings, clock, rng } = self;
        settings.check()?;
        let endpoint: Uri = endpoint.parse().map_err(|_| InvalidOauth::Address { field: "endpoint" })?;
        if Origin::of(&endpoint).is_none_or(|origin| !plain && !origin.is_secure()) {
            return Err(InvalidOauth::Address { field: "endpoint" });
        }
        let mut grant = String::new();
        form::add(&mut grant, "grant_type", "client_credentials");
        if let Some(scope) = scope {
            if scope.is_empty() {
                return Err(InvalidOauth::Empty { field: "scope" });
            }
            if !scope.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
                return Err(InvalidOauth::Unwritable { field: "scope" });
            }
            form::add(&mut grant, "scope", &scope);
        }
        for (name, value) in parameters {
            if name.is_empty() {
                return Err(InvalidOauth::Empty { field: "parameter" });
            }
            if RESERVED.contains(&&*name) {
                return Err(InvalidOauth::Reserved { field: "parameter" });
            }
            form::add(&mut grant, &name, &value);
        }
        let ask = Ask::new(client, settings.max_response);
        Ok(TokenSource::new(ask, endpoint, auth, grant, settings, clock, rng))
    }
}

/// Shows the settings, and neither where it asks nor as whom.
impl fmt::Debug for TokenSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSourceBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
