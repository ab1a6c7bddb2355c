//! How many of the calls each tier gets: all go to the first as long as it can take them.
//!
//! The arithmetic of Envoy's priority levels and its panic threshold, in the same whole percents.

use crate::base::Ratio;

/// How a tier is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tier {
    /// Those that are ready.
    pub(super) ready: usize,
    /// Those that are ready and those that are known not to be.
    pub(super) known: usize,
}

/// What a tier gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Of a hundred calls.
    pub(super) percent: u32,
    /// So few of it are ready that it is not believed.
    pub(super) panics: bool,
}

/// The load of each tier, in their order. The percents are a hundred together, or none if no tier has anybody who is known.
pub(super) fn spread(tiers: &[Tier], overprovision_percent: u32, panic_threshold: Ratio) -> Vec<Load> {
    let able = |tier: &Tier| {
        let known = tier.known.max(1) as u128;
        let percent = u128::from(overprovision_percent) * tier.ready as u128 / known;
        percent.min(100) as u32
    };
    let able: Vec<u32> = tiers.iter().map(able).collect();
    let all = able.iter().sum::<u32>().min(100);
    let panics = |tier: &Tier| {
        let few = tier.ready as u128 * 1_000_000
            < tier.known as u128 * u128::from(panic_threshold.parts_per_million());
        // As long as other tiers can take all calls there is no need to.
        all < 100 && few
    };
    let mut loads: Vec<Load> = tiers.iter().map(|tier| Load { percent: 0, panics: panics(tier) }).collect();
    if all == 0 {
        // Nobody is ready anywhere. The first tier is the nearest.
        if let Some(first) = tiers.iter().position(|tier| tier.known > 0) {
            loads[first].percent = 100;
        }
        return loads;
    }
    let mut left = 100;
    for (load, able) in loads.iter_mut().zip(&able) {
        load.percent = (able * 100 / all).min(left);
        left -= load.percent;
    }
    // What was lost by rounding.
    if let Some(last) = loads.iter_mut().rev().find(|load| load.percent > 0) {
        last.percent += left;
    }
    loads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_of(percents: &[usize]) -> Vec<(u32, bool)> {
        let tiers: Vec<_> = percents.iter().map(|ready| Tier { ready: *ready, known: 100 }).collect();
        let loads = spread(&tiers, 140, Ratio::percent(50));
        loads.into_iter().map(|load| (load.percent, load.panics)).collect()
    }

    /// As in the tables of Envoy's documentation on priority levels and on the panic threshold.
    #[test]
    fn tiers_get_what_they_get_elsewhere() {
        for (ready, loads) in [
            ([100, 100], [(100, false), (0, false)]),
            ([72, 100], [(100, false), (0, false)]),
            ([71, 100], [(99, false), (1, false)]),
            ([50, 100], [(70, false), (30, false)]),
            ([25, 100], [(35, false), (65, false)]),
            ([0, 100], [(0, false), (100, false)]),
            ([25, 25], [(50, true), (50, true)]),
            ([5, 65], [(7, true), (93, false)]),
            ([0, 0], [(100, true), (0, true)]),
        ] {
            assert_eq!(spread_of(&ready), loads, "{ready:?}");
        }
        assert_eq!(spread_of(&[10, 5, 0]), [(66, true), (34, true), (0, true)], "what is lost by rounding");
    }

    #[test]
    fn a_tier_of_which_nothing_is_known_gets_nothing_and_does_not_panic() {
        let unknown = Tier { ready: 0, known: 0 };
        let nothing = Load::default();
        assert_eq!(spread(&[unknown], 140, Ratio::percent(50)), [nothing]);
        let good = Tier { ready: 2, known: 2 };
        let all = Load { percent: 100, panics: false };
        assert_eq!(spread(&[unknown, good], 140, Ratio::percent(50)), [nothing, all]);
        assert_eq!(spread(&[], 140, Ratio::percent(50)), []);
    }

    #[test]
    fn with_a_threshold_of_nothing_nobody_panics() {
        let bad = Tier { ready: 0, known: 3 };
        assert!(spread(&[bad], 140, Ratio::ZERO).iter().all(|load| !load.panics && load.percent == 100));
    }

    #[test]
    fn percents_are_a_hundred_together_whatever_the_tiers() {
        for first in 0..=20 {
            for second in 0..=20 {
                for third in 0..=20 {
                    let tier = |ready| Tier { ready, known: 20 };
                    let loads = spread(&[tier(first), tier(second), tier(third)], 140, Ratio::percent(50));
                    let sum: u32 = loads.iter().map(|load| load.percent).sum();
                    assert_eq!(sum, 100, "{first}, {second}, {third}: {loads:?}");
                }
            }
        }
    }
}
