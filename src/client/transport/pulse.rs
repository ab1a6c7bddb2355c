use std::sync::atomic::{AtomicU64, Ordering};

/// Whether a connection over HTTP/2 hears anything from its peer.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    reads: AtomicU64,
}

impl Pulse {
    /// Something was read.
    pub(super) fn beat(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was read so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}
