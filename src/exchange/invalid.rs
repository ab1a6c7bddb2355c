use http::HeaderName;

use crate::base::{BoxError, Error, InvalidKey, Kind};

/// Why a request cannot be sent as it is: the [source](std::error::Error::source) of an [`Error`] of [`Kind::Invalid`].
///
/// It names the part that is wrong, and never shows its value: URIs and headers carry secrets.
///
/// ```
/// use stonework::client::{Client, InvalidRequest};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let error = Client::new().get("/only/a/path").send().await.unwrap_err();
/// assert!(matches!(error.cause(), Some(InvalidRequest::Relative)));
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The method is CONNECT, which asks for a tunnel.
    #[error("a client cannot send the method CONNECT")]
    Connect,
    /// The header `content-length` is not the length of the body.
    #[error("the header `content-length` is not the length of the body")]
    ContentLength,
    /// A user name has a colon in it, or a user name or password a control character (RFC 7617, section 2).
    #[error("the user name or the password has a character that cannot be sent")]
    Credentials,
    /// The value could not be written as a form.
    #[error("the body cannot be written as a form")]
    Form(#[source] BoxError),
    /// The name of a header is not valid.
    #[error("the name of a header is not valid")]
    HeaderName,
    /// The value of this header is not valid.
    #[error("the value of the header `{0}` is not valid")]
    HeaderValue(HeaderName),
    /// The idempotency key is not valid.
    #[error(transparent)]
    IdempotencyKey(#[from] InvalidKey),
    /// The value could not be written as JSON.
    #[error("the body cannot be written as JSON")]
    Json(#[source] BoxError),
    /// What stands in the place of the port is not one.
    #[error("the port of the URI is not a number from 0 to 65535")]
    Port,
    /// The value could not be written as a query.
    #[error("the value cannot be written as a query of the URI")]
    Query(#[source] BoxError),
    /// The URI lacks the scheme or the host.
    #[error("the URI needs a scheme and a host, as in `http://host/path`")]
    Relative,
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme of the URI is neither `http` nor `https`")]
    Scheme,
    /// The scheme is `https`, and the crate was built without the feature `tls`.
    #[error("the URI asks for TLS, which needs the feature `tls`")]
    Tls,
    /// The URI cannot be parsed, or is too long.
    #[error(
        "the URI is too long, or not one that begins with a scheme and a host, as `http://host/path` does"
    )]
    Uri,
    /// The URI carries a user name or a password.
    #[error("the URI carries user information; credentials belong in the header `authorization`")]
    UserInfo,
}

impl From<InvalidRequest> for Error {
    fn from(invalid: InvalidRequest) -> Self {
        Self::new(Kind::Invalid, invalid)
    }
}
