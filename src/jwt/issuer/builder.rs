use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::handle::Shared;
use super::paths::Paths;
use super::rotation::Rotation;
use super::{Issuer, IssuerSettings, SigningKey};
use crate::base::sync::Mutex;
use crate::base::{Rng, WallClock};
use crate::jwt::remote::issuer_address;
use crate::jwt::{Algorithm, Backend, InvalidJwt};

/// Makes an [`Issuer`]; an example stands there.
#[derive(Debug)]
#[must_use = "it makes nothing until `build` is called"]
pub struct IssuerBuilder {
    issuer: String,
    algorithm: Algorithm,
    backend: Backend,
    clock: WallClock,
    key: Option<SigningKey>,
    kind: String,
    metadata: Vec<(String, Option<Value>)>,
    plain: bool,
    rng: Rng,
    settings: IssuerSettings,
}

impl IssuerBuilder {
    pub(super) fn new(issuer: String) -> Self {
        Self {
            issuer,
            algorithm: Algorithm::EdDsa,
            backend: Backend::default(),
            clock: WallClock::system(),
            key: None,
            kind: "JWT".into(),
            metadata: Vec::new(),
            plain: false,
            rng: Rng::default(),
            settings: IssuerSettings::new(),
        }
    }

    /// How keys that are made here sign: [`Algorithm::EdDsa`] or [`Algorithm::Es256`], which more libraries know. Default: EdDSA.
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Let this sign and make keys. Default: [`Backend::default`].
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Go by this calendar. Default: that of the machine.
    pub fn clock(mut self, clock: WallClock) -> Self {
        self.clock = clock;
        self
    }

    /// Begin with this key, which was kept. Default: with a new one. Others follow it, day by day, unless the settings are
    /// [`without_rotation`](IssuerSettings::without_rotation): a verifier that has this one alone refuses theirs.
    pub fn key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// What tokens say that they are (`typ`): `at+jwt` for those that give access (RFC 9068). Default: `JWT`.
    pub fn token_type(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Say this in the discovery document as well, such as the `token_endpoint`. What the issuer says there of itself and its keys stays.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.metadata.push((name.into(), serde_json::to_value(value).ok()));
        self
    }

    /// Also take a name that begins with `http:`: for tests, and for what stays within one machine. Default: `https` alone.
    pub const fn allow_plain_http(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Draw the names of tokens from here. Default: seeded by the operating system.
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// How it goes about its keys and tokens. Default: [`IssuerSettings::new`].
    pub const fn settings(mut self, settings: IssuerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The issuer, with a key.
    ///
    /// # Errors
    ///
    /// [`InvalidJwt`], which names the field.
    pub fn build(self) -> Result<Issuer, InvalidJwt> {
        let Self { issuer, algorithm, backend, clock, key, kind, metadata, plain, rng, settings } = self;
        settings.check()?;
        let address = issuer_address(&issuer, plain).ok_or(InvalidJwt::Address { field: "issuer" })?;
        if kind.is_empty() {
            return Err(InvalidJwt::Empty { field: "token_type" });
        }
        let metadata: Option<Map<String, Value>> =
            metadata.into_iter().map(|(name, value)| Some((name, value?))).collect();
        let metadata = metadata.ok_or(InvalidJwt::Unwritable { field: "metadata" })?;
        let unwritable = InvalidJwt::Unwritable { field: "algorithm" };
        let first = match key {
            Some(key) => key,
            None => SigningKey::generate_with(algorithm, backend).map_err(|_| unwritable)?,
        };
        if !matches!(algorithm, Algorithm::EdDsa | Algorithm::Es256) {
            return Err(unwritable);
        }
        let rotation = Rotation::new(Arc::new(first), settings.pace(), Instant::now());
        Ok(Issuer::new(Shared {
            algorithm,
            backend,
            clock,
            paths: Paths::of(&issuer, address.path()),
            issuer: issuer.into(),
            kind: kind.into(),
            metadata,
            rng,
            rotation: Mutex::new(rotation),
            settings,
        }))
    }
}
