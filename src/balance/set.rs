use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::choice::{draw, of_two};
use super::endpoint::Endpoint;
use super::picker::{Candidates, Look, Picker};
use super::rendezvous::by_key;
use super::slow_start::SlowStart;
use super::turns::Turns;
use super::weighted::Weights;
use super::{BalancerSettings, Pick};
use crate::base::{EndpointId, Rng, Tried};

/// Those that can be picked at one moment. Made anew at every change, and never changed.
pub(super) struct Set<S> {
    /// Those tiers that get calls, the nearest first.
    pub(super) tiers: Box<[Tier<S>]>,
    /// How many endpoints there are, whether they can be picked or not.
    pub(super) members: usize,
    /// Whether of one of them it is not known yet if it can be reached.
    pub(super) waits: bool,
}

pub(super) struct Tier<S> {
    /// Of a hundred calls.
    pub(super) percent: u32,
    pub(super) weights: Weights,
    /// And nothing beside them, so that a pick among many waits for less memory.
    pub(super) endpoints: Box<[Arc<Endpoint<S>>]>,
    /// Since when each is ready. Of those that are picked although they are not, nothing.
    since: Box<[Option<Instant>]>,
    /// The first time at which one became ready, and the last.
    pub(super) oldest: Option<Instant>,
    pub(super) newest: Option<Instant>,
}

/// Why a call gets no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotPicked {
    /// There is none that it could get.
    Nobody,
    /// There is one, and a [`Picker`] does not want it. Nobody says when it will.
    Declined,
}

/// What a pick needs beside the set.
pub(super) struct Picking<'a> {
    pub(super) settings: &'a BalancerSettings,
    pub(super) rng: &'a Rng,
    pub(super) turns: &'a Turns,
    pub(super) now: Instant,
    /// The same, since the beginning of the balancer.
    pub(super) ticks: u32,
    pub(super) key: Option<u64>,
    pub(super) picker: Option<&'a dyn Picker>,
}

impl<S> Set<S> {
    pub(super) const fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Whether there is one that was not tried.
    pub(super) fn has_other(&self, tried: &Tried) -> bool {
        let mut all = self.tiers.iter().flat_map(|tier| tier.endpoints.iter());
        all.any(|endpoint| !tried.contains(endpoint.number))
    }

    /// One of those that were not tried.
    pub(super) fn pick(&self, with: &Picking<'_>, tried: &Tried) -> Option<&Arc<Endpoint<S>>> {
        let drawn = self.tier(with)?;
        let picked = self.tiers[drawn].pick(with, tried);
        if picked.is_some() {
            return picked;
        }
        let others = self.tiers.iter().enumerate().filter(|(at, _)| *at != drawn);
        others.map(|(_, tier)| tier).find_map(|tier| tier.pick(with, tried))
    }

    /// The tier that this call goes to. A key goes to the same one each time, as long as that gets any.
    fn tier(&self, with: &Picking<'_>) -> Option<usize> {
        if self.tiers.len() < 2 {
            return self.tiers.len().checked_sub(1);
        }
        let sum = self.tiers.iter().map(|tier| u64::from(tier.percent)).sum::<u64>();
        let mut drawn = with.key.map_or_else(|| with.rng.below(sum), |key| key % sum.max(1));
        let found = self.tiers.iter().position(|tier| {
            let percent = u64::from(tier.percent);
            let is_in = drawn < percent;
            drawn = drawn.saturating_sub(percent);
            is_in
        });
        found.or(Some(0))
    }
}

impl<S> Tier<S> {
    pub(super) fn new(
        percent: u32,
        members: impl Iterator<Item = (Arc<Endpoint<S>>, u32, Option<Instant>)>,
    ) -> Self {
        let (mut weights, mut endpoints, mut ready_since) = (Vec::new(), Vec::new(), Vec::new());
        for (endpoint, weight, since) in members {
            weights.push(weight);
            endpoints.push(endpoint);
            ready_since.push(since);
        }
        let ready = || ready_since.iter().copied().flatten();
        let (oldest, newest) = (ready().min(), ready().max());
        let (weights, endpoints, since) = (Weights::new(weights), endpoints.into(), ready_since.into());
        Self { percent, weights, endpoints, since, oldest, newest }
    }

    fn pick(&self, with: &Picking<'_>, tried: &Tried) -> Option<&Arc<Endpoint<S>>> {
        let moment = Moment::new(self, with, tried);
        let load = |at: usize| &moment.endpoint(at).load;
        let at = if let Some(key) = with.key {
            let name = |at: usize| moment.endpoint(at).name;
            by_key(key, &self.weights, name, |at| moment.may_be(at), |at| load(at).in_flight())
        } else if let Some(picker) = with.picker {
            picker.pick(&Candidates::of(&moment), with.rng).map(|picked| picked.at())
        } else {
            let admits = |at: usize| moment.admits(at);
            match with.settings.pick {
                Pick::LeastLoaded => {
                    of_two(&self.weights, with.rng, admits, |at| moment.endpoint(at).calls(moment.share(at)))
                }
                Pick::PeakEwma => of_two(&self.weights, with.rng, admits, |at| {
                    moment.endpoint(at).cost(with.ticks, with.settings.decay, moment.share(at))
                }),
                Pick::WeightedRoundRobin => self.weights.turn(with.rng, || with.turns.next(), admits),
            }
        };
        at.map(|at| &self.endpoints[at])
    }

