use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, StatusCode};

type Hook = dyn Fn(StatusCode, &HeaderMap) + Send + Sync;

/// Who hears what a server says before its answer. It travels with the request.
#[derive(Clone)]
pub(super) struct Informational(Arc<Hook>);

impl Informational {
    pub(super) fn new(hook: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// With this request from now on.
    pub(super) fn go_with(self, extensions: &mut Extensions) {
        extensions.insert(self);
    }

    pub(super) fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        (self.0)(status, headers);
    }
}

impl fmt::Debug for Informational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Informational")
    }
}
