//! What was asked for and what was taken lately, counted by threads that do not wait for each other.
//!
//! The window is a ring of stretches of time. Each number is tagged with its stretch, in one word that changes as a whole: nothing has to
//! be cleared when the window moves on, what has an old tag does not count, and the next to write there replaces it. A request is
//! counted in the stretch in which it was sent, and so is what became of it, however late that is known: both leave the
//! window together.

use std::time::Duration;

use tokio::time::Instant;

use super::decide::Counted;
use crate::base::sync::{AtomicU64, Ordering};

/// Stretches that the window consists of, the present one among them.
const STRETCHES: u32 = 24;
/// In so many of the newest, a request that nobody has answered yet is taken for one that will be: whoever has just begun, or has
/// suddenly more to ask, has no answers yet. In older ones it was not taken.
const YOUNG: u32 = 2;

#[derive(Debug)]
pub(super) struct Window {
    ring: [Stretch; STRETCHES as usize],
    origin: Instant,
    /// Nanoseconds of a stretch.
    width: u64,
}

#[derive(Debug)]
struct Stretch {
    requests: Tagged,
    accepts: Tagged,
    /// What was not sent, and what was sent and not taken.
    refusals: Tagged,
}

/// Where a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(u32);

impl Window {
    pub(super) fn new(length: Duration, origin: Instant) -> Self {
        let stretch = || Stretch { requests: Tagged::new(), accepts: Tagged::new(), refusals: Tagged::new() };
        let width = u64::try_from((length / STRETCHES).as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { ring: std::array::from_fn(|_| stretch()), origin, width }
    }

    pub(super) fn at(&self, now: Instant) -> At {
        let passed = now.saturating_duration_since(self.origin).as_nanos() / u128::from(self.width);
        // It goes round after 680 years of stretches of five seconds.
        At(passed as u32)
    }

    fn stretch(&self, At(tag): At) -> &Stretch {
        &self.ring[(tag % STRETCHES) as usize]
    }

    /// It is to be sent.
    pub(super) fn asked(&self, at: At) {
        self.stretch(at).requests.add(at.0, 1);
    }

    /// It was taken.
    pub(super) fn taken(&self, at: At) {
        self.stretch(at).accepts.add(at.0, 1);
    }

    /// It was not sent, or not taken.
    pub(super) fn refused(&self, at: At) {
        self.stretch(at).refusals.add(at.0, 1);
    }

    /// It says nothing, as if it had not been.
    pub(super) fn taken_back(&self, at: At) {
        self.stretch(at).requests.add(at.0, -1);
    }

    pub(super) fn sums(&self, now: At) -> Counted {
        let mut counted = Counted::default();
        for back in 0..STRETCHES {
            let at = At(now.0.wrapping_sub(back));
            let stretch = self.stretch(at);
            // What became of it before what was asked, so that a service never looks worse than it is.
            let (accepts, refusals) = (stretch.accepts.of(at.0), stretch.refusals.of(at.0));
            let requests = stretch.requests.of(at.0);
            counted.requests += u64::from(requests);
            counted.accepts +=
                u64::from(if back < YOUNG { requests.saturating_sub(refusals) } else { accepts });
        }
        counted
    }
}

/// A number with what it belongs to, in one word.
#[derive(Debug)]
struct Tagged(AtomicU64);

const fn word(tag: u32, number: u32) -> u64 {
    (tag as u64) << 32 | number as u64
}

const fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl Tagged {
    fn new() -> Self {
        // No first tag is this one, and to all of them it is older.
        Self(AtomicU64::new(word(u32::MAX, 0)))
    }

    /// Add to the number of this tag, which begins at 0; to nothing, if a newer one stands there by now.
    fn add(&self, tag: u32, by: i32) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (its, number) = parts(seen);
            let is_newer = its.wrapping_sub(tag).wrapping_sub(1) < u32::MAX / 2;
            let new = match (its == tag, is_newer) {
                (true, _) => number.saturating_add_signed(by),
                (_, true) => return,
                // Nothing is to be taken back of what is forgotten.
                _ => 0_u32.saturating_add_signed(by),
            };
            let new = word(tag, new);
            match self.0.compare_exchange_weak(seen, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The number, if it is of this tag; else 0.
    fn of(&self, tag: u32) -> u32 {
        let (its, number) = parts(self.0.load(Ordering::Relaxed));
        if its == tag { number } else { 0 }
    }
}

#[cfg(all(test, not(stonework_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One second a stretch.
    fn window() -> (Window, Instant) {
        let origin = Instant::now();
        (Window::new(24 * SECOND, origin), origin)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_counted_leaves_with_its_stretch() {
        let (window, origin) = window();
        let first = window.at(origin);
        for _ in 0..10 {
            window.asked(first);
        }
        window.taken(first);
        let later = |seconds: u32| window.sums(window.at(origin + seconds * SECOND));
        assert_eq!(later(0), Counted { requests: 10, accepts: 10 }, "no answer yet");
        assert_eq!(later(1), Counted { requests: 10, accepts: 10 });
        assert_eq!(later(2), Counted { requests: 10, accepts: 1 }, "no answer by now");
        assert_eq!(later(23), Counted { requests: 10, accepts: 1 });
        assert_eq!(later(24), Counted::default());
        // An answer that comes when nobody counts its request any more; another stretch has its place.
        window.asked(window.at(origin + 24 * SECOND));
        window.taken(first);
        window.refused(first);
        window.taken_back(first);
        assert_eq!(later(24), Counted { requests: 1, accepts: 1 });
        assert_eq!(later(30), Counted { requests: 1, accepts: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_at_once_and_what_is_taken_back_was_never_there() {
        let (window, origin) = window();
        let now = window.at(origin);
        for _ in 0..10 {
            window.asked(now);
        }
        (0..4).for_each(|_| window.refused(now));
        assert_eq!(window.sums(now), Counted { requests: 10, accepts: 6 });
        (0..6).for_each(|_| window.taken_back(now));
        assert_eq!(window.sums(now), Counted { requests: 4, accepts: 0 });
    }

    proptest! {
        /// Beside a list of all that happened.
        #[test]
        fn it_counts_what_a_list_of_everything_counts(
            steps in prop::collection::vec((0_u32..4, 0_u32..4, any::<prop::sample::Index>()), 1..300),
        ) {
            let (window, origin) = window();
            // The stretch of each, and what became of it.
            let mut all: Vec<(u32, Option<bool>)> = Vec::new();
            let mut now = 0;
            for (pause, what, which) in steps {
                now += pause;
                let at = |stretch: u32| window.at(origin + stretch * SECOND + SECOND / 2);
                let open: Vec<usize> = (0..all.len()).filter(|at| all[*at].1.is_none()).collect();
                match what {
                    0 | 1 => {
                        window.asked(at(now));
                        all.push((now, None));
                    }
                    _ if open.is_empty() => {}
                    2 => {
                        let one = open[which.index(open.len())];
                        window.taken(at(all[one].0));
                        all[one].1 = Some(true);
                    }
                    _ => {
                        let one = open[which.index(open.len())];
                        window.refused(at(all[one].0));
                        all[one].1 = Some(false);
                    }
                }
                let seen = window.sums(at(now));
                let counts = all.iter().filter(|(at, _)| now - at < STRETCHES);
                let is_taken = |(at, what): &&(u32, Option<bool>)| what.unwrap_or(now - at < YOUNG);
                prop_assert_eq!(seen.requests, counts.clone().count() as u64);
                prop_assert_eq!(seen.accepts, counts.filter(is_taken).count() as u64);
            }
        }
    }

    #[test]
    fn a_tag_is_newer_if_it_is_less_than_half_of_all_ahead() {
        let added = |its: u32| {
            let tagged = Tagged(AtomicU64::new(word(its, 5)));
            tagged.add(7, 1);
            parts(tagged.0.load(Ordering::Relaxed))
        };
        let half = 1 << 31;
        assert_eq!(added(7), (7, 6));
        assert_eq!([8, 6 + half].map(added), [(8, 5), (6 + half, 5)], "newer");
        assert_eq!([7 + half, u32::MAX, 6].map(added), [(7, 1); 3], "older");
    }
}
