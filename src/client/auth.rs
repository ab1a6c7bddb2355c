//! With whose authority an attempt goes out.

#[cfg(feature = "oauth")]
use std::{fmt, sync::Arc};

use tower::util::Either;

#[cfg(feature = "oauth")]
use super::ClientBuilder;
use super::instead::Boxed;
use super::service::Timed;
use super::{ClientSettings, InvalidClient};
#[cfg(feature = "oauth")]
use crate::oauth::{BearerLayer, InvalidOauth, TokenSettings};

#[cfg(feature = "oauth")]
impl ClientSettings {
    /// How tokens are got, for the layer that [`bearer_with`](ClientBuilder::bearer_with) makes. To say this without that is an error, since
    /// whoever wrote it believes that requests have tokens. Default: not said; [`TokenSettings::new`] holds then.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::client::ClientSettings;
    /// use stonework::oauth::TokenSettings;
    ///
    /// let settings = ClientSettings::new().bearer(TokenSettings::new().fetch_timeout(Duration::from_secs(3)));
    /// # #[cfg(feature = "serde")] {
    /// let read: ClientSettings = serde_json::from_str(r#"{ "bearer": { "fetch_timeout": "3s" } }"#).unwrap();
    /// assert_eq!(read, settings);
    /// # }
    /// # let _ = settings;
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    pub fn bearer(mut self, settings: TokenSettings) -> Self {
        self.bearer = Some(settings);
        self
    }
}

#[cfg(feature = "oauth")]
impl ClientBuilder {
    /// As [`bearer`](Self::bearer), with a layer that `make` makes of the settings' [`bearer`](ClientSettings::bearer) when the client is built: it brings the
    /// secret, where tokens are got, and for which origins they are.
    ///
    /// ```
    /// use stonework::base::ClientAuth;
    /// use stonework::client::{Client, ClientSettings, InvalidClient};
    /// use stonework::oauth::{BearerLayer, TokenSource};
    ///
    /// fn client(settings: ClientSettings, secret: ClientAuth) -> Result<Client, InvalidClient> {
    ///     let make = move |settings| {
    ///         let source = TokenSource::builder("https://id.example/token", secret.clone()).settings(settings);
    ///         // The client that asks for tokens is another one, or it would wait for itself.
    ///         BearerLayer::new(source.build(Client::new())?, ["https://stock.example"])
    ///     };
    ///     Client::builder().settings(settings).bearer_with(make).build()
    /// }
    /// # let _ = client;
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
    pub fn bearer_with<F>(mut self, make: F) -> Self
    where
        F: Fn(TokenSettings) -> Result<BearerLayer, InvalidOauth> + Send + Sync + 'static,
    {
        self.auth = Auth { bearer: None, make: Some(Make(Arc::new(make))) };
        self
    }
}

/// The layer that gets tokens, if there is one. Boxed: those who have none are not to pay for the size of its future.
#[derive(Clone, Debug, Default)]
pub(super) struct Auth {
    #[cfg(feature = "oauth")]
    bearer: Option<BearerLayer>,
    /// What makes it, until the settings are known.
    #[cfg(feature = "oauth")]
    make: Option<Make>,
}

#[cfg(feature = "oauth")]
#[derive(Clone)]
struct Make(Arc<dyn Fn(TokenSettings) -> Result<BearerLayer, InvalidOauth> + Send + Sync>);

#[cfg(feature = "oauth")]
impl fmt::Debug for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Make")
    }
}

impl Auth {
    /// With this layer, unless it is switched off.
    #[cfg(feature = "oauth")]
    pub(super) fn by(bearer: BearerLayer) -> Self {
        Self { bearer: Some(bearer).filter(BearerLayer::is_on), make: None }
    }

    /// Make what is made of settings, which were checked. They may not say anything that nothing goes by.
    #[cfg(feature = "oauth")]
    pub(super) fn complete(&mut self, settings: &ClientSettings) -> Result<(), InvalidClient> {
        match (self.make.take(), &settings.bearer) {
            (Some(Make(make)), said) => {
                *self = Self::by(make(said.clone().unwrap_or_default()).map_err(InvalidClient::Bearer)?);
                Ok(())
            }
            (None, Some(_)) => Err(InvalidClient::NotBrought { field: "bearer", setter: "bearer_with" }),
            (None, None) => Ok(()),
        }
    }

    #[cfg(not(feature = "oauth"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "with the feature there is something in it"
    )]
    pub(super) fn complete(&mut self, _: &ClientSettings) -> Result<(), InvalidClient> {
        Ok(())
    }

    #[cfg(feature = "oauth")]
    pub(super) fn around(&self, attempt: Timed) -> Either<Boxed, Timed> {
        use tower_layer::Layer;

        match &self.bearer {
            Some(bearer) => Either::Left(Boxed::new(bearer.layer(attempt))),
            None => Either::Right(attempt),
        }
    }

    #[cfg(not(feature = "oauth"))]
    #[expect(clippy::unused_self, reason = "with the feature there is something in it")]
    pub(super) fn around(&self, attempt: Timed) -> Either<Boxed, Timed> {
        Either::Right(attempt)
    }

    /// In words.
    #[cfg(feature = "oauth")]
    pub(super) fn told(&self) -> Option<String> {
        let origins = self.bearer.as_ref()?.origins();
        Some(format!("tokens for {origins}"))
    }

    #[cfg(not(feature = "oauth"))]
    #[expect(clippy::unused_self, reason = "with the feature there is something in it")]
    pub(super) fn told(&self) -> Option<String> {
        None
    }
}
