//! With whose authority an attempt goes out.

use tower::util::Either;

use super::instead::Boxed;
use super::service::Timed;

/// The layer that gets tokens, if there is one. Boxed: those who have none are not to pay for the size of its future.
#[derive(Clone, Debug, Default)]
pub(super) struct Auth {
    #[cfg(feature = "oauth")]
    bearer: Option<crate::oauth::BearerLayer>,
}

impl Auth {
    /// With this layer, unless it is switched off.
    #[cfg(feature = "oauth")]
    pub(super) fn by(bearer: crate::oauth::BearerLayer) -> Self {
        Self { bearer: Some(bearer).filter(crate::oauth::BearerLayer::is_on) }
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