    /// Whether one of them has come so late that it gets less than its share.
    fn is_slow(&self, window: Duration, now: Instant) -> bool {
        self.newest.is_some_and(|newest| now.saturating_duration_since(newest) < window)
    }
}

/// A tier at the moment of a pick.
struct Moment<'a, S> {
    tier: &'a Tier<S>,
    with: &'a Picking<'a>,
    tried: &'a Tried,
    slow: Option<SlowStart>,
}

impl<'a, S> Moment<'a, S> {
    fn new(tier: &'a Tier<S>, with: &'a Picking<'a>, tried: &'a Tried) -> Self {
        let slow = with.settings.slow().filter(|slow| tier.is_slow(slow.window, with.now));
        Self { tier, with, tried, slow }
    }

    fn endpoint(&self, at: usize) -> &Endpoint<S> {
        &self.tier.endpoints[at]
    }

    fn may_be(&self, at: usize) -> bool {
        self.tried.is_empty() || !self.tried.contains(self.endpoint(at).number)
    }

    /// How much of its share it has grown to.
    fn warmth(&self, at: usize) -> f64 {
        match (&self.slow, self.tier.since[at], self.tier.oldest) {
            (Some(slow), Some(since), Some(oldest)) => {
                let now = self.with.now;
                slow.relative(now.saturating_duration_since(since), now.saturating_duration_since(oldest))
            }
            _ => 1.0,
        }
    }
}

impl<S> Look for Moment<'_, S> {
    fn count(&self) -> usize {
        self.tier.endpoints.len()
    }

    fn admits(&self, at: usize) -> f64 {
        if self.may_be(at) { self.warmth(at) } else { 0.0 }
    }

    fn draw(&self, rng: &Rng) -> Option<usize> {
        draw(&self.tier.weights, rng, |at| self.admits(at))
    }

    fn id(&self, at: usize) -> &EndpointId {
        &self.endpoint(at).id
    }

    fn share(&self, at: usize) -> f64 {
        self.tier.weights.to_average(at) * self.warmth(at)
    }

    fn in_flight(&self, at: usize) -> u64 {
        self.endpoint(at).load.in_flight()
    }

    fn latency(&self, at: usize) -> Option<Duration> {
        self.endpoint(at).latency.time(self.with.ticks, self.with.settings.decay)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Tiers of so many percent; of their endpoints the weights, and for how many seconds they have been ready.
    fn set(now: Instant, tiers: &[(u32, &[(u32, u32)])]) -> Set<()> {
        let member = |(weight, age): &(u32, u32)| {
            (Endpoint::new(EndpointId::from("one"), (), Weak::new()), *weight, Some(now - *age * SECOND))
        };
        let tier =
            |(percent, members): &(u32, &[(u32, u32)])| Tier::new(*percent, members.iter().map(member));
        Set { tiers: tiers.iter().map(tier).collect(), members: 0, waits: false }
    }

    /// Look at a set with these things.
    fn look<R>(now: Instant, key: Option<u64>, look: impl FnOnce(&Picking<'_>) -> R) -> R {
        let settings = BalancerSettings::new().slow_start(30 * SECOND);
        let (rng, turns) = (Rng::seeded(1), Turns::new());
        let (settings, rng, turns) = (&settings, &rng, &turns);
        look(&Picking { settings, rng, turns, now, ticks: 0, key, picker: None })
    }

    fn tried<S>(endpoint: &Endpoint<S>) -> Tried {
        let mut tried = Tried::default();
        tried.add(endpoint.number);
        tried
    }

    #[test]
    fn a_key_goes_to_the_tier_that_its_percent_belongs_to_or_to_another_once_it_was_tried_there() {
        let now = Instant::now();
        let set = set(now, &[(30, &[(1, 60)]), (70, &[(1, 60)])]);
        assert!(!set.is_empty());
        for (key, tier) in [(0, 0), (29, 0), (30, 1), (99, 1), (100, 0), (129, 0), (130, 1)] {
            look(now, Some(key), |with| {
                assert_eq!(set.tier(with), Some(tier), "{key}");
                let picked = set.pick(with, &tried(&set.tiers[tier].endpoints[0])).expect("the other one");
                assert_eq!(picked.number, set.tiers[1 - tier].endpoints[0].number, "{key}");
            });
        }
    }

    #[test]
    fn one_that_has_just_come_has_a_part_of_its_share_and_one_that_was_tried_is_no_candidate() {
        let now = Instant::now();
        let tier = &set(now, &[(100, &[(1, 60), (3, 15)])]).tiers[0];
        assert!(tier.is_slow(16 * SECOND, now) && !tier.is_slow(15 * SECOND, now));
        look(now, None, |with| {
            let nobody = Tried::default();
            let moment = Moment::new(tier, with, &nobody);
            assert_eq!([0, 1].map(|at| moment.warmth(at)), [1.0, 0.5]);
            assert_eq!([0, 1].map(|at| moment.share(at)), [0.5, 0.75], "of 1 and 3 the average is 2");
            let first = tried(&tier.endpoints[0]);
            let moment = Moment::new(tier, with, &first);
            assert!(Candidates::of(&moment).iter().map(|one| one.at()).eq([1]));
        });
    }
}
