use std::fmt;

/// The server redirected a request more often than [`redirects`](crate::client::ClientSettings::redirects) allows.
///
/// It says how many redirects were followed, and not where to: URIs carry secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyRedirects {
    followed: u32,
}

impl TooManyRedirects {
    pub(super) const fn after(followed: u32) -> Self {
        Self { followed }
    }

    /// How many redirects were followed before this one was not.
    #[must_use]
    pub const fn followed(&self) -> u32 {
        self.followed
    }
}

impl fmt::Display for TooManyRedirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server redirected once more after {} redirects", self.followed)
    }
}

impl std::error::Error for TooManyRedirects {}

/// Why a redirect is not followed, whatever the settings. Nothing here shows where it led.
///
/// ```
/// use stonework::client::{Client, InvalidRedirect};
/// use stonework::testing::{ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let server = ScriptedServer::start(|_| respond(302).header("location", "ftp://files.internal/")).await;
/// let error = Client::new().get(server.uri("/")).send().await.unwrap_err();
/// assert_eq!(error.cause(), Some(&InvalidRedirect::Scheme));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedirect {
    /// It leads from `https` to `http`, where everybody on the way can read the request and write the answer.
    #[error("the server redirected from `https` to `http`")]
    Insecure,
    /// There are several `location` headers, or what stands in it is no URI of a host.
    #[error("the server redirected to something that is not a URI with a host")]
    Location,
    /// It leads to a scheme other than `http` and `https`.
    #[error("the server redirected to a scheme that is neither `http` nor `https`")]
    Scheme,
    /// It carries a user name or a password, which the server would choose for the caller.
    #[error("the server redirected to a URI with user information")]
    UserInfo,
}
