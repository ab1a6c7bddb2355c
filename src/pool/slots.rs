//! Decides how many there may be, and how many to connect. Nothing here waits, locks or reads a clock: `now` is handed in.

use std::time::Duration;

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
    /// Objects that lay idle and are asked whether they are still good, while somebody may wait for that.
    pub(super) checking: usize,
    /// Objects that are being closed. Nobody has them any more, and their places are not free yet.
    pub(super) closing: usize,
    /// How often connecting has failed since it last succeeded.
    pub(super) failures: u32,
    /// The last pause after a failure.
    pub(super) pause: Duration,
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
        let (failures, pause, dial_at, closed) = (0, Duration::ZERO, None, false);
        let (open, idle, dialing, checking, closing) = (0, 0, 0, 0, 0);
        Self { max, min_idle, open, idle, dialing, checking, closing, failures, pause, dial_at, closed }
    }

    pub(super) const fn in_use(&self) -> usize {
        self.open - self.idle - self.dialing
    }

    /// How many places are free.
    pub(super) const fn room(&self) -> usize {
        self.max.saturating_sub(self.open + self.closing)
    }

    /// How many of those who wait have no place that could be theirs: each one is in use.
    pub(super) const fn without_a_place(&self, waiting: usize) -> usize {
        waiting.saturating_sub(self.max.saturating_sub(self.in_use() - self.checking))
    }

    /// How many connections are wanted that nobody has begun.
    const fn wanted(&self, waiting: usize) -> usize {
        (waiting + self.min_idle.saturating_sub(self.idle)).saturating_sub(self.dialing + self.checking)
    }

    /// Whether more wait than there is anything under way for.
    pub(super) const fn is_short_of(&self, waiting: usize) -> bool {
        waiting > self.dialing + self.checking
    }

    /// Take places for as many connections as are to be begun now, for so many who wait and for those that are kept ready. As long as
    /// connecting fails, one tries at a time.
    pub(super) fn begin(&mut self, waiting: usize, now: impl FnOnce() -> Instant) -> usize {
        let mut begun = self.wanted(waiting).min(self.room());
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

    /// When to begin, if only a pause is in the way.
    pub(super) fn next_dial(&self, waiting: usize) -> Option<Instant> {
        let useful = !self.closed && self.dialing == 0 && self.room() > 0 && self.wanted(waiting) > 0;
        self.dial_at.filter(|_| useful)
    }

    /// One was not begun after all.
    pub(super) fn not_begun(&mut self) {
        self.dialing -= 1;
        self.open -= 1;
    }

    /// Nobody has it any more; its place is free once it [is gone](Self::gone).
    pub(super) fn doom(&mut self) {
        self.open -= 1;
        self.closing += 1;
    }

    /// So many are gone.
    pub(super) fn gone(&mut self, objects: usize) {
        self.closing -= objects;
    }

    /// Whether nothing is left, and nothing is on its way out.
    pub(super) const fn is_empty(&self) -> bool {
        self.open + self.closing == 0
    }

    /// One is connected: somebody uses it, for a moment at least.
    pub(super) fn connected(&mut self) {
        self.dialing -= 1;
        self.failures = 0;
        self.pause = Duration::ZERO;
        self.dial_at = None;
    }

    /// One could not be connected, or not used once it was. Whether there is nothing left to hope for: nothing comes back, and nobody else
    /// connects.
    pub(super) fn failed(&mut self) -> bool {
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
    fn one_that_is_asked_is_hoped_for_as_one_that_is_connected() {
        let mut slots = Slots::new(3, 0);
        slots.begin(1, never);
        slots.connected();
        slots.checking = 1;
        assert!(slots.is_short_of(2) && !slots.is_short_of(1));
        assert_eq!((slots.begin(1, never), slots.begin(2, never)), (0, 1));
        assert!(!slots.is_short_of(2));
        assert_eq!((slots.without_a_place(3), slots.without_a_place(4)), (0, 1));
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
        let mut fails = || {
            slots.not_begun();
            slots.failed()
        };
        assert!(!fails() && !fails() && fails(), "the last one takes the hope");
        assert_eq!(slots.begin(3, || now), 0);
        let later = now + Duration::from_secs(1);
        assert_eq!(slots.begin(3, || later), 1);
        assert_eq!(slots.begin(3, || later), 0);
        slots.connected();
        assert_eq!(slots.begin(3, never), 3, "it works again");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_pause_is_waited_for_only_where_somebody_could_connect_then() {
        let now = Instant::now();
        let mut slots = Slots::new(2, 0);
        slots.begin(2, never);
        slots.connected();
        slots.not_begun();
        slots.failed();
        slots.dial_at = Some(now);
        assert_eq!(slots.next_dial(1), Some(now));
        assert_eq!(slots.next_dial(0), None, "nobody wants one");
        slots.max = 1;
        assert_eq!(slots.next_dial(1), None, "no place");
    }

    #[test]
    fn the_place_of_one_that_is_closed_is_free_when_it_is_gone() {
        let mut slots = Slots::new(1, 0);
        slots.begin(1, never);
        slots.connected();
        slots.doom();
        assert_eq!((slots.begin(1, never), slots.is_empty()), (0, false));
        slots.gone(1);
        assert_eq!((slots.is_empty(), slots.begin(1, never)), (true, 1));
    }

    #[test]
    fn who_waits_for_a_connection_of_its_own_is_not_in_the_way_of_others() {
        let mut slots = Slots::new(3, 0);
        assert_eq!((slots.without_a_place(3), slots.without_a_place(5)), (0, 2));
        slots.begin(1, never);
        slots.connected();
        assert_eq!((slots.without_a_place(3), slots.in_use()), (1, 1));
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
        slots.max = 9;
        assert_eq!(slots.begin(9, never), 0, "nobody connects any more");
    }
}
