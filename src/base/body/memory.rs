//! Bytes in memory as a body.

use bytes::Bytes;

/// Bytes in memory that are a body: what has been given out is remembered once they are recorded.
#[derive(Clone)]
pub(super) struct Memory {
    data: Bytes,
    read: bool,
    recorded: bool,
}

impl Memory {
    pub(super) const fn new(data: Bytes) -> Self {
        Self { data, read: false, recorded: false }
    }

    pub(super) fn size(&self) -> u64 {
        if self.read { 0 } else { self.data.len() as u64 }
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.read || self.data.is_empty() {
            return None;
        }
        self.read = true;
        Some(if self.recorded { self.data.clone() } else { std::mem::take(&mut self.data) })
    }

    pub(super) fn record(&mut self, cap: usize) -> bool {
        let fits = self.data.len() <= cap && (self.recorded || !self.read);
        self.recorded |= fits;
        fits
    }

    pub(super) fn fork(&self) -> Option<Self> {
        (self.recorded || !self.read).then(|| Self { read: false, ..self.clone() })
    }
}
