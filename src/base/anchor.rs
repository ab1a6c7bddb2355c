//! What keeps the core of a handle for the calls in flight: one count of references for all calls would be what all threads wait for.

use std::sync::Arc;

use super::sync::Padded;
use super::{lane, lanes};

/// What handles and services share: a core, and an anchor to it for each lane.
pub(crate) struct Anchored<T> {
    core: Arc<T>,
    anchors: Box<[Arc<Anchor<T>>]>,
}

/// Keeps the core for the calls of one lane. It is wide, so that two counts of references do not share a cache line.
#[derive(Debug)]
pub(crate) struct Anchor<T>(Padded<(Arc<T>, usize)>);

impl<T> Anchored<T> {
    pub(crate) fn new(core: Arc<T>) -> Arc<Self> {
        let anchor = |lane| Arc::new(Anchor(Padded((Arc::clone(&core), lane))));
        let anchors = (0..lanes()).map(anchor).collect();
        Arc::new(Self { core, anchors })
    }

    pub(crate) const fn core(&self) -> &Arc<T> {
        &self.core
    }

    /// That of this thread's lane.
    #[inline]
    pub(crate) fn anchor(&self) -> &Arc<Anchor<T>> {
        &self.anchors[lane(self.anchors.len())]
    }

    /// Whether no call holds an anchor.
    #[cfg(feature = "breaker")]
    pub(crate) fn is_idle(&self) -> bool {
        self.anchors.iter().all(|anchor| Arc::strong_count(anchor) == 1)
    }
}

impl<T> Anchor<T> {
    #[inline]
    pub(crate) const fn core(&self) -> &Arc<T> {
        &self.0.0.0
    }

    /// Which one it is, of as many as there are [`lanes`].
    #[cfg(feature = "breaker")]
    #[inline]
    pub(crate) const fn lane(&self) -> usize {
        self.0.0.1
    }
}
