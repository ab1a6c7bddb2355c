//! Where what is read by all and seldom replaced lies.

use std::sync::Arc;

/// Readers neither wait for each other nor for whoever replaces it.
#[cfg(not(stonework_loom))]
pub(super) struct Shelf<T>(arc_swap::ArcSwap<T>);

#[cfg(not(stonework_loom))]
impl<T> Shelf<T> {
    pub(super) fn new(first: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(first))
    }

    pub(super) fn look(&self) -> impl std::ops::Deref<Target = Arc<T>> {
        self.0.load()
    }

    pub(super) fn replace(&self, next: T) {
        self.0.store(Arc::new(next));
    }
}

/// The same, as far as loom can follow: what has been replaced is seen by whoever looks later.
#[cfg(stonework_loom)]
pub(super) struct Shelf<T>(crate::base::sync::Mutex<Arc<T>>);

#[cfg(stonework_loom)]
impl<T> Shelf<T> {
    pub(super) fn new(first: T) -> Self {
        Self(crate::base::sync::Mutex::new(Arc::new(first)))
    }

    pub(super) fn look(&self) -> impl std::ops::Deref<Target = Arc<T>> {
        Box::new(Arc::clone(&self.0.lock().expect("nobody panics with it")))
    }

    pub(super) fn replace(&self, next: T) {
        *self.0.lock().expect("nobody panics with it") = Arc::new(next);
    }
}
