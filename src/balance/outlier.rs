//! Which endpoints do worse than the others, and for how long they are left out. Nothing here locks or reads a clock.
//!
//! The rules are those of Envoy's outlier detection and of gRFC A50, where they say the same.

use std::time::Duration;

use super::OutlierSettings;
use crate::base::{EndpointReason, Rng};

/// What was counted of one endpoint in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) successes: u32,
    pub(super) calls: u32,
}

impl Counted {
    fn rate(self) -> f64 {
        f64::from(self.successes) / f64::from(self.calls)
    }
}

/// How many of so many may be left out at once: their share, rounded down, but one at the least. Of a single one, none:
/// there is nobody to be better than, and whom its callers could be sent to.
pub(super) fn most_ejected(endpoints: usize, settings: &OutlierSettings) -> usize {
    if endpoints < 2 {
        return 0;
    }
    let share = endpoints as u128 * u128::from(settings.max_ejected.parts_per_million()) / 1_000_000;
    (share as usize).max(1)
}

/// How long it is left out, if it was so often before, lately: once more of the base each time, and up to a tenth more by
/// chance, so that those that failed together do not come back together.
pub(super) fn ejection_time(before: u32, settings: &OutlierSettings, rng: &Rng) -> Duration {
    let longest = settings.max_ejection.max(settings.base_ejection);
    let time = settings.base_ejection.saturating_mul(before.saturating_add(1)).min(longest);
    time.saturating_add(rng.duration_below(time / 10))
}

/// How often it still counts as left out before, if it has been back for so long: one less for each interval.
pub(super) fn still_counts(before: u32, back_for: Duration, settings: &OutlierSettings) -> u32 {
    let intervals = back_for.as_nanos() / settings.interval.as_nanos().max(1);
    before.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX))
}

/// Which ones did too badly in the interval that has ended, and why; the worst first.
pub(super) fn judge(counted: &[Counted], settings: &OutlierSettings) -> Vec<(usize, EndpointReason)> {
    let with = |calls: u32| move |(_, one): &(usize, &Counted)| one.calls > 0 && one.calls >= calls;
    let mut found: Vec<(usize, EndpointReason)> = Vec::new();

    let judged: Vec<_> = counted.iter().enumerate().filter(with(settings.success_rate_calls)).collect();
    if let Some(deviations) = settings.success_rate {
        if judged.len() >= settings.min_endpoints {
            let least = least_success_rate(judged.iter().map(|(_, one)| one.rate()), deviations);
            let bad = judged.iter().filter(|(_, one)| one.rate() < least);
            found.extend(bad.map(|(at, _)| (*at, EndpointReason::SuccessRate)));
        }
    }

    let judged: Vec<_> = counted.iter().enumerate().filter(with(settings.failure_share_calls)).collect();
    if let Some(share) = settings.failure_share {
        if judged.len() >= settings.min_endpoints {
            let is_bad = |one: &Counted| {
                let failures = u64::from(one.calls.saturating_sub(one.successes));
                failures * 1_000_000 >= u64::from(one.calls) * u64::from(share.parts_per_million())
            };
            let bad = judged.iter().filter(|(at, one)| is_bad(one) && found.iter().all(|(it, _)| it != at));
            let bad: Vec<_> = bad.map(|(at, _)| (*at, EndpointReason::FailureShare)).collect();
            found.extend(bad);
        }
    }
    found.sort_by(|(one, _), (other, _)| counted[*one].rate().total_cmp(&counted[*other].rate()));
    found
}

