use std::time::Duration;

use crate::base::{Delivery, Error, Kind};

/// What a [`Verifier`](super::Verifier) cannot be made of. It names the field.
///
/// ```
/// use stonework::jwt::{Algorithm, InvalidJwt, Keys, Verifier};
///
/// let algorithms: [Algorithm; 0] = [];
/// let made = Verifier::builder().keys(Keys::pending()).algorithms(algorithms).any_issuer().any_audience().build();
/// assert!(matches!(made.unwrap_err(), InvalidJwt::Empty { field: "algorithms", .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwt {
    /// It is no address, one without a host, or one that begins with something else than `https:`; or somebody's name or password, a
    /// fragment, or of an issuer a query stands in it.
    #[error("`{field}` is no address that can be used: `https://...`")]
    #[non_exhaustive]
    Address {
        /// The name of the field.
        field: &'static str,
    },
    /// There is nothing in it.
    #[error("`{field}` is empty, or a text in it is")]
    #[non_exhaustive]
    Empty {
        /// The name of the field.
        field: &'static str,
    },
    /// The same stands there twice.
    #[error("something stands twice in `{field}`")]
    #[non_exhaustive]
    Repeated {
        /// The name of the field.
        field: &'static str,
    },
    /// It is more than there may be.
    #[error("`{field}` is too large: at most {most}")]
    #[non_exhaustive]
    TooLarge {
        /// The name of the field.
        field: &'static str,
        /// How much it may be; of time, in seconds.
        most: usize,
    },
    /// It is less than there must be.
    #[error("`{field}` is too small: at least {least}")]
    #[non_exhaustive]
    TooSmall {
        /// The name of the field.
        field: &'static str,
        /// How much it must be.
        least: usize,
    },
    /// A scope has a character that scopes cannot have (RFC 6749, section 3.3), such as a space.
    #[error("`{field}` has a character that it cannot have")]
    #[non_exhaustive]
    Unwritable {
        /// The name of the field.
        field: &'static str,
    },
    /// No key is for an algorithm that is allowed, and nobody else has these [`Keys`](super::Keys), who could replace them: each token
    /// would be refused.
    #[error("`{field}` has no key for any of the algorithms that are allowed")]
    #[non_exhaustive]
    Useless {
        /// The name of the field.
        field: &'static str,
    },
}

/// Nobody can say whether a token is good: there are no keys yet, or nobody answers whether it was revoked. It stands at the end of the
/// chain of an [`Error`] of kind [`Overload`](Kind::Overload), which is answered with 503.
///
/// ```
/// use stonework::jwt::{Algorithm, CannotTell, Keys, Verifier};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), stonework::jwt::InvalidJwt> {
/// let verifier = Verifier::builder()
///     .keys(Keys::pending())
///     .algorithms([Algorithm::Es256])
///     .any_issuer()
///     .any_audience()
///     .build()?;
/// let error = verifier.verify("eyJhbGciOiJFUzI1NiJ9.e30.AA").await.unwrap_err();
/// assert_eq!(error.cause::<CannotTell>(), Some(&CannotTell::Keys));
/// assert!(error.is_overload() && error.retry_after().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotTell {
    /// There are no keys.
    #[error("there are no keys to verify tokens with")]
    Keys,
    /// Nobody says whether it was revoked.
    #[error("nobody says whether the token was revoked")]
    Revocation,
}

impl CannotTell {
    pub(super) fn error(self, retry_after: Duration) -> Error {
        Error::new(Kind::Overload, self).with_delivery(Delivery::NotSent).with_retry_after(retry_after)
    }
}
