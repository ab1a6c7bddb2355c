//! The layers of a client, which are called where they lie. A copy of them for each call would count a dozen references up and down, which
//! all threads write to; and what a layer remembers of the last call would be gone with the next.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tower_service::Service;

use crate::base::sync::Padded;
use crate::base::{NOBODY, lane, lanes};

/// A copy for each lane, and one to copy from.
pub(super) struct Stacks<S> {
    lanes: Box<[Padded<Mutex<S>>]>,
    spare: S,
}

impl<S: Clone> Stacks<S> {
    pub(super) fn new(spare: S) -> Self {
        let lanes = (0..lanes()).map(|_| Padded(Mutex::new(spare.clone()))).collect();
        Self { lanes, spare }
    }

    /// Do something with the one of this lane, or with a new copy where that is in use: by another thread of the lane, or by this one, if
    /// a layer calls the client again. Nobody waits; and one that was left by a panic is not used again.
    #[inline]
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut S) -> R) -> R {
        match self.lanes[lane(self.lanes.len())].0.try_lock() {
            Ok(mut stack) => work(&mut stack),
            Err(_) => work(&mut self.spare.clone()),
        }
    }
}

/// A part of the layers, as a service that costs little to copy. What is in it has to be ready at any time, as all of a client's layers
/// are: what there is to wait for, is waited for within a call.
pub(super) struct InLanes<S>(Arc<Stacks<S>>);

impl<S: Clone> InLanes<S> {
    pub(super) fn new(service: S) -> Self {
        Self(Arc::new(Stacks::new(service)))
    }
}

impl<S> Clone for InLanes<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, Req> Service<Req> for InLanes<S>
where
    S: Service<Req> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> S::Future {
        self.0.with(|service| {
            let ready = service.poll_ready(&mut Context::from_waker(NOBODY));
            debug_assert!(matches!(ready, Poll::Ready(Ok(()))), "a client's layers are always ready");
            service.call(request)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;

    /// How often it was made, and how often this one was used.
    #[derive(Default)]
    struct Counts(Arc<()>, u32);

    impl Clone for Counts {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0), 0)
        }
    }

    fn use_one(stacks: &Stacks<Counts>) -> u32 {
        stacks.with(|stack| {
            stack.1 += 1;
            stack.1
        })
    }

    #[test]
    fn each_call_of_a_thread_finds_the_same_one_and_none_is_made_for_it() {
        let stacks = Stacks::new(Counts::default());
        let made = Arc::strong_count(&stacks.spare.0);
        assert_eq!([(); 3].map(|()| use_one(&stacks)), [1, 2, 3]);
        stacks.with(|stack| assert_eq!(Arc::strong_count(&stack.0), made));
    }

    #[test]
    fn a_call_within_a_call_has_one_of_its_own() {
        let stacks = Stacks::new(Counts::default());
        stacks.with(|outer| {
            outer.1 += 1;
            assert_eq!((use_one(&stacks), use_one(&stacks)), (1, 1), "new ones");
        });
        assert_eq!(use_one(&stacks), 2, "the first one");
    }

    #[test]
    fn what_a_service_remembers_of_a_call_is_there_at_the_next_through_any_copy() {
        #[derive(Clone)]
        struct Remembers(u32);

        impl Service<u32> for Remembers {
            type Response = u32;
            type Error = std::convert::Infallible;
            type Future = std::future::Ready<Result<u32, Self::Error>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, new: u32) -> Self::Future {
                std::future::ready(Ok(std::mem::replace(&mut self.0, new)))
            }
        }

        let service = InLanes::new(Remembers(0));
        let seen = [1, 2, 3].map(|new| service.clone().call(new).into_inner());
        assert_eq!(seen, [Ok(0), Ok(1), Ok(2)]);
    }

    #[test]
    fn after_a_panic_calls_go_on_with_new_ones() {
        let stacks = Stacks::new(Counts::default());
        let broken = catch_unwind(AssertUnwindSafe(|| {
            stacks.with(|stack| {
                stack.1 += 1;
                panic!("on purpose")
            })
        }));
        assert!(broken.is_err());
        assert_eq!((use_one(&stacks), use_one(&stacks)), (1, 1));
    }
}
