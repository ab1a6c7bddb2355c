//! What an endpoint's calls have cost lately: a moving average that follows a slow call at once, and forgets it by and by.
//!
//! As in Finagle's `PeakEwma`: a call that took longer than the average *is* the new average; one that took less pulls it down
//! by as much as time has passed since the last.

use std::time::Duration;

/// Ticks are counted from the beginning of a balancer, in 2¹⁶ ns: 78 hours go round once.
const TICK: u64 = 1 << 16;

/// By how many of them one thread's reading of the clock may lie before that of another: more than a minute's.
const BEFORE: u32 = 1 << 20;

/// An average of microseconds and when it was that, in one number, so that both change together: an `f32` above a `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ewma(pub(super) u64);

impl Ewma {
    /// Nothing was measured yet.
    pub(super) const NONE: Self = Self(0);

    fn new(micros: f64, ticks: u32) -> Self {
        // Not quite nothing, so that it differs from an average that nobody measured.
        let micros = (micros as f32).max(f32::MIN_POSITIVE);
        Self(u64::from(micros.to_bits()) << 32 | u64::from(ticks))
    }

    fn micros(self) -> f64 {
        f64::from(f32::from_bits((self.0 >> 32) as u32))
    }

    /// What is left of the last average after the time since then, from 0 to 1.
    fn left(self, now: u32, decay: Duration) -> f64 {
        let gone = now.wrapping_sub(self.0 as u32);
        // Nearly once round: another thread's reading of the clock is a little older than what is noted here.
        if gone == 0 || gone > u32::MAX - BEFORE {
            return 1.0;
        }
        (-(f64::from(gone) * TICK as f64) / (decay.as_secs_f64() * 1e9)).exp()
    }

    /// The average at `now` in microseconds: if nothing is measured, it falls towards nothing, so that whoever was slow is
    /// tried again. Nothing, if nothing ever was measured.
    pub(super) fn at(self, now: u32, decay: Duration) -> Option<f64> {
        (self != Self::NONE).then(|| self.micros() * self.left(now, decay))
    }

    /// A call took so long.
    pub(super) fn with(self, took: Duration, now: u32, decay: Duration) -> Self {
        let took = took.as_nanos() as f64 / 1e3;
        if self == Self::NONE || took >= self.micros() {
            return Self::new(took, now);
        }
        let left = self.left(now, decay);
        Self::new(self.micros() * left + took * (1.0 - left), now)
    }

    /// A call failed after so long, and as many before it in a row. Had it gone on it would have taken longer, nobody knows by how
    /// much: it counts as twice that. One failure says little else. From the second in a row on each costs a penalty more, or
    /// whoever fails at once would look like the fastest.
    pub(super) fn with_failure(self, took: Duration, before: u64, penalty: Duration, now: u32) -> Self {
        const MOST: u64 = 10;
        let penalties = penalty.saturating_mul(before.min(MOST) as u32);
        self.with_at_least(took.saturating_mul(2).max(penalties), now)
    }

    /// A call would have taken so long, or longer: nobody waited for its end.
    pub(super) fn with_at_least(self, took: Duration, now: u32) -> Self {
        let took = took.as_nanos() as f64 / 1e3;
        if took >= self.micros() { Self::new(took, now) } else { self }
    }
}

/// So long after the beginning of the balancer.
pub(super) fn ticks(since_its_beginning: Duration) -> u32 {
    (since_its_beginning.as_nanos() / u128::from(TICK)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> u32 {
        ticks(Duration::from_millis(millis))
    }

    fn millis(ewma: Ewma, now: u32) -> f64 {
        ewma.at(now, DECAY).expect("measured") / 1e3
    }

    #[test]
    fn a_slow_call_counts_at_once_and_is_forgotten_by_and_by() {
        assert_eq!(Ewma::NONE.at(0, DECAY), None);
        let usual = Ewma::NONE.with(20 * MS, at(0), DECAY);
        assert!((millis(usual, at(0)) - 20.0).abs() < 0.01);
        let peak = usual.with(2_000 * MS, at(1), DECAY);
        assert!((millis(peak, at(1)) - 2_000.0).abs() < 0.1, "{}", millis(peak, at(1)));
        let later = peak.with(20 * MS, at(10_001), DECAY);
        let expected = 2_000.0 / std::f64::consts::E + 20.0 * (1.0 - 1.0 / std::f64::consts::E);
        assert!((millis(later, at(10_001)) - expected).abs() < 1.0, "{}", millis(later, at(10_001)));
        assert!(millis(peak, at(100_000)) < 0.2, "so that somebody asks it again");
    }

    #[test]
    fn whoever_gave_up_makes_it_no_faster() {
        let usual = Ewma::NONE.with(20 * MS, at(0), DECAY);
        assert_eq!(usual.with_at_least(MS, at(5_000)), usual);
        let slow = usual.with_at_least(500 * MS, at(5_000));
        assert!((millis(slow, at(5_000)) - 500.0).abs() < 0.1);
        assert!(Ewma::NONE.with_at_least(MS, at(1)).at(at(1), DECAY).is_some());
    }

    #[test]
    fn one_failure_changes_little_and_whoever_fails_again_and_again_is_soon_dear() {
        let second = Duration::from_secs(1);
        let usual = Ewma::NONE.with(20 * MS, at(0), DECAY);
        let mut sick = usual;
        for (before, cost) in [(0, 20.0), (1, 1_000.0), (2, 2_000.0), (10, 10_000.0), (1_000, 10_000.0)] {
            sick = sick.with_failure(MS, before, second, at(0));
            assert!((millis(sick, at(0)) - cost).abs() < 0.01, "{before}: {}", millis(sick, at(0)));
        }
        // One that ran out of time counts at once.
        let late = usual.with_failure(3 * second, 0, second, at(10));
        assert!((millis(late, at(10)) - 6_000.0).abs() < 1.0);
        let overflown = usual.with_failure(Duration::MAX, u64::MAX, Duration::MAX, 0);
        assert!(overflown.at(0, DECAY).is_some_and(f64::is_finite));
    }

    #[test]
    fn clocks_that_differ_a_little_and_go_round_do_no_harm() {
        let usual = Ewma::NONE.with(20 * MS, 5, DECAY);
        assert!((millis(usual, 3) - 20.0).abs() < 0.01, "a reading from before");
        let once_round = 5_u32.wrapping_sub(1).wrapping_sub(BEFORE);
        assert!(millis(usual, once_round) < 0.01, "days after it");
        assert!(millis(usual, 5 + u32::MAX / 2 + 1) < 0.01, "or some fewer");
        assert!((millis(usual, once_round + 1) - 20.0).abs() < 0.01, "or a minute before it");
        let before = Ewma::NONE.with(20 * MS, u32::MAX - 2, DECAY);
        assert!((millis(before, 3) - 20.0).abs() < 0.01, "six ticks later");
        assert!(Ewma::NONE.with(Duration::MAX, 0, DECAY).at(0, DECAY).unwrap().is_finite());
        assert_ne!(Ewma::NONE.with(Duration::ZERO, 0, DECAY), Ewma::NONE);
    }
}
