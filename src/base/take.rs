//! The service that was made ready.

use std::mem;

/// The service, with a clone in its place: the one that was made ready is the one that is called, and what it reserved goes with it.
pub(crate) fn take<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}
