use std::fmt;
use std::sync::Arc;

use crate::base::Error;

/// The call that several shared has failed: the cause of the [`Error`] of each of them, which is of the same kind.
///
/// ```
/// use stonework::Error;
/// use stonework::coalesce::SharedCallFailed;
///
/// // As an error of its own, where it matters that others were told the same.
/// fn shared(error: &Error) -> Option<&Error> {
///     error.cause::<SharedCallFailed>().map(SharedCallFailed::error)
/// }
/// # let _ = shared;
/// ```
#[derive(Clone, Debug)]
pub struct SharedCallFailed(pub(super) Arc<Error>);

impl SharedCallFailed {
    /// What it failed with.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }
}

impl fmt::Display for SharedCallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call that was made for several failed")
    }
}

impl std::error::Error for SharedCallFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
