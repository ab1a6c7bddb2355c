use std::fmt;
use std::sync::Arc;

use http::Extensions;

/// Which of its routes a service took a request for, such as `/users/{id}`: an extension of a request, or of its response.
///
/// It is what logs and metrics call a request by, since of paths there are as many as clients like to make up. Put it into the response, where
/// everything outside sees it; or put a [`RouteLayer`](crate::observe::RouteLayer) inside, which tells it to those outside also if there is no response.
///
/// ```
/// use http::Response;
/// use stonework::base::Route;
///
/// let mut response = Response::new(());
/// response.extensions_mut().insert(Route::from("/users/{id}"));
/// assert_eq!(Route::of(response.extensions()).unwrap().as_str(), "/users/{id}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route(Arc<str>);

impl Route {
    /// That of a request or of a response, if it is known.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl From<&str> for Route {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Route {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
