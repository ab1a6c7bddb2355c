use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Whether a connection over HTTP/2 hears anything from its peer.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    reads: AtomicU64,
    /// What was read last has been looked at.
    looked: Notify,
    /// Somebody waits for the first settings.
    greeting: AtomicBool,
}

impl Pulse {
    pub(super) fn greeting() -> Self {
        Self { greeting: AtomicBool::new(true), ..Self::default() }
    }

    /// Something was read.
    pub(super) fn beat(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something was read so far.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// More is to be read, so what was read before has been dealt with.
    pub(super) fn looks_again(&self) {
        if self.greeting.load(Ordering::Relaxed) && self.reads() > 0 {
            self.looked.notify_one();
        }
    }

    /// Until something that was read has been dealt with, since the last time.
    pub(super) async fn looked(&self) {
        self.looked.notified().await;
    }

    pub(super) fn greeted(&self) {
        self.greeting.store(false, Ordering::Relaxed);
    }
}
