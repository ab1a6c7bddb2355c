//! Are these too many? What was counted is judged by the settings, and by nothing else.

use super::BreakerSettings;
use super::window::Result;
use crate::base::{CircuitReason, Ratio};

/// Calls that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

impl Counted {
    pub(super) fn add(&mut self, result: Result) {
        self.calls += 1;
        self.failures += u64::from(result.failed);
        self.slow += u64::from(result.slow);
    }
}

impl BreakerSettings {
    /// Whether what was counted is reason enough to open.
    pub(super) fn reason(&self, counted: &Counted) -> Option<CircuitReason> {
        let enough = counted.calls >= u64::from(self.min_calls);
        if enough { self.reason_whatever_the_volume(counted) } else { None }
    }

    /// The same, but for the volume.
    pub(super) fn reason_whatever_the_volume(&self, counted: &Counted) -> Option<CircuitReason> {
        if self.failure_rate.is_some_and(|share| is_share(share, counted.failures, counted.calls)) {
            return Some(CircuitReason::FailureRate);
        }
        (self.slow_call.is_some() && is_share(self.slow_rate, counted.slow, counted.calls))
            .then_some(CircuitReason::SlowRate)
    }

    /// Whether these probes say that the service does not work.
    pub(super) fn probes_failed(&self, counted: &Counted) -> bool {
        let share = self.failure_rate.unwrap_or(Ratio::percent(50));
        is_share(share, counted.failures, counted.calls)
            || (self.slow_call.is_some() && is_share(self.slow_rate, counted.slow, counted.calls))
    }
}

/// Whether `part` is at least this share of `whole`, exactly.
fn is_share(share: Ratio, part: u64, whole: u64) -> bool {
    whole > 0 && u128::from(part) * 1_000_000 >= u128::from(whole) * u128::from(share.parts_per_million())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_reached_by_exactly_that_share() {
        let third = Ratio::per_million(333_333).unwrap();
        for (share, part, whole, reached) in [
            (Ratio::percent(50), 10, 20, true),
            (Ratio::percent(50), 9, 19, false),
            (Ratio::percent(100), 5, 5, true),
            (Ratio::percent(100), 4, 5, false),
            (third, 333_333, 1_000_000, true),
            (third, 333_332, 1_000_000, false),
            (Ratio::percent(1), 0, 0, false),
        ] {
            assert_eq!(is_share(share, part, whole), reached, "{part} of {whole}");
        }
    }

    #[test]
    fn slow_calls_are_a_reason_only_where_they_are_looked_at_and_from_their_share_on() {
        let looks = BreakerSettings::new().slow_calls(std::time::Duration::from_secs(1), Ratio::percent(80));
        let slow = |slow| Counted { calls: 100, failures: 0, slow };
        for (settings, slow, reason) in [
            (looks.clone(), slow(79), None),
            (looks.clone(), slow(80), Some(CircuitReason::SlowRate)),
            (looks.without_slow_calls(), slow(100), None),
        ] {
            assert_eq!(settings.reason(&slow), reason, "{slow:?}");
        }
    }
}
