//! Layers that are made of two parts: settings, which may stand in a file, and what only a program has, such as keys, a store or a type.

use std::fmt;

use super::inside::Place;
use super::{InvalidServer, ServerBuilder, ServerSettings};
#[cfg(feature = "idempotency")]
use crate::idempotency::{IdempotencyLayer, IdempotencySettings, InvalidIdempotency, Store};
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
use crate::jwt::{IntrospectLayer, IntrospectSettings, InvalidJwt, JwtLayer, JwtSettings};

impl ServerSettings {
    /// What tokens have to be, for the layer that [`jwt_with`](ServerBuilder::jwt_with) makes. To say this without that is an error, since
    /// whoever wrote it believes that tokens are looked at. Default: not said; [`JwtSettings::new`] holds then.
    ///
    /// ```
    /// use stonework::jwt::JwtSettings;
    /// use stonework::server::ServerSettings;
    ///
    /// let settings = ServerSettings::new().jwt(JwtSettings::new().require(["sub"]));
    /// # #[cfg(feature = "serde")] {
    /// let read: ServerSettings = serde_json::from_str(r#"{ "jwt": { "required_claims": ["sub"] } }"#).unwrap();
    /// assert_eq!(read, settings);
    /// # }
    /// # let _ = settings;
    /// ```
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn jwt(mut self, settings: JwtSettings) -> Self {
        self.jwt = Some(settings);
        self
    }

    /// How tokens are asked about, for the layer that [`introspect_with`](ServerBuilder::introspect_with) makes; likewise. Default: not said.
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn introspect(mut self, settings: IntrospectSettings) -> Self {
        self.introspect = Some(settings);
        self
    }

    /// How keyed requests are done, for the layer that [`idempotency_with`](ServerBuilder::idempotency_with) makes; likewise. Default: not said.
    #[cfg(feature = "idempotency")]
    #[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
    pub fn idempotency(mut self, settings: IdempotencySettings) -> Self {
        self.idempotency = Some(settings);
        self
    }

    pub(super) fn check_brought(&self) -> Result<(), InvalidServer> {
        #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
        {
            self.jwt.as_ref().map_or(Ok(()), JwtSettings::check).map_err(InvalidServer::Jwt)?;
            let introspect = self.introspect.as_ref();
            introspect.map_or(Ok(()), IntrospectSettings::check).map_err(InvalidServer::Introspect)?;
        }
        #[cfg(feature = "idempotency")]
        {
            let keyed = self.idempotency.as_ref();
            keyed.map_or(Ok(()), IdempotencySettings::check).map_err(InvalidServer::Idempotency)?;
        }
        Ok(())
    }

    /// The settings that say something for which a program has to bring the rest, and to which setter.
    fn halves(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            ("jwt", "jwt_with", self.jwt.is_some()),
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            ("introspect", "introspect_with", self.introspect.is_some()),
            #[cfg(feature = "idempotency")]
            ("idempotency", "idempotency_with", self.idempotency.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, setter, is_said): (_, _, bool)| is_said.then_some((field, setter)))
    }
}

impl ServerBuilder {
    /// As [`jwt`](Self::jwt), with a layer that `make` makes of the settings' [`jwt`](ServerSettings::jwt) when the server begins to listen: it brings the
    /// keys, and whom tokens are from and for.
    ///
    /// ```
    /// use stonework::jwt::{Algorithm, JwtLayer, Keys, Verifier};
    /// use stonework::server::{Server, ServerSettings};
    ///
    /// fn builder(settings: ServerSettings, keys: Keys) -> stonework::server::ServerBuilder {
    ///     Server::builder().settings(settings).jwt_with(move |settings| {
    ///         let verifier = Verifier::builder()
    ///             .keys(keys)
    ///             .algorithms([Algorithm::Es256])
    ///             .issuer("https://id.example")
    ///             .audience("https://api.example")
    ///             .settings(settings)
    ///             .build()?;
    ///         Ok(JwtLayer::new(verifier))
    ///     })
    /// }
    /// # let _ = builder;
    /// ```
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn jwt_with<T, F>(mut self, make: F) -> Self
    where
        T: Send + Sync + 'static,
        F: FnOnce(JwtSettings) -> Result<JwtLayer<T>, InvalidJwt> + Send + Sync + 'static,
    {
        self.brought.put(Place::Tokens, "jwt", move |builder| {
            let layer = make(builder.settings.jwt.clone().unwrap_or_default()).map_err(InvalidServer::Jwt)?;
            builder.put_jwt(layer);
            Ok(())
        });
        self
    }

