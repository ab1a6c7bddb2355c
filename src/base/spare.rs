//! What further attempts are made with.

use std::sync::{Mutex, OnceLock, PoisonError};

/// A clone of a service, of which further attempts of its calls are clones. So a call that is not repeated, as nearly all are, does not clone the
/// service: its only attempt is made with the one that was made ready, where that lies.
pub(crate) struct Spare<S>(OnceLock<Mutex<S>>);

impl<S> Spare<S> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl<S: Clone> Spare<S> {
    /// A call begins: see that there is a service for all of its attempts.
    pub(crate) fn keep(&self, service: &S) {
        self.0.get_or_init(|| Mutex::new(service.clone()));
    }

    /// A service for another attempt of a call.
    pub(crate) fn service(&self) -> S {
        let spare = self.0.get().expect("kept by the call that goes on");
        spare.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
