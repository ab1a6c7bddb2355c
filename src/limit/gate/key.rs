use std::fmt;

/// A limit for each key: a limiter that has one for each, and what says which a request belongs to ([`KeyOf`](crate::base::KeyOf)).
/// Made by the layers' `keyed`.
#[derive(Clone)]
pub struct Keyed<L, F> {
    pub(in crate::limit) limiter: L,
    pub(in crate::limit) key: F,
}

#[cfg(feature = "server")]
impl<L, F> Keyed<L, F> {
    pub(crate) const fn new(limiter: L, key: F) -> Self {
        Self { limiter, key }
    }
}

impl<L: fmt::Debug, F> fmt::Debug for Keyed<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}

/// A limit that some requests are exempt from. Made by the layers' `except`: see
/// [`RateLimitLayer`](crate::limit::RateLimitLayer::except).
#[derive(Clone)]
pub struct Except<L, F> {
    pub(in crate::limit) limit: L,
    pub(in crate::limit) exempt: F,
}

impl<L: fmt::Debug, F> fmt::Debug for Except<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Except").field("limit", &self.limit).finish_non_exhaustive()
    }
}