    /// As [`introspect`](Self::introspect), with a layer that `make` makes of the settings' [`introspect`](ServerSettings::introspect) when the server begins
    /// to listen: it brings whom to ask, and with which secret.
    ///
    /// ```
    /// use stonework::base::ClientAuth;
    /// use stonework::client::Client;
    /// use stonework::jwt::{IntrospectLayer, Introspector};
    /// use stonework::server::{Server, ServerBuilder, ServerSettings};
    ///
    /// fn builder(settings: ServerSettings, secret: ClientAuth, client: Client) -> ServerBuilder {
    ///     Server::builder().settings(settings).introspect_with(move |settings| {
    ///         let introspector = Introspector::builder("https://id.example/introspect", secret)
    ///             .issuer("https://id.example")
    ///             .audiences(["https://api.example"])
    ///             .settings(settings)
    ///             .build(client)?;
    ///         Ok(IntrospectLayer::new(introspector))
    ///     })
    /// }
    /// # let _ = builder;
    /// ```
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn introspect_with<F>(mut self, make: F) -> Self
    where
        F: FnOnce(IntrospectSettings) -> Result<IntrospectLayer, InvalidJwt> + Send + Sync + 'static,
    {
        self.brought.put(Place::Tokens, "introspect", move |builder| {
            let settings = builder.settings.introspect.clone().unwrap_or_default();
            let layer = make(settings).map_err(InvalidServer::Introspect)?;
            builder.put_introspect(layer);
            Ok(())
        });
        self
    }

    /// As [`idempotency`](Self::idempotency), with a layer that `make` makes of the settings' [`idempotency`](ServerSettings::idempotency) when the server begins to
    /// listen: it brings the store.
    ///
    /// ```
    /// use stonework::idempotency::{IdempotencyLayer, MemoryStore};
    /// use stonework::server::{Server, ServerSettings};
    ///
    /// let settings = ServerSettings::new();
    /// let store = MemoryStore::new();
    /// let builder = Server::builder()
    ///     .settings(settings)
    ///     .idempotency_with(move |settings| IdempotencyLayer::new(store).settings(settings));
    /// # let _ = builder;
    /// ```
    #[cfg(feature = "idempotency")]
    #[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
    pub fn idempotency_with<S, K, R, F>(mut self, make: F) -> Self
    where
        S: Store,
        K: crate::base::KeyOf<http::Request<crate::Body>, Key: fmt::Display> + Clone + Send + Sync + 'static,
        R: crate::base::Refuse + Clone + Send + Sync + 'static,
        F: FnOnce(IdempotencySettings) -> Result<IdempotencyLayer<S, K, R>, InvalidIdempotency>
            + Send
            + Sync
            + 'static,
    {
        self.brought.put(Place::Idempotency, "idempotency", move |builder| {
            let settings = builder.settings.idempotency.clone().unwrap_or_default();
            let layer = make(settings).map_err(InvalidServer::Idempotency)?;
            builder.put_idempotency(layer);
            Ok(())
        });
        self
    }

    /// Make what is made of settings. No setting may be there that nothing goes by.
    pub(super) fn complete(&mut self) -> Result<(), InvalidServer> {
        self.settings.check()?;
        let brought = std::mem::take(&mut self.brought);
        for (field, setter) in self.settings.halves() {
            if !brought.0.iter().any(|one| one.field == field) {
                return Err(InvalidServer::NotBrought { field, setter });
            }
        }
        brought.0.into_iter().try_for_each(|one| (one.make)(self))?;
        self.check_senders()
    }
}

type Make = dyn FnOnce(&mut ServerBuilder) -> Result<(), InvalidServer> + Send + Sync;

/// What a program brought to settings, until they are known.
#[derive(Default)]
pub(super) struct Brought(Vec<One>);

struct One {
    place: Place,
    field: &'static str,
    make: Box<Make>,
}

#[cfg_attr(
    not(any(feature = "idempotency", feature = "jwt", feature = "jwt-rust-crypto")),
    expect(dead_code, reason = "each is of a feature")
)]
impl Brought {
    fn put(
        &mut self,
        place: Place,
        field: &'static str,
        make: impl FnOnce(&mut ServerBuilder) -> Result<(), InvalidServer> + Send + Sync + 'static,
    ) {
        self.forget(place);
        self.0.push(One { place, field, make: Box::new(make) });
    }

    /// Something else was given for this place.
    pub(super) fn forget(&mut self, place: Place) {
        self.0.retain(|one| one.place != place);
    }
}

impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|one| one.field)).finish()
    }
}
