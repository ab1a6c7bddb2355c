//! Decides when a request goes out beside the attempts that are under way. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::base::{Delivery, Outcome, Safety, Skip};

/// What is known of an attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) delivery: Delivery,
    pub(super) advice: Advice,
    /// It says that an attempt with the same key is being worked on.
    pub(super) in_progress: bool,
    /// A retry inside has repeated it already.
    pub(super) spent: bool,
}

/// What a server said about coming back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    None,
    /// Not before so long.
    After(Duration),
    /// Not at all.
    Stop,
}

/// Whether this is the result of the call, whatever else is under way. A failure is not, as long as another attempt may fare better.
pub(super) fn wins(ended: &Ended) -> bool {
    !ended.in_progress && !ended.outcome.is_retryable() && ended.delivery != Delivery::Refused
}

/// Whether an answer speaks of another attempt of the same call: who keeps the promise of a key does not do twice at the same time what
/// has it.
pub(super) fn is_in_progress(safety: Safety, status: StatusCode) -> bool {
    safety == Safety::Keyed && status == StatusCode::CONFLICT
}

/// When the next attempt begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Never,
    Now,
    At(Instant),
}

/// The attempts of one call.
#[derive(Debug)]
pub(super) struct Course {
    /// How many there may be, the first included.
    allowed: u32,
    begun: u32,
    /// Nothing, if that is not known.
    delay: Option<Duration>,
    /// A retry outside sends this very request again when it fails, and knows when.
    left_to_retry: bool,
    max_retry_after: Duration,
    next: Next,
    /// It is when it is since a server asked for that.
    put_off: bool,
    /// A retry inside has repeated what failed.
    spent: bool,
    stopped: bool,
}

impl Course {
    /// The first attempt begins.
    pub(super) const fn new(
        allowed: u32,
        delay: Option<Duration>,
        left_to_retry: bool,
        max_retry_after: Duration,
    ) -> Self {
        Self {
            allowed,
            begun: 1,
            delay,
            left_to_retry,
            max_retry_after,
            next: Next::Never,
            put_off: false,
            spent: false,
            stopped: false,
        }
    }

    /// The attempts that were begun.
    pub(super) const fn begun(&self) -> u32 {
        self.begun
    }

    pub(super) const fn next(&self) -> Next {
        self.next
    }

    /// Whether the next one waits since a server asked for that.
    pub(super) const fn is_put_off(&self) -> bool {
        self.put_off
    }

    /// An attempt was begun, and is waited for. The first one was counted already.
    pub(super) fn waits(&mut self, now: Instant) {
        self.put_off = false;
        self.next = match self.delay {
            Some(delay) if self.may() => after(now, delay),
            _ => Next::Never,
        };
    }

    /// Another attempt begins.
    pub(super) fn fires(&mut self, now: Instant) {
        self.begun += 1;
        self.waits(now);
    }

    /// One that had begun, and waited for the service, was not sent and is not to be now.
    pub(super) const fn take_back(&mut self) {
        self.begun -= 1;
    }

    /// There will be no other.
    pub(super) const fn stop(&mut self) {
        self.stopped = true;
        self.next = Next::Never;
    }

    /// An attempt has ended, and is not the result of the call unless nothing better comes. Says why there is no other one, if a
    /// server is the reason.
    pub(super) fn failed(&mut self, ended: &Ended, now: Instant) -> Option<Skip> {
        if ended.in_progress {
            // What has the same key would only hear the same.
            self.stop();
            return None;
        }
        self.spent |= ended.spent;
        match ended.advice {
            Advice::Stop => {
                self.stop();
                return Some(Skip::Pushback);
            }
            Advice::After(asked) if asked > self.max_retry_after => {
                self.stop();
                return Some(Skip::RetryAfter);
            }
            Advice::After(asked) if self.may() => {
                self.next = after(now, asked);
                self.put_off = true;
            }
            Advice::After(_) => {}
            Advice::None if self.spent || self.left_to_retry => {}
            Advice::None if self.may() => {
                self.next = Next::Now;
                self.put_off = false;
            }
            Advice::None => {}
        }
        None
    }

    /// Nothing is under way. Is there something to wait for? What a retry repeats, or has repeated, is not sent again for having failed.
    pub(super) fn goes_on_alone(&self) -> bool {
        self.next != Next::Never && !self.left_to_retry && !self.spent
    }

    const fn may(&self) -> bool {
        self.begun < self.allowed && !self.stopped
    }
}

/// One that can never come does not begin.
fn after(now: Instant, delay: Duration) -> Next {
    now.checked_add(delay).map_or(Next::Never, Next::At)
}

