//! Work that may panic.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;

use super::error::Error;
use super::kind::Kind;

/// A future that ends with what it panicked with.
///
/// It is not polled again then, and dropped: what it left half done can only be seen through what it shares with others,
/// who see the same after any panic of a task.
#[pin_project]
pub(crate) struct Caught<F>(#[pin] pub(crate) F);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let work = self.project().0;
        match caught(|| work.poll(cx)) {
            Ok(result) => result.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// What somebody panicked with.
pub(crate) type Panic = Box<dyn Any + Send>;

/// The same for one step, after which nobody goes on with what it was about.
#[inline]
pub(crate) fn caught<R>(step: impl FnOnce() -> R) -> Result<R, Panic> {
    panic::catch_unwind(AssertUnwindSafe(step))
}

/// The same for a step with what lies there. If it panics, that is dropped while it does, so that what it holds can see that.
#[inline]
pub(crate) fn caught_with<T, R>(place: &mut Option<T>, step: impl FnOnce(&mut T) -> R) -> Result<R, Panic> {
    caught(|| {
        // Within, since it is to be dropped before the panic is caught.
        let mut left = Left { place, whole: false };
        let done = step(left.place.as_mut().expect("what is stepped with lies there"));
        left.whole = true;
        done
    })
}

/// Empties the place, unless what lies there came to the end of its step.
struct Left<'a, T> {
    place: &'a mut Option<T>,
    whole: bool,
}

impl<T> Drop for Left<'_, T> {
    fn drop(&mut self) {
        if !self.whole {
            *self.place = None;
        }
    }
}

/// What it said, if it said something.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

/// The work panicked, or its runtime was shut down before it had ended. It stands at the end of the chain of an [`Error`] of kind
/// [`Other`](Kind::Other), of which [`Problem`](super::Problem) makes 500. Example: [`Detach`](super::Detach).
///
/// An answer that a [`Server`] makes for a handler that panicked has it among its extensions, for what observes it.
///
/// [`Server`]: ../server/struct.Server.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work did not come to its end")]
#[non_exhaustive]
pub struct Panicked;

impl From<Panicked> for Error {
    fn from(panicked: Panicked) -> Self {
        Self::new(Kind::Other, panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    const CALM: u8 = 1;
    const PANICKING: u8 = 2;

    struct Sees(Arc<AtomicU8>);

    impl Drop for Sees {
        fn drop(&mut self) {
            self.0.store(if std::thread::panicking() { PANICKING } else { CALM }, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_panics_is_gone_and_has_seen_that_it_did() {
        for panics in [true, false] {
            let seen = Arc::new(AtomicU8::new(0));
            let mut place = Some(Sees(Arc::clone(&seen)));
            let done = caught_with(&mut place, |_| assert!(!panics, "on purpose"));
            assert_eq!((done.is_err(), place.is_none()), (panics, panics));
            assert_eq!(seen.load(Ordering::Relaxed), if panics { PANICKING } else { 0 });
        }
    }
}
