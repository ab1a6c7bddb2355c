//! Atomics and locks, or loom's in their place while it explores interleavings.

#[cfg(stonework_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool, atomic::AtomicU64};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(stonework_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool, atomic::AtomicU64};

/// Between a `SeqCst` write and a `SeqCst` read of something else, which rely on the one order that all such accesses have.
/// loom has no such order but for fences, so it gets one here, which says the same; elsewhere this is nothing.
#[inline]
pub(crate) fn in_one_order() {
    #[cfg(stonework_loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Alone on its cache lines (two of them, since processors fetch them in pairs), so that writing to it disturbs no other
/// core.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
