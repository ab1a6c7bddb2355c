use std::fmt;

/// A limit that knows how much requests matter. Made by
/// [`ConcurrencyLimitLayer::priority`](crate::limit::ConcurrencyLimitLayer::priority).
#[derive(Clone)]
pub struct Prioritized<L, F> {
    pub(super) limit: L,
    pub(super) priority: F,
}

impl<L: fmt::Debug, F> fmt::Debug for Prioritized<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prioritized").field("limit", &self.limit).finish_non_exhaustive()
    }
}
