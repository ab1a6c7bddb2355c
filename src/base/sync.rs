//! Atomics and locks, or loom's in their place while it explores interleavings.

#[cfg(stonework_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool, atomic::AtomicU64};
pub(crate) use std::sync::atomic::Ordering;
#[cfg(not(stonework_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool, atomic::AtomicU64};

/// Alone on its cache lines (two of them, since processors fetch them in pairs), so that writing to it disturbs no other
/// core.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);
