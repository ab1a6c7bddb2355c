use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

/// A token that a server gave, as requests carry it. Copying it copies no text. `Debug` shows nothing of it.
///
/// A [`BearerLayer`](super::BearerLayer) puts it where it belongs; whoever needs it elsewhere, such as in the first message of a connection,
/// takes it from here.
#[derive(Clone)]
pub struct AccessToken(Arc<Inner>);

struct Inner {
    /// With `Bearer` in front.
    value: HeaderValue,
    scope: Option<Box<str>>,
}

/// Before the token, in the value of the field.
const BEARER: &str = "Bearer ";

impl AccessToken {
    /// Nothing, if it has characters that no token has (RFC 6750, section 2.1): it could not be sent.
    pub(super) fn new(token: &str, scope: Option<&str>) -> Option<Self> {
        // Visible, and without those that end a value where several stand in one field.
        if token.is_empty() || !token.bytes().all(|byte| matches!(byte, b'!'..=b'~') && byte != b',') {
            return None;
        }
        let mut value = HeaderValue::try_from([BEARER, token].concat()).ok()?;
        value.set_sensitive(true);
        Some(Self(Arc::new(Inner { value, scope: scope.map(Into::into) })))
    }

    /// The value of `Authorization`, `Bearer …`, marked as sensitive, so that whoever shows headers does not show it.
    #[must_use]
    pub fn header(&self) -> &HeaderValue {
        &self.0.value
    }

    /// The token itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.0.value.to_str().ok().and_then(|value| value.strip_prefix(BEARER)).unwrap_or_default()
    }

    /// What it is good for, words between spaces, if the server said so. It need not be what was asked for (RFC 6749, section 3.3).
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.0.scope.as_deref()
    }

    /// Whether it is this very one, and not another that reads the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}
