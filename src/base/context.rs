//! What a request is called, for whatever is called on its behalf: the other half of the call scope.
//!
//! As a deadline it is in force for the length of one `call` or one `poll`, and cannot leak into another task. It is moved into the
//! thread-local and out again, so that a poll counts no reference.

use std::cell::RefCell;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};

use pin_project::pin_project;

use super::client_address::ClientAddress;
use super::request_id::RequestId;
use super::route::Route;
use super::trace::TraceContext;

/// What is known of a request, outermost first; and what those inside find out of it, for those outside.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) request_id: Option<RequestId>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) client: OnceLock<ClientAddress>,
    pub(crate) route: OnceLock<Route>,
    /// What was in force outside, where somebody wants to know as well.
    pub(crate) outside: Known,
}

/// That of a request, if anything is known of it.
pub(crate) type Known = Option<Arc<Context>>;

thread_local! {
    static CURRENT: RefCell<Known> = const { RefCell::new(None) };
}

/// The one in force.
pub(crate) fn current() -> Known {
    // Where a thread ends, what its variables hold may be dropped after this one.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Tell all who are outside.
pub(crate) fn tell(tell: impl Fn(&Context)) {
    let _ = CURRENT.try_with(|current| {
        let current = current.borrow();
        let mut next = current.as_deref();
        while let Some(context) = next {
            tell(context);
            next = context.outside.as_deref();
        }
    });
}

/// One that is in force until this is dropped, also by a panic. It never outlives the function that entered it.
#[must_use = "it ends when this is dropped"]
pub(crate) struct Entered<'a> {
    /// What was in force before.
    slot: &'a mut Known,
}

/// Put it in force. It is back in its place afterwards.
pub(crate) fn enter(slot: &mut Known) -> Entered<'_> {
    swap(slot);
    Entered { slot }
}

fn swap(slot: &mut Known) {
    let _ = CURRENT.try_with(|current| mem::swap(&mut *current.borrow_mut(), slot));
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.slot);
    }
}

/// Work that takes along what is in force where this is made.
pub(crate) fn carry<F>(work: F) -> Carried<F> {
    Carried { work, known: current() }
}

#[pin_project]
pub(crate) struct Carried<F> {
    #[pin]
    work: F,
    known: Known,
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = enter(this.known);
        this.work.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::base::Rng;

    fn known(rng: &Rng) -> Known {
        Some(Arc::new(Context { request_id: Some(RequestId::generate(rng)), ..Context::default() }))
    }

    #[tokio::test]
    async fn it_is_in_force_inside_and_nowhere_else_also_after_a_panic() {
        let rng = Rng::seeded(1);
        let (mut outer, mut inner) = (known(&rng), known(&rng));
        let ids = [&outer, &inner].map(|known| known.as_ref().unwrap().request_id.clone());
        assert_eq!(RequestId::current(), None);
        let entered = enter(&mut outer);
        assert_eq!(RequestId::current(), ids[0]);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _entered = enter(&mut inner);
            assert_eq!(RequestId::current(), ids[1]);
            panic!("on purpose")
        }));
        assert!(panicked.is_err());
        assert_eq!(RequestId::current(), ids[0]);
        let carried = carry(async { RequestId::current() });
        drop(entered);
        assert_eq!(RequestId::current(), None);
        assert_eq!(carried.await, ids[0]);
        assert!(outer.is_some() && inner.is_some(), "they are back in their places");
    }

    #[test]
    fn what_is_found_out_inside_is_told_outside_once() {
        tell(|_| panic!("there is nobody"));
        let mut slot = known(&Rng::seeded(1));
        let entered = enter(&mut slot);
        for route in ["/first", "/second"] {
            tell(|context| drop(context.route.set(Route::from(route))));
        }
        drop(entered);
        let first = Some(Route::from("/first"));
        assert_eq!(slot.as_ref().unwrap().route.get(), first.as_ref());
        let mut inner = Some(Arc::new(Context { outside: known(&Rng::seeded(2)), ..Context::default() }));
        let entered = enter(&mut inner);
        tell(|context| drop(context.route.set(Route::from("/first"))));
        drop(entered);
        let outside = inner.as_ref().and_then(|context| context.outside.as_ref());
        assert_eq!(outside.unwrap().route.get(), first.as_ref(), "and to those further out");
    }
}
