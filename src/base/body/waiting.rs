//! Who is to be woken when the source of a recorded body has something.
//!
//! A source knows one waker. While one reader waits, that is the reader's own, and nothing is allocated. As soon as a
//! second one waits, the source is given a waker that wakes them all, so that a frame is not lost to the one while the
//! other, polled last, is slow or gone.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The number of one reader of a recording.
pub(super) type ReaderId = u64;

/// The wakers of the readers that wait, at most one for each.
#[derive(Debug, Default)]
pub(super) enum Waiting {
    #[default]
    Nobody,
    One(ReaderId, Waker),
    Crowd(Arc<Crowd>),
}

/// The waker of many.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    list: Mutex<Vec<(ReaderId, Waker)>>,
}

/// Wakers taken out, to be woken or dropped when no lock is held: both may run code of the executor's.
pub(super) type Wakers = Vec<(ReaderId, Waker)>;

impl Waiting {
    /// Puts `id` on the list. The waker that was there for it comes back.
    pub(super) fn join(&mut self, id: ReaderId, waker: &Waker) -> Option<Waker> {
        match mem::take(self) {
            Self::Nobody => {
                *self = Self::One(id, waker.clone());
                None
            }
            Self::One(one, old) if one == id => {
                if old.will_wake(waker) {
                    *self = Self::One(id, old);
                    None
                } else {
                    *self = Self::One(id, waker.clone());
                    Some(old)
                }
            }
            Self::One(one, first) => {
                let list = Mutex::new(vec![(one, first), (id, waker.clone())]);
                *self = Self::Crowd(Arc::new(Crowd { list }));
                None
            }
            Self::Crowd(crowd) => {
                let old = crowd.join(id, waker);
                *self = Self::Crowd(crowd);
                old
            }
        }
    }

    /// Takes `id` off the list.
    pub(super) fn leave(&mut self, id: ReaderId) -> Option<Waker> {
        match self {
            Self::One(one, _) if *one == id => match mem::take(self) {
                Self::One(_, waker) => Some(waker),
                _ => None,
            },
            Self::Crowd(crowd) => crowd.leave(id),
            _ => None,
        }
    }

    /// Takes everybody off the list.
    pub(super) fn take(&mut self) -> Wakers {
        match self {
            Self::Nobody => Vec::new(),
            Self::One(..) => match mem::take(self) {
                Self::One(id, waker) => vec![(id, waker)],
                _ => Vec::new(),
            },
            Self::Crowd(crowd) => crowd.take(),
        }
    }

    /// The waker to poll the source with on behalf of `id`, if its own will not do because others wait too. Also the
    /// waker that was there for it.
    pub(super) fn crowd_waker(&mut self, id: ReaderId, waker: &Waker) -> (Option<Waker>, Option<Waker>) {
        if self.is_alone(id) {
            return (None, None);
        }
        let old = self.join(id, waker);
        match self {
            Self::Crowd(crowd) => (Some(Waker::from(Arc::clone(crowd))), old),
            _ => (None, old),
        }
    }

    /// `id` has polled the source with its own waker and waits. Those who came meanwhile are not known to the source:
    /// they are handed out, to be woken and to poll it themselves. Also the waker that was there for `id`.
    pub(super) fn stay(&mut self, id: ReaderId, waker: &Waker) -> (Wakers, Option<Waker>) {
        if self.is_alone(id) {
            return (Wakers::new(), self.join(id, waker));
        }
        let own = self.leave(id);
        let late = self.take();
        self.join(id, waker);
        (late, own)
    }

    fn is_alone(&self, id: ReaderId) -> bool {
        match self {
            Self::Nobody => true,
            Self::One(one, _) => *one == id,
            Self::Crowd(_) => false,
        }
    }
}

impl Crowd {
    fn join(&self, id: ReaderId, waker: &Waker) -> Option<Waker> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        match list.iter_mut().find(|(one, _)| *one == id) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(mem::replace(known, waker.clone())),
            None => {
                list.push((id, waker.clone()));
                None
            }
        }
    }

    fn leave(&self, id: ReaderId) -> Option<Waker> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let at = list.iter().position(|(one, _)| *one == id)?;
        Some(list.swap_remove(at).1)
    }

    fn take(&self) -> Wakers {
        mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake_all(self.take());
    }
}

/// Wakes them. Not to be called with a lock held.
pub(super) fn wake_all(wakers: Wakers) {
    for (_, waker) in wakers {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// Of as many tasks.
    fn wakers<const N: usize>() -> [Waker; N] {
        [(); N].map(|()| Waker::from(Arc::new(Task)))
    }

    fn is(found: Option<Waker>, expected: &Waker) -> bool {
        found.is_some_and(|found| found.will_wake(expected))
    }

    #[test]
    fn a_reader_that_is_alone_waits_with_the_last_waker_that_it_came_with() {
        let [first, second] = wakers();
        let mut waiting = Waiting::default();
        assert!(waiting.crowd_waker(1, &first).0.is_none(), "the source wakes it itself");
        assert!(waiting.take().is_empty(), "it does not wait yet");
        assert!(waiting.join(1, &first).is_none() && waiting.join(1, &first).is_none());
        assert!(is(waiting.join(1, &second), &first));
        let (late, own) = waiting.stay(1, &second);
        assert!(late.is_empty() && own.is_none(), "nothing is to be done");
        assert!(waiting.leave(2).is_none(), "another one");
        assert!(is(waiting.leave(1), &second));
        assert!(waiting.leave(1).is_none() && waiting.take().is_empty());
    }

    #[test]
    fn of_many_readers_each_waits_with_one_waker_and_takes_it_along_when_it_leaves() {
        let [first, second, third] = wakers();
        let mut waiting = Waiting::default();
        assert!(waiting.join(1, &first).is_none() && waiting.join(2, &second).is_none());
        assert!(waiting.join(1, &first).is_none(), "the same one stays");
        assert!(is(waiting.join(1, &third), &first));
        assert!(waiting.crowd_waker(2, &second).0.is_some(), "one that wakes them all");
        assert!(is(waiting.leave(1), &third));
        assert!(waiting.leave(1).is_none());
        let left: Vec<_> = waiting.take().into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, [2]);
    }
}
