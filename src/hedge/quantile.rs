//! How long do calls take, and which part of them takes longer than that? Nothing here waits, locks or reads a clock.
//!
//! A histogram with buckets as fine as a thirty-second of what they hold, of which there are two: what is counted now, and what was
//! counted before. So the memory is fixed, and what is long past is forgotten.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::Ratio;

/// Two to this power are the buckets in which a time can lie until it has doubled.
const FINE: u32 = 5;
const STEPS: usize = 1 << FINE;
/// Two to this power microseconds, or more, are not told from one another: four minutes and a half.
const LONGEST: u32 = 28;
const BUCKETS: usize = (LONGEST - FINE + 1) as usize * STEPS;
/// After so many more it is calculated again.
const EVERY: u32 = 16;

/// What is known of the time that calls take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What takes longer belongs to the slow ones.
    pub(super) delay: Duration,
    /// Half of all calls take no longer.
    pub(super) typical: Duration,
}

/// How long the calls of late have taken.
#[derive(Debug)]
pub(super) struct Latencies {
    current: Histogram,
    before: Histogram,
    /// Since when is counted what is counted now.
    begun: Instant,
    uncalculated: u32,
    rules: Rules,
}

/// Of what, and how exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// The share of the calls that are not slow.
    pub(super) quantile: Ratio,
    /// How many say something.
    pub(super) min_calls: u32,
    /// How long is counted at the least before it is forgotten with what comes after it.
    pub(super) window: Duration,
}

#[derive(Debug)]
struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u32,
}

impl Latencies {
    pub(super) fn new(rules: Rules, now: Instant) -> Self {
        let (current, before) = (Histogram::new(), Histogram::new());
        Self { current, before, begun: now, uncalculated: 0, rules }
    }

    /// How many calls are counted.
    pub(super) const fn calls(&self) -> u32 {
        self.current.total.saturating_add(self.before.total)
    }

    /// One took so long. If that is news, what is known now.
    pub(super) fn note(&mut self, took: Duration, now: Instant) -> Option<Known> {
        let is_full = self.current.total >= self.rules.min_calls.max(1);
        // What nothing new has come after is not forgotten, or nothing would be known after every quiet hour.
        if is_full && now.saturating_duration_since(self.begun) >= self.rules.window {
            std::mem::swap(&mut self.current, &mut self.before);
            self.current.clear();
            self.begun = now;
        }
        self.current.add(took);
        self.uncalculated += 1;
        if self.uncalculated < EVERY && self.calls() != self.rules.min_calls {
            return None;
        }
        self.uncalculated = 0;
        self.known()
    }

    /// Nothing, as long as there are too few.
    pub(super) fn known(&self) -> Option<Known> {
        let calls = self.calls();
        if calls < self.rules.min_calls.max(1) {
            return None;
        }
        let slow = 1_000_000 - u64::from(self.rules.quantile.parts_per_million());
        let slow = u64::from(calls) * slow / 1_000_000;
        let half = u64::from(calls) / 2;
        let (mut above, mut delay) = (0, None);
        for bucket in (0..BUCKETS).rev() {
            above += u64::from(self.current.counts[bucket]) + u64::from(self.before.counts[bucket]);
            if above > slow && delay.is_none() {
                delay = Some(bound(bucket));
            }
            if above > half {
                let typical = bound(bucket);
                return Some(Known { delay: delay.unwrap_or(typical), typical });
            }
        }
        None
    }
}

