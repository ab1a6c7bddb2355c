//! Those who wait for something, in the order in which they came.

use std::collections::BTreeMap;
use std::mem;
use std::task::Waker;

/// A queue of tasks, each with a number, which is never given twice. One that was called is no longer in it; so who is not called
/// and not in it never was.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: BTreeMap<u64, Waker>,
    last: u64,
}

impl Waiters {
    pub(crate) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), last: 0 }
    }

    /// Go to the end of the queue. The number is more than zero.
    pub(crate) fn join(&mut self, waker: &Waker) -> u64 {
        let number = self.number();
        self.wait(number, waker);
        number
    }

    /// A number for somebody who does not wait yet, and may have to.
    #[inline]
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Wait in the place of this number: also for one that was called in vain.
    pub(crate) fn wait(&mut self, number: u64, waker: &Waker) {
        self.waiting.insert(number, waker.clone());
    }

    /// Whether this one still waits; if so, it is woken by this waker from now on. The one it had before, if it is another, is dropped
    /// by the caller, who may hold a lock: a task may go with it, and all that the task has.
    pub(crate) fn stay(&mut self, number: u64, waker: &Waker) -> (bool, Option<Waker>) {
        match self.waiting.get_mut(&number) {
            Some(place) if place.will_wake(waker) => (true, None),
            Some(place) => (true, Some(mem::replace(place, waker.clone()))),
            None => (false, None),
        }
    }

    /// Give up one's place. The waker, if there was one, is dropped by the caller, as in [`stay`](Self::stay); else it was called already.
    pub(crate) fn leave(&mut self, number: u64) -> Option<Waker> {
        self.waiting.remove(&number)
    }

    /// Call the one that has waited longest, and say its number. It is woken by the caller, who may hold a lock.
    #[must_use = "who is called has to be woken"]
    pub(crate) fn call(&mut self) -> Option<(u64, Waker)> {
        self.waiting.pop_first()
    }

    /// What wakes those who wait.
    #[cfg(feature = "pool")]
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.waiting.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn who_came_first_is_called_first_and_who_left_is_not() {
        let mut waiters = Waiters::new();
        let numbers = [0; 3].map(|_| waiters.join(Waker::noop()));
        assert!(numbers.is_sorted() && numbers[0] > 0);
        assert!(waiters.leave(numbers[1]).is_some() && waiters.leave(numbers[1]).is_none());
        assert!(waiters.call().is_some());
        assert!(!waiters.stay(numbers[0], Waker::noop()).0, "called");
        // Not the one that does nothing, of which there may be several.
        let waker = Waker::from(Arc::new(Task));
        assert!(matches!(waiters.stay(numbers[2], &waker), (true, Some(_))));
        assert!(matches!(waiters.stay(numbers[2], &waker), (true, None)), "nothing is to be dropped");
        assert!(waiters.call().is_some() && waiters.call().is_none());
        assert_eq!(waiters.len(), 0);
        assert!(waiters.join(Waker::noop()) > numbers[2]);
    }

    #[test]
    fn who_was_called_in_vain_waits_in_its_old_place() {
        let mut waiters = Waiters::new();
        let first = waiters.join(Waker::noop());
        let second = waiters.join(Waker::noop());
        assert_eq!(waiters.call().map(|(number, _)| number), Some(first));
        waiters.wait(first, Waker::noop());
        let order: Vec<_> = std::iter::from_fn(|| waiters.call()).map(|(number, _)| number).collect();
        assert_eq!(order, [first, second]);
    }
}
