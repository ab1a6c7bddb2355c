use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::host::Host;

/// A place that a socket takes, from before it is opened until after it is closed.
pub(super) struct Place {
    host: Arc<Host>,
    opened: AtomicBool,
}

impl Place {
    pub(super) const fn new(host: Arc<Host>) -> Self {
        Self { host, opened: AtomicBool::new(false) }
    }

    /// It is that of a connection now.
    pub(super) fn opened(&self) {
        self.opened.store(true, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.host.closed(*self.opened.get_mut());
    }
}
