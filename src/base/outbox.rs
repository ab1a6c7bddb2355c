//! Events that are told in the order in which something changed.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::PoisonError;
use std::thread;

use super::caught::caught;
use super::observe::{Event, Observe};
use super::sync::{Mutex, MutexGuard};

/// What happened to something that has a lock of its own: put in while that is held, and told when it is not, by one thread at a time.
///
/// So two who change it one after the other are not overtaken by each other on the way to the observer. Whoever comes while another one tells leaves what it
/// has to that one, also if that is itself, further up: what an observer causes is told after what it was told of.
#[derive(Debug)]
pub(crate) struct Outbox {
    observe: Observe,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Somebody tells them, and looks here again before it leaves.
    told: bool,
}

impl Outbox {
    pub(crate) fn new(observe: Observe) -> Self {
        Self { observe, queue: Mutex::new(Queue::default()) }
    }

    pub(crate) const fn observe(&self) -> &Observe {
        &self.observe
    }

    /// Under the lock of what it happened to. To be followed by [`tell`](Self::tell).
    pub(crate) fn put(&self, events: impl IntoIterator<Item = Event>) {
        if self.observe.is_on() {
            self.queue().events.extend(events);
        }
    }

    /// With no lock held.
    ///
    /// # Panics
    ///
    /// If the observer does, once all is told; unless the thread is about to end by a panic as it is, which a second one would make the end of
    /// the process.
    pub(crate) fn tell(&self) {
        if !self.observe.is_on() {
            return;
        }
        let (mut tells, mut panicked) = (false, None);
        loop {
            let next = self.queue().next(&mut tells);
            let Some(event) = next else { break };
            let told = caught(|| self.observe.note(|| event));
            panicked = panicked.or(told.err());
        }
        let panicked = panicked.filter(|_| !thread::panicking());
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The next event for whoever `tells` them, or begins to.
    fn next(&mut self, tells: &mut bool) -> Option<Event> {
        if self.told && !*tells {
            return None;
        }
        let next = self.events.pop_front();
        (self.told, *tells) = (next.is_some(), next.is_some());
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Weak};

    use super::*;
    use crate::base::{Kind, Observer};

    fn event(name: &str) -> Event {
        Event::DiscoveryFailed { balancer: name.into(), kind: Kind::Other }
    }

    /// Writes down what it is told, puts in another event at the first, and panics at both.
    struct Clumsy {
        outbox: Weak<Outbox>,
        told: Arc<Mutex<Vec<Event>>>,
    }

    impl Observer for Clumsy {
        fn observe(&self, told: &Event) {
            self.told.lock().unwrap().push(told.clone());
            if *told == event("first") {
                let outbox = self.outbox.upgrade().unwrap();
                outbox.put([event("its own")]);
                outbox.tell();
                self.told.lock().unwrap().push(event("end of first"));
            }
            assert!(*told == event("after"), "on purpose: {told:?}");
        }
    }

    #[test]
    fn what_an_observer_causes_comes_after_and_one_that_panics_misses_nothing() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let outbox = Arc::new_cyclic(|outbox| {
            Outbox::new(Observe::by(Clumsy { outbox: Weak::clone(outbox), told: Arc::clone(&told) }))
        });
        outbox.put(["first", "second"].map(event));
        assert!(caught(|| outbox.tell()).is_err());
        outbox.put([event("after")]);
        outbox.tell();
        let expected = ["first", "end of first", "second", "its own", "after"];
        assert_eq!(*told.lock().unwrap(), expected.map(event));
    }

    /// Tells as it goes.
    struct Last(Outbox);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.put([event("last")]);
            self.0.tell();
        }
    }

    #[test]
    fn an_observer_that_panics_where_something_else_does_is_not_the_end_of_the_process() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let observe = Observe::by(Clumsy { outbox: Weak::new(), told: Arc::clone(&told) });
        let panicked = caught(|| {
            let _last = Last(Outbox::new(observe));
            panic!("on purpose: it is the one that counts");
        });
        assert!(panicked.is_err());
        assert_eq!(*told.lock().unwrap(), [event("last")]);
    }

    #[test]
    fn where_nobody_listens_nothing_is_kept() {
        let outbox = Outbox::new(Observe::default());
        outbox.put([event("unheard")]);
        outbox.tell();
        assert!(outbox.queue().events.is_empty());
    }
}
