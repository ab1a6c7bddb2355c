use std::sync::Arc;

use http::Response;

use crate::base::{Error, StandsIn};

/// The response is not that of the service that was called: an extension of the response.
///
/// ```
/// use http::Response;
/// use stonework::fallback::Fallback;
///
/// let response = Response::new(());
/// assert!(Fallback::of(&response).is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Fallback(Arc<Error>);

impl Fallback {
    /// What a response says of itself, or `None` if it is that of the service that was called.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<&Self> {
        response.extensions().get()
    }

    /// What the call failed with. Where several fallbacks stand in each other's place, it is the error that the outermost
    /// met.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }

    pub(super) fn mark<B>(response: &mut Response<B>, error: Error) {
        StandsIn::tell(response.extensions_mut());
        response.extensions_mut().insert(Self(Arc::new(error)));
    }
}