/// The mean less so many standard deviations, of all of them and not of a sample.
fn least_success_rate(rates: impl Iterator<Item = f64> + Clone, deviations: f64) -> f64 {
    let count = rates.clone().count() as f64;
    let mean = rates.clone().sum::<f64>() / count;
    let variance = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - deviations * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Ratio;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(calls: u32, percents: &[u32]) -> Vec<Counted> {
        percents.iter().map(|percent| Counted { successes: calls * percent / 100, calls }).collect()
    }

    /// The table of gRFC A50 and Envoy, which eject one at the least: but for a single endpoint, of which they do too.
    #[test]
    fn so_many_may_be_left_out() {
        let tenth = OutlierSettings::new().max_ejected(Ratio::percent(10));
        for (endpoints, most) in
            [(0, 0), (1, 0), (2, 1), (3, 1), (5, 1), (10, 1), (20, 2), (29, 2), (100, 10)]
        {
            assert_eq!(most_ejected(endpoints, &tenth), most, "a tenth of {endpoints}");
        }
        let half = OutlierSettings::new();
        for (endpoints, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (10, 5)] {
            assert_eq!(most_ejected(endpoints, &half), most, "half of {endpoints}");
        }
        let all = OutlierSettings::new().max_ejected(Ratio::ONE);
        assert_eq!((most_ejected(1, &all), most_ejected(2, &all), most_ejected(7, &all)), (0, 2, 7));
    }

    #[test]
    fn the_mean_and_the_deviation_are_those_of_the_document() {
        let least = least_success_rate([1.0, 1.0, 1.0, 1.0, 0.0].into_iter(), 1.9);
        assert!((least - 0.04).abs() < 1e-9, "{least}");
        let found = judge(&of(100, &[100, 100, 100, 100, 0]), &OutlierSettings::new());
        assert_eq!(found, [(4, EndpointReason::SuccessRate)]);
    }

    #[test]
    fn nobody_is_judged_by_few_calls_or_among_few() {
        let settings = OutlierSettings::new();
        assert_eq!(judge(&of(100, &[100, 100, 100, 0]), &settings), [], "four endpoints");
        assert_eq!(judge(&of(49, &[100, 100, 100, 100, 0]), &settings), [], "49 calls");
        // From 50 on the share of failures counts, from 100 on the success rate, too.
        let found = judge(&of(50, &[100, 100, 100, 100, 0]), &settings);
        assert_eq!(found, [(4, EndpointReason::FailureShare)]);
        assert_eq!(judge(&[], &settings), []);
    }

    #[test]
    fn a_share_of_failures_is_too_large_from_exactly_that_share_on() {
        let settings = OutlierSettings::new().without_success_rate();
        let found = judge(&of(100, &[15, 16, 100, 100, 100]), &settings);
        assert_eq!(found, [(0, EndpointReason::FailureShare)]);
    }

    #[test]
    fn where_all_do_badly_nobody_stands_out_by_the_success_rate() {
        let settings = OutlierSettings::new().without_failure_share();
        assert_eq!(judge(&of(100, &[10, 10, 11, 10, 10]), &settings), []);
        assert_eq!(judge(&of(100, &[0, 0, 0, 0, 0]), &settings), []);
    }

    #[test]
    fn the_worst_comes_first() {
        let found = judge(&of(100, &[100, 10, 100, 0, 5, 100, 100]), &OutlierSettings::new());
        let order: Vec<_> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(order, [3, 4, 1]);
    }

    #[test]
    fn it_is_left_out_for_longer_each_time_and_for_less_once_it_has_done_well() {
        let settings = OutlierSettings::new();
        let rng = Rng::seeded(1);
        for (before, seconds) in [(0, 30), (1, 60), (4, 150), (9, 300), (u32::MAX, 300)] {
            let time = ejection_time(before, &settings, &rng);
            let least = seconds * SECOND;
            assert!(time >= least && time <= least + least / 10, "{before}: {time:?}");
        }
        let settings = settings.base_ejection(400 * SECOND);
        assert!(
            ejection_time(5, &settings, &rng) >= 400 * SECOND,
            "the base, if that is longer than the longest"
        );
        for (before, back_for, counts) in [(2, 0, 2), (2, 9, 2), (2, 10, 1), (2, 100, 0), (0, 100, 0)] {
            assert_eq!(still_counts(before, back_for * SECOND, &settings), counts, "{before}, {back_for} s");
        }
    }

    #[test]
    fn calls_are_compared_by_their_rate_and_who_had_none_is_not_judged() {
        let settings = OutlierSettings::new().success_rate_calls(0).failure_share_calls(0);
        let mut counted = of(100, &[100, 10, 100, 100, 100]);
        counted.push(Counted::default());
        counted.extend(of(1_000, &[5]));
        let found = judge(&counted, &settings);
        let order: Vec<_> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(order, [6, 1]);
    }
}