impl Histogram {
    fn new() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0 }
    }

    fn add(&mut self, took: Duration) {
        let count = &mut self.counts[bucket(took)];
        *count = count.saturating_add(1);
        self.total = self.total.saturating_add(1);
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

fn bucket(took: Duration) -> usize {
    let micros = took.as_micros().min((1 << LONGEST) - 1) as usize;
    let doublings = micros.checked_ilog2().unwrap_or(0);
    if doublings < FINE {
        return micros;
    }
    let finer = doublings - FINE;
    (finer as usize + 1) * STEPS + ((micros >> finer) & (STEPS - 1))
}

/// Everything in a bucket takes less than this.
fn bound(bucket: usize) -> Duration {
    let micros = match bucket / STEPS {
        0 => bucket + 1,
        octave => (STEPS + bucket % STEPS + 1) << (octave - 1),
    };
    Duration::from_micros(micros as u64)
}

/// Whether a call says something that ended so, or was given up. How long one would have taken that was not answered is not known, only
/// that it is longer: that says nothing where many take longer anyway.
pub(super) fn says_something(answered: bool, took: Duration, delay: Option<Duration>) -> bool {
    answered || delay.is_some_and(|delay| took > delay)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rules(percent: u8, min_calls: u32) -> Rules {
        Rules { quantile: Ratio::percent(percent), min_calls, window: 1_000 * MS }
    }

    fn notes(latencies: &mut Latencies, calls: usize, took: Duration, now: Instant) {
        for _ in 0..calls {
            let _ = latencies.note(took, now);
        }
    }

    #[test]
    fn the_buckets_are_in_order_and_leave_nothing_out() {
        for at in 1..BUCKETS {
            assert!(bound(at - 1) < bound(at), "{at}");
            assert_eq!(bucket(bound(at - 1)), at, "what one does not hold, the next does");
            assert_eq!(bucket(bound(at) - Duration::from_nanos(1)), at);
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_calls_say_nothing() {
        let mut latencies = Latencies::new(rules(98, 100), Instant::now());
        for _ in 0..99 {
            assert_eq!(latencies.note(MS, Instant::now()), None);
        }
        assert!(latencies.note(MS, Instant::now()).is_some(), "the hundredth is told at once");
    }

    #[test]
    fn it_is_calculated_as_soon_as_there_are_enough_and_then_with_every_sixteenth() {
        let now = Instant::now();
        let mut latencies = Latencies::new(rules(98, 10), now);
        let told: Vec<_> = (1..=50).filter(|_| latencies.note(MS, now).is_some()).collect();
        assert_eq!(told, [10, 26, 42]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_past_is_forgotten_only_when_enough_came_after_it() {
        let start = Instant::now();
        let mut latencies = Latencies::new(rules(98, 100), start);
        notes(&mut latencies, 100, 1_000 * MS, start);
        // A quiet night.
        let morning = start + 36_000_000 * MS;
        notes(&mut latencies, 1, MS, morning);
        assert!(latencies.known().is_some_and(|known| known.delay >= 1_000 * MS));
        notes(&mut latencies, 99, MS, morning);
        assert!(latencies.known().is_some_and(|known| known.delay >= 1_000 * MS), "half of them are slow");
        let later = morning + 1_000 * MS;
        notes(&mut latencies, 1, MS, later);
        assert!(latencies.known().is_some_and(|known| known.delay < 2 * MS));
        assert_eq!(latencies.calls(), 101, "those of the morning, and one");
    }

    #[test]
    fn who_was_given_up_counts_only_if_that_was_late() {
        assert!(says_something(true, MS, Some(10 * MS)));
        assert!(!says_something(false, 10 * MS, Some(10 * MS)));
        assert!(says_something(false, 11 * MS, Some(10 * MS)));
        assert!(!says_something(false, 11 * MS, None));
    }

    proptest! {
        #[test]
        fn no_more_than_the_share_takes_longer_and_it_is_as_short_as_that_allows(
            micros in prop::collection::vec(prop_oneof![0_u64..100, 0_u64..100_000, 0_u64..300_000_000], 1..400),
            percent in 50_u8..=100,
        ) {
            let now = Instant::now();
            let mut latencies = Latencies::new(rules(percent, 1), now);
            let mut times: Vec<_> = micros.into_iter().map(Duration::from_micros).collect();
            times.iter().for_each(|took| notes(&mut latencies, 1, *took, now));
            times.sort_unstable();
            let known = latencies.known().unwrap();
            let may = times.len() * usize::from(100 - percent) / 100;
            // The exact quantile: the smallest of them that no more than the share exceeds.
            let exact = times[times.len() - 1 - may];
            let least = exact.min(Duration::from_micros((1 << LONGEST) - 1));
            prop_assert!(known.delay > least, "{known:?} {exact:?}");
            prop_assert!(known.delay <= least + least / 31 + Duration::from_micros(1), "{known:?} {exact:?}");
            prop_assert!(known.typical <= known.delay);
        }
    }
}
