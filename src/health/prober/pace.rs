//! Decides when the next probe starts. Nothing here waits, locks or reads a clock.
//!
//! There is no time for each endpoint but one pace for all: with `n` endpoints, a probe starts every `interval / n`, of whoever was probed the
//! longest time ago. So probes are spread evenly, however endpoints came and went, and nothing has to be put right when they do.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::{Deadline, Rng};

/// Endpoints that were never probed do not wait for their turn at the usual pace if that is slower than this: with three of
/// them and ten seconds, the last would wait for seven.
const FIRST: Duration = Duration::from_millis(50);
/// A start that is later than this, since there was no place or no turn for it, is not caught up with. Timers are late by up
/// to a millisecond, and that is: else ten thousand endpoints would be probed half as often as they should be.
const SLACK: Duration = Duration::from_millis(10);

/// When a probe was started last, and how long after that the next one is.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    last: Instant,
    /// The share of the usual time between two starts that has to pass before the next.
    share: f64,
    /// The same, if the last one was a first one and the next is none.
    share_after_first: Option<f64>,
    /// When those that were never probed may start.
    first_from: Instant,
}

impl Pace {
    pub(super) const fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, last: now, share: 0.0, share_after_first: None, first_from: now }
    }

    /// Endpoints were added, and there are now so many. A whole fleet that hears of them at the same time begins at different times.
    pub(super) fn added(&mut self, endpoints: usize, now: Instant, rng: &Rng) {
        let gap = self.usual(endpoints).min(FIRST);
        self.first_from = Deadline::after(now, rng.duration_below(gap)).instant();
    }

    /// When the next one starts, with so many endpoints; `first` if that has never been probed.
    pub(super) fn due(&self, endpoints: usize, first: bool) -> Instant {
        let usual = self.usual(endpoints);
        if first {
            self.after_last(usual.min(FIRST), self.share).max(self.first_from)
        } else {
            self.after_last(usual, self.share_after_first.unwrap_or(self.share))
        }
    }

    /// One that was due then starts now.
    pub(super) fn started(&mut self, due: Instant, first: bool, now: Instant, rng: &Rng) {
        let lately = now.checked_sub(SLACK).unwrap_or(now);
        self.last = due.max(lately);
        // Give or take a tenth, so that two who probe the same do not stay in step.
        self.share = 0.9 + rng.unit() / 5.0;
        // Anything from half on: where first ones were quick, what follows them is not at the same time in a whole fleet.
        self.share_after_first = first.then(|| 0.5 + rng.unit() / 2.0);
    }

    fn usual(&self, endpoints: usize) -> Duration {
        self.interval / u32::try_from(endpoints).unwrap_or(u32::MAX).max(1)
    }

    fn after_last(&self, gap: Duration, share: f64) -> Instant {
        // In floating point the longest of all durations could become longer still.
        let gap = Duration::try_from_secs_f64(gap.as_secs_f64() * share).unwrap_or(Duration::MAX);
        Deadline::after(self.last, gap).instant()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many start in each tenth of a second from here on, if each starts when it is due.
    fn starts(pace: &mut Pace, endpoints: usize, from: Instant, tenths: usize, rng: &Rng) -> Vec<u32> {
        let mut counts = vec![0; tenths];
        for number in 0.. {
            let first = number < endpoints;
            let due = pace.due(endpoints, first);
            let tenth = (due - from).as_millis() / 100;
            let Some(count) = counts.get_mut(tenth as usize) else { break };
            *count += 1;
            pace.started(due, first, due, rng);
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn starts_are_spread_evenly_whatever_the_seed() {
        let now = Instant::now();
        for seed in 0..100 {
            let rng = Rng::seeded(seed);
            let mut pace = Pace::new(10 * SECOND, now);
            pace.added(1_000, now, &rng);
            let counts = starts(&mut pace, 1_000, now, 300, &rng);
            assert!(counts.iter().all(|count| (9..=11).contains(count)), "seed {seed}: {counts:?}");
            let all: u32 = counts.iter().sum();
            assert!((2_970..=3_030).contains(&all), "seed {seed}: {all} in three intervals");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_probed_waits_for_no_more_than_a_twentieth_of_a_second_each() {
        let now = Instant::now();
        for seed in 0..100 {
            let rng = Rng::seeded(seed);
            let mut pace = Pace::new(10 * SECOND, now);
            let mut at = now;
            pace.added(3, now, &rng);
            for _ in 0..3 {
                let due = pace.due(3, true);
                assert!(due >= at && due - at <= FIRST * 11 / 10, "seed {seed}");
                pace.started(due, true, due, &rng);
                at = due;
            }
            let gap = pace.due(3, false) - at;
            assert!(
                gap >= 10 * SECOND / 6 && gap <= 10 * SECOND / 3,
                "seed {seed}: then at the usual pace: {gap:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_that_were_never_probed_are_probed_at_the_usual_pace() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut pace = Pace::new(10 * SECOND, now);
        pace.started(now, false, now, &rng);
        assert_eq!(pace.due(1_000, true), pace.due(1_000, false));
        // Also when they come after a pause: those who are added in a fleet do not all start at once.
        let later = now + 60 * SECOND;
        pace.added(1_000, later, &rng);
        let wait = pace.due(1_000, true) - later;
        assert!(!wait.is_zero() && wait <= SECOND / 100, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_start_is_caught_up_with_for_a_moment_and_no_longer() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut pace = Pace::new(10 * SECOND, now);
        let tenth = SECOND / 10;
        pace.started(now, false, now + SECOND / 1_000, &rng);
        assert!(pace.due(100, false) <= now + tenth + tenth / 10, "as if it had been in time");
        pace.started(now, false, now + SECOND, &rng);
        let next = pace.due(100, false);
        assert!(next >= now + SECOND + tenth * 8 / 10, "and not all at once");
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_interval_is_no_reason_to_panic() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut pace = Pace::new(Duration::MAX, now);
        for endpoints in [0, 1, usize::MAX] {
            for _ in 0..10 {
                assert!(pace.due(endpoints, false) >= now);
                pace.started(now, false, now, &rng);
            }
        }
    }
}