/// Whether an attempt that begins then has too little time: not even what half of them take.
pub(super) fn is_pointless(begins: Instant, deadline: Option<Instant>, typical: Duration) -> bool {
    deadline.is_some_and(|deadline| deadline.saturating_duration_since(begins) <= typical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const FAILED: Ended = Ended {
        outcome: Outcome::Failure,
        delivery: Delivery::Answered,
        advice: Advice::None,
        in_progress: false,
        spent: false,
    };

    fn course(allowed: u32) -> Course {
        Course::new(allowed, Some(500 * MS), false, 60_000 * MS)
    }

    #[test]
    fn what_is_final_wins_and_what_another_attempt_may_better_does_not() {
        for (outcome, delivery, expected) in [
            (Outcome::Success, Delivery::Answered, true),
            (Outcome::Neutral, Delivery::NotSent, true),
            (Outcome::Failure, Delivery::Answered, false),
            (Outcome::Failure, Delivery::NotSent, false),
            (Outcome::Overload, Delivery::Answered, false),
            (Outcome::Success, Delivery::Refused, false),
        ] {
            assert_eq!(wins(&Ended { outcome, delivery, ..FAILED }), expected, "{outcome:?}, {delivery:?}");
        }
        assert!(!wins(&Ended { outcome: Outcome::Success, in_progress: true, ..FAILED }));
    }

    #[test]
    fn a_conflict_speaks_of_another_attempt_only_where_there_is_a_key() {
        assert!(is_in_progress(Safety::Keyed, StatusCode::CONFLICT));
        assert!(!is_in_progress(Safety::Keyed, StatusCode::OK));
        assert!(!is_in_progress(Safety::Idempotent, StatusCode::CONFLICT));
    }

    /// gRFC A6: a policy of four attempts and 500 ms, by what comes back, and when the next one begins then.
    #[test]
    fn answers_are_followed_as_grpc_has_it() {
        let start = Instant::now();
        let at = |millis| Next::At(start + millis * MS);
        for (advice, expected) in [
            (Advice::None, Next::Now),
            (Advice::After(70 * MS), at(270)),
            (Advice::After(Duration::ZERO), at(200)),
            (Advice::Stop, Next::Never),
        ] {
            let mut course = course(4);
            course.waits(start);
            assert_eq!(course.next(), at(500));
            course.failed(&Ended { advice, ..FAILED }, start + 200 * MS);
            assert_eq!(course.next(), expected, "{advice:?}");
        }
        let mut course = course(4);
        course.waits(start);
        for (attempt, then) in [(2, at(1_000)), (3, at(1_500)), (4, Next::Never)] {
            let Next::At(begins) = course.next() else { panic!("no attempt {attempt}") };
            course.fires(begins);
            assert_eq!((course.begun(), course.next()), (attempt, then));
        }
        course.failed(&FAILED, start);
        assert_eq!(course.next(), Next::Never, "all are used");
    }

    #[test]
    fn who_asks_for_longer_than_one_waits_is_not_asked_again() {
        let mut course = course(3);
        let skip = course.failed(&Ended { advice: Advice::After(61_000 * MS), ..FAILED }, Instant::now());
        assert_eq!((skip, course.next()), (Some(Skip::RetryAfter), Next::Never));
        assert!(!course.goes_on_alone());
    }

    #[test]
    fn an_attempt_is_put_off_from_when_a_server_asks_for_it_until_something_else_decides() {
        let start = Instant::now();
        let asked = Ended { advice: Advice::After(70 * MS), ..FAILED };
        let put_off = || {
            let mut course = course(4);
            course.waits(start);
            assert!(!course.is_put_off(), "it is the delay");
            course.failed(&asked, start);
            assert!(course.is_put_off());
            course
        };
        let (mut failed, mut fired) = (put_off(), put_off());
        failed.failed(&FAILED, start);
        fired.fires(start);
        assert!(!failed.is_put_off() && !fired.is_put_off());
    }

    #[test]
    fn who_asks_for_a_pause_gets_no_more_attempts_than_are_allowed() {
        let mut course = course(1);
        let skip = course.failed(&Ended { advice: Advice::After(70 * MS), ..FAILED }, Instant::now());
        assert_eq!((skip, course.next()), (None, Next::Never));
    }

    #[test]
    fn where_a_retry_acts_on_failures_only_slowness_is_met_here() {
        let start = Instant::now();
        let mut course = Course::new(2, Some(500 * MS), true, 60_000 * MS);
        course.waits(start);
        course.failed(&FAILED, start);
        assert_eq!(course.next(), Next::At(start + 500 * MS), "for another that may be under way");
        assert!(!course.goes_on_alone());
        let mut inside = super::tests::course(2);
        inside.waits(start);
        inside.failed(&Ended { spent: true, ..FAILED }, start);
        assert_eq!(inside.next(), Next::At(start + 500 * MS), "for another that may be under way");
        assert!(!inside.goes_on_alone(), "the one inside did");
    }

    #[test]
    fn an_attempt_is_pointless_that_has_less_time_than_half_of_them_take() {
        let now = Instant::now();
        assert!(!is_pointless(now, None, 10 * MS));
        assert!(!is_pointless(now, Some(now + 11 * MS), 10 * MS));
        assert!(is_pointless(now, Some(now + 10 * MS), 10 * MS));
        assert!(is_pointless(now, Some(now), Duration::ZERO));
    }

    proptest! {
        #[test]
        fn there_are_never_more_attempts_than_allowed(
            allowed in 1_u32..=5,
            steps in prop::collection::vec((any::<bool>(), 0_u64..2_000), 0..30),
        ) {
            let mut now = Instant::now();
            let mut course = course(allowed);
            course.waits(now);
            for (fails, millis) in steps {
                now += millis as u32 * MS;
                if fails {
                    course.failed(&FAILED, now);
                }
                match course.next() {
                    Next::Now => course.fires(now),
                    Next::At(at) if at <= now => course.fires(now),
                    Next::At(_) | Next::Never => {}
                }
                prop_assert!(course.begun() <= allowed);
            }
        }
    }
}
