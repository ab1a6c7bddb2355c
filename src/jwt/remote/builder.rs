use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use tokio::time::Instant;
use tower_service::Service;

use super::core::Core;
use super::fetch::{Fetcher, Source};
use super::refresh::refresh;
use super::{RemoteKeys, RemoteKeysSettings, document};
use crate::base::body::Body;
use crate::base::{BoxError, Observe, Observer, Rng};
use crate::jwt::{InvalidJwt, Keys};

/// Makes [`RemoteKeys`]; an example stands there.
#[must_use = "nothing is fetched until `build` is called"]
pub struct RemoteKeysBuilder<S> {
    client: S,
    place: Place,
    plain: bool,
    settings: RemoteKeysSettings,
    observer: Option<Arc<dyn Observer>>,
    rng: Rng,
}

enum Place {
    Issuer(String),
    Jwks(String),
}

impl<S> RemoteKeysBuilder<S> {
    pub(super) fn issuer(client: S, issuer: String) -> Self {
        Self::new(client, Place::Issuer(issuer))
    }

    pub(super) fn jwks(client: S, address: String) -> Self {
        Self::new(client, Place::Jwks(address))
    }

    fn new(client: S, place: Place) -> Self {
        let (settings, rng) = (RemoteKeysSettings::new(), Rng::default());
        Self { client, place, plain: false, settings, observer: None, rng }
    }

    /// When they are fetched. Default: [`RemoteKeysSettings::new`].
    pub fn settings(mut self, settings: RemoteKeysSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Also take addresses that begin with `http:`, where whoever is on the way can put keys of their own: for tests, and for what stays
    /// within one machine. Default: `https` alone.
    pub const fn allow_plain_http(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Tell this one when keys are replaced, which are left out, and when they cannot be fetched
    /// ([`KeysNotFetched`](crate::base::Event::KeysNotFetched)). Default: nobody.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Draw jitter from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Starts to fetch them, and waits for nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], which names the setting or the address that cannot be.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    pub fn build<B>(self) -> Result<RemoteKeys, InvalidJwt>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + 'static,
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Self { client, place, plain, settings, observer, rng } = self;
        settings.check()?;
        let (source, name) = match place {
            Place::Issuer(issuer) => {
                document::configuration(&issuer, plain).ok_or(InvalidJwt::Address { field: "issuer" })?;
                let name = Arc::from(issuer.as_str());
                (Source::Issuer { issuer, plain, found: None }, name)
            }
            Place::Jwks(address) => {
                let uri = document::address(&address, plain);
                let uri = uri.ok_or(InvalidJwt::Address { field: "address" })?;
                // What stands behind the question mark is nobody's business.
                let name = address.split('?').next().unwrap_or_default().into();
                (Source::Jwks(uri), name)
            }
        };
        let (keys, observe) = match observer {
            Some(observer) => (Keys::pending().observer(Arc::clone(&observer)), Observe::by(observer)),
            None => (Keys::pending(), Observe::default()),
        };
        let fetcher = Fetcher { client, source, max_size: settings.max_size, timeout: settings.timeout };
        let core = Arc::new(Core::new(keys, settings, name, observe, rng, Instant::now()));
        let task = tokio::spawn(refresh(Arc::clone(&core), fetcher));
        Ok(RemoteKeys::new(core, task))
    }
}

impl<S> fmt::Debug for RemoteKeysBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeysBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
