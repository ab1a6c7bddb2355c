//! Decides how many there may be, and how many to connect. Nothing here waits, locks or reads a clock: `now` is handed in.

use tokio::time::Instant;

/// The places of a pool. Each is of an object that somebody uses, that is idle, or that is being connected.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) max: usize,
    pub(super) min_idle: usize,
    /// All that are taken.
    pub(super) open: usize,
    pub(super) idle: usize,
    pub(super) dialing: usize,
    /// How often connecting has failed since it last succeeded.
    pub(super) failures: u32,
    /// Before this, nobody connects.
    pub(super) dial_at: Option<Instant>,
    pub(super) closed: bool,
}

/// What to do with an object that somebody has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    Keep,
    /// There are more than there may be.
    Surplus,
    /// The pool is closed.
    Closed,
}

impl Slots {
    pub(super) const fn new(max: usize, min_idle: usize) -> Self {
        Self { max, min_idle, open: 0, idle: 0, dialing: 0, failures: 0, dial_at: None, closed: false }
    }

    pub(super) const fn in_use(&self) -> usize {
        self.open - self.idle - self.dialing
    }

    /// Take places for as many connections as are to be begun now, for so many who wait and for those that are kept ready. As long as
    /// connecting fails, one tries at a time.
    pub(super) fn begin(&mut self, waiting: usize, now: impl FnOnce() -> Instant) -> usize {
        let wanted = (waiting + self.min_idle.saturating_sub(self.idle)).saturating_sub(self.dialing);
        let room = self.max.saturating_sub(self.open);
        let mut begun = wanted.min(room);
        if begun == 0 || self.closed {
            return 0;
        }
        if self.failures > 0 {
            if self.dialing > 0 || self.dial_at.is_some_and(|at| now() < at) {
                return 0;
            }
            begun = 1;
        }
        self.open += begun;
        self.dialing += begun;
        begun
    }

    /// One is connected: somebody uses it, for a moment at least.
    pub(super) fn connected(&mut self) {
        self.dialing -= 1;
        self.failures = 0;
        self.dial_at = None;
    }

    /// One could not be connected. Whether there is nothing left to hope for: nothing comes back, and nobody else connects.
    pub(super) fn failed(&mut self) -> bool {
        self.dialing -= 1;
        self.open -= 1;
        self.failures = self.failures.saturating_add(1);
        self.open == 0
    }

    /// One is put back by whoever used it; if it is kept, it goes to who waits, or lies idle.
    pub(super) const fn back(&self) -> Back {
        if self.closed {
            Back::Closed
        } else if self.open > self.max {
            Back::Surplus
        } else {
            Back::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn never() -> Instant {
        panic!("nobody needs to know the time")
    }

    #[test]
    fn as_many_connect_as_wait_within_the_places_there_are() {
        let mut slots = Slots::new(3, 0);
        assert_eq!(slots.begin(0, never), 0);
        assert_eq!(slots.begin(1, never), 1);
        assert_eq!(slots.begin(1, never), 0, "somebody connects for it already");
        assert_eq!(slots.begin(9, never), 2);
        assert_eq!((slots.open, slots.dialing, slots.in_use()), (3, 3, 0));
        slots.connected();
        assert_eq!((slots.open, slots.dialing, slots.in_use()), (3, 2, 1));
        assert_eq!(slots.begin(9, never), 0, "no place");
    }

    #[test]
    fn as_many_are_kept_ready_as_are_to_be() {
        let mut slots = Slots::new(5, 2);
        assert_eq!(slots.begin(0, never), 2);
        slots.connected();
        slots.idle += 1;
        assert_eq!(slots.begin(0, never), 0);
        slots.idle -= 1; // somebody takes it
        assert_eq!(slots.begin(0, never), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_fails_one_tries_at_a_time_and_not_before_it_is_time() {
        let now = Instant::now();
        let mut slots = Slots::new(5, 0);
        assert_eq!(slots.begin(3, || now), 3);
        slots.dial_at = Some(now + Duration::from_secs(1));
        assert!(!slots.failed() && !slots.failed() && slots.failed(), "the last one takes the hope");
        assert_eq!(slots.begin(3, || now), 0);
        let later = now + Duration::from_secs(1);
        assert_eq!(slots.begin(3, || later), 1);
        assert_eq!(slots.begin(3, || later), 0);
        slots.connected();
        assert_eq!(slots.begin(3, never), 3, "it works again");
    }

    #[test]
    fn what_comes_back_is_kept_unless_there_are_too_many_or_it_is_closed() {
        let mut slots = Slots::new(2, 0);
        slots.begin(2, never);
        slots.connected();
        assert_eq!(slots.back(), Back::Keep);
        slots.max = 1;
        assert_eq!(slots.back(), Back::Surplus);
        slots.closed = true;
        assert_eq!(slots.back(), Back::Closed);
        assert_eq!(slots.begin(9, never), 0);
    }
}
