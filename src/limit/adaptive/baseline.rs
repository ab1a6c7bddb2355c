//! Learns how long calls take, and how many are not answered in time, where there is no queue. Pure: the time and the chance come in.
//!
//! It is learnt from calls that are made anyhow, whenever few of them are in flight: at quiet times, and when the limit falls. Where that
//! does not happen for long, the limit dips for a moment, no deeper than it takes to see the end of the queue.

use std::time::Duration;

use tokio::time::Instant;

use super::window::Seen;

/// So much less in flight than before tells whether latency depends on it.
const LOW: f64 = 0.65;
/// What a dip leaves of the limit, and each step of a dip of the one before.
const STEP: f64 = 0.6;
/// It goes no deeper when less is left than this.
const DEEPEST: f64 = 0.3;
/// After so many windows a step of a dip has told nothing, and will not.
const LONGEST_STEP: u32 = 3;
/// The limit goes without a dip for so long at first, then for three times that, and so on; give or take a quarter, so that many servers
/// do not dip at once.
const FIRST_PERIOD: Duration = Duration::from_secs(4);
const PERIOD: Duration = Duration::from_secs(32);
/// If latency falls along with what is in flight, it was all queueing; within this factor, and a standard error, since both are measured.
const PROPORTION: f64 = 1.1;
/// After so many windows, what was seen then says nothing about now.
const LONG_AGO: u32 = 64;
/// What is known weighs as much as so many calls, at most.
const MEMORY: f64 = 200.0;
/// A latency that differs by more than so many of its standard errors is another one, and not the same badly measured.
const SURPRISE: f64 = 3.0;
/// No more than this share of calls that time out is taken for usual.
const MOST_TIMEOUTS: f64 = 0.5;
/// One at a time waits for nobody else.
const ALONE: f64 = 1.5;

#[derive(Clone, Copy, Debug)]
pub(super) struct Baseline {
    known: Option<Known>,
    timed_out: f64,
    /// Where latency was highest lately.
    worst: Option<Worst>,
    period: Duration,
    /// When to dip, if nothing is learnt until then.
    due: Instant,
    dip: Option<Dip>,
}

/// The geometric mean of so many latencies.
#[derive(Clone, Copy, Debug)]
struct Known {
    latency: f64,
    calls: f64,
}

#[derive(Clone, Copy, Debug)]
struct Worst {
    latency: f64,
    in_flight: f64,
    /// How long ago that was.
    windows: u32,
}

#[derive(Clone, Copy, Debug)]
struct Dip {
    share: f64,
    /// Since the last step.
    windows: u32,
}

impl Baseline {
    /// `chance` is from 0 to 1.
    pub(super) fn new(now: Instant, chance: f64) -> Self {
        let period = FIRST_PERIOD;
        Self { known: None, timed_out: 0.0, worst: None, period, due: due(now, period, chance), dip: None }
    }

    /// In seconds, once something is known.
    pub(super) fn latency(&self) -> Option<f64> {
        self.known.map(|known| known.latency)
    }

    /// The share of calls that time out whatever is in flight.
    pub(super) const fn timed_out(&self) -> f64 {
        self.timed_out
    }

    pub(super) const fn dips(&self) -> bool {
        self.dip.is_some()
    }

    /// What is left of a limit just now.
    pub(super) fn share(&self) -> f64 {
        self.dip.map_or(1.0, |dip| dip.share)
    }

    /// Learn from a window. `is_pressed` if so much is in flight that the limit matters.
    pub(super) fn learn(&mut self, now: Instant, seen: &Seen, is_pressed: bool, chance: f64) {
        let settles = self.dip.is_some_and(|dip| dip.windows == 0);
        let is_low = !settles && self.is_low(seen);
        // There was a queue, and there may be one still.
        let has_queue = seen.in_flight >= ALONE && self.fell_in_proportion(seen);
        self.learn_latency(seen, is_low, has_queue);
        if is_low {
            self.timed_out += (seen.timed_out.min(MOST_TIMEOUTS) - self.timed_out) / 2.0;
        }
        self.dip = match self.dip {
            Some(dip) => {
                let next = dip.next(is_low, has_queue);
                if next.is_none() {
                    self.worst = None;
                }
                next
            }
            None if is_low || !is_pressed => {
                self.due = due(now, self.period, chance);
                None
            }
            None if now < self.due => None,
            None => {
                self.period = (self.period * 3).min(PERIOD);
                self.due = due(now, self.period, chance);
                Some(Dip { share: STEP, windows: 0 })
            }
        };
    }

    fn is_low(&self, seen: &Seen) -> bool {
        seen.in_flight < ALONE || self.worst.is_some_and(|worst| seen.in_flight <= LOW * worst.in_flight)
    }

    fn fell_in_proportion(&self, seen: &Seen) -> bool {
        let Some((worst, latency)) = self.worst.zip(seen.latency) else { return false };
        latency * seen.error <= worst.latency * (seen.in_flight / worst.in_flight) * PROPORTION
    }

    fn learn_latency(&mut self, seen: &Seen, is_low: bool, has_queue: bool) {
        let Some(latency) = seen.latency else { return };
        let Some(known) = &mut self.known else {
            self.known = Some(Known { latency, calls: seen.answered });
            return;
        };
        if is_low && (!has_queue || latency < known.latency) {
            known.learn(latency, seen);
        } else {
            // It is no more than what is seen even with a queue, as far as that is more than chance.
            known.latency = known.latency.min(latency * seen.error.powf(SURPRISE));
        }
        // What a dip shows is compared with what was before it. While it begins, some of what was in flight then is there still: were that
        // remembered, the dip would not look low beside it, and tell nothing.
        if self.dip.is_some() {
            return;
        }
        let is_worse = !is_low && self.worst.is_none_or(|worst| latency > worst.latency);
        let replaces = is_worse || self.worst.is_some_and(|worst| worst.windows >= LONG_AGO);
        if replaces {
            self.worst = Some(Worst { latency, in_flight: seen.in_flight, windows: 0 });
        } else if let Some(worst) = &mut self.worst {
            worst.windows += 1;
        }
    }
}

impl Known {
    fn learn(&mut self, latency: f64, seen: &Seen) {
        if (latency / self.latency).ln().abs() > SURPRISE * seen.error.ln() {
            self.calls = self.calls.min(seen.answered);
        }
        let weight = seen.answered / (self.calls + seen.answered);
        self.latency *= (latency / self.latency).powf(weight);
        self.calls = (self.calls + seen.answered).min(MEMORY);
    }
}

impl Dip {
    fn next(self, is_low: bool, has_queue: bool) -> Option<Self> {
        let Self { share, windows } = self;
        match windows {
            // Most of what ended now began before the dip.
            0 => Some(Self { share, windows: 1 }),
            _ if is_low && has_queue && share > DEEPEST => Some(Self { share: share * STEP, windows: 0 }),
            1.. if is_low => None,
            LONGEST_STEP.. => None,
            _ => Some(Self { share, windows: windows + 1 }),
        }
    }
}

fn due(now: Instant, period: Duration, chance: f64) -> Instant {
    now + period.mul_f64(0.75 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Fifty calls that took so long, of which nothing is chance.
    fn seen(latency: f64, in_flight: f64) -> Seen {
        let peak = in_flight as usize;
        Seen { answered: 50.0, latency: Some(latency), error: 1.0, in_flight, peak, timed_out: 0.0 }
    }

    /// It has seen this latency with so many in flight, and knows a tenth of a second, of fifty calls.
    fn pressed(latency: f64, in_flight: f64) -> Baseline {
        let known = Some(Known { latency: 0.1, calls: 50.0 });
        let worst = Some(Worst { latency, in_flight, windows: 0 });
        Baseline { known, worst, ..Baseline::new(Instant::now(), 0.5) }
    }

    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value} and not {expected}");
    }

    #[test]
    fn a_dip_settles_and_goes_deeper_while_there_is_a_queue_and_ends_when_it_has_told_something() {
        for ((share, windows), is_low, has_queue, next) in [
            ((STEP, 0), true, true, Some((STEP, 1))),
            ((STEP, 1), true, true, Some((STEP * STEP, 0))),
            ((DEEPEST, 1), true, true, None),
            ((STEP, 1), true, false, None),
            ((STEP, 1), false, true, Some((STEP, 2))),
            ((STEP, 2), false, false, Some((STEP, 3))),
            ((STEP, 3), false, false, None),
        ] {
            let dip = Dip { share, windows }.next(is_low, has_queue);
            assert_eq!(dip.map(|dip| (dip.share, dip.windows)), next, "{share} {windows} {is_low}");
        }
    }

    #[test]
    fn dips_are_a_period_apart_give_or_take_a_quarter() {
        let now = Instant::now();
        let after = |chance| due(now, 4 * SECOND, chance) - now;
        assert_eq!([0.0, 0.5, 1.0].map(after), [3 * SECOND, 4 * SECOND, 5 * SECOND]);
    }

    #[test]
    fn a_dip_begins_when_it_is_due_unless_few_are_in_flight_anyhow() {
        for (in_flight, is_pressed, dips) in
            [(10.0, true, true), (10.0, false, false), (6.0, true, false), (6.0, false, false)]
        {
            let mut baseline = pressed(1.0, 10.0);
            let now = baseline.due;
            baseline.learn(now - SECOND, &seen(1.0, 10.0), true, 0.5);
            assert!(!baseline.dips(), "not yet");
            baseline.learn(now, &seen(1.0, in_flight), is_pressed, 0.5);
            assert_eq!(baseline.dips(), dips, "{in_flight} {is_pressed}");
            assert!(baseline.due >= now + FIRST_PERIOD);
        }
    }

    #[test]
    fn few_are_in_flight_if_one_waits_for_nobody_or_a_third_less_than_where_it_was_worst() {
        let new = Baseline::new(Instant::now(), 0.5);
        let worst = pressed(1.0, 10.0);
        for (baseline, in_flight, is_low) in [
            (&new, 1.0, true),
            (&new, 1.4, true),
            (&new, 1.5, false),
            (&worst, 1.0, true),
            (&worst, 6.5, true),
            (&worst, 6.6, false),
        ] {
            assert_eq!(baseline.is_low(&seen(1.0, in_flight)), is_low, "{in_flight}");
        }
    }

    #[test]
    fn latency_that_falls_along_with_what_is_in_flight_was_a_queue() {
        let baseline = pressed(1.0, 10.0);
        for (latency, error, fell) in
            [(0.5, 1.0, true), (0.54, 1.0, true), (0.56, 1.0, false), (0.5, 1.2, false)]
        {
            let seen = Seen { error, ..seen(latency, 5.0) };
            assert_eq!(baseline.fell_in_proportion(&seen), fell, "{latency} {error}");
        }
        assert!(!Baseline { worst: None, ..baseline }.fell_in_proportion(&seen(0.1, 5.0)));
    }

    #[test]
    fn what_is_known_weighs_as_much_as_it_is_of_unless_what_is_seen_is_a_surprise() {
        for (latency, error, then, calls) in [
            // Four times as long: with an error of two that may be chance.
            (0.4, 2.0, 0.141_421_356, 200.0),
            (0.4, 1.5, 0.2, 100.0),
            (0.025, 1.5, 0.05, 100.0),
            (0.1, 1.0, 0.1, 200.0),
        ] {
            let mut known = Known { latency: 0.1, calls: 150.0 };
            known.learn(latency, &Seen { error, ..seen(latency, 1.0) });
            assert_close(known.latency, then);
            assert_close(known.calls, calls);
        }
    }

    #[test]
    fn while_there_is_a_queue_only_a_lower_latency_is_learnt() {
        // With few in flight and many, with a queue and without one.
        for (latency, is_low, has_queue, then, calls) in [
            (0.4, true, false, 0.2, 100.0),
            (0.4, true, true, 0.1, 50.0),
            (0.1, true, true, 0.1, 50.0),
            (0.025, true, true, 0.05, 100.0),
            (0.025, false, false, 0.025, 50.0),
            (0.4, false, false, 0.1, 50.0),
        ] {
            let mut baseline = pressed(1.0, 10.0);
            baseline.learn_latency(&seen(latency, 5.0), is_low, has_queue);
            let known = baseline.known.unwrap();
            assert_close(known.latency, then);
            assert_close(known.calls, calls);
        }
        let mut baseline = pressed(1.0, 10.0);
        baseline.learn_latency(&Seen { error: 1.2, ..seen(0.05, 10.0) }, false, false);
        assert_close(baseline.known.unwrap().latency, 0.0864);
    }

    #[test]
    fn it_remembers_where_latency_was_highest_with_many_in_flight_for_a_while() {
        let mut baseline = Baseline { worst: None, ..pressed(1.0, 10.0) };
        let mut worst_after = |latency, in_flight, is_low| {
            baseline.learn_latency(&seen(latency, in_flight), is_low, false);
            baseline.worst.map(|worst| (worst.latency, worst.in_flight, worst.windows))
        };
        assert_eq!(worst_after(2.0, 5.0, true), None);
        assert_eq!(worst_after(1.0, 10.0, false), Some((1.0, 10.0, 0)));
        assert_eq!(worst_after(1.0, 9.0, false), Some((1.0, 10.0, 1)), "no higher");
        assert_eq!(worst_after(2.0, 5.0, true), Some((1.0, 10.0, 2)), "few in flight");
        assert_eq!(worst_after(2.0, 11.0, false), Some((2.0, 11.0, 0)));
        for windows in 1..=LONG_AGO {
            assert_eq!(worst_after(0.5, 9.0, false), Some((2.0, 11.0, windows)));
        }
        assert_eq!(worst_after(0.5, 9.0, false), Some((0.5, 9.0, 0)), "that was long ago");
    }

    #[test]
    fn timeouts_are_usual_as_far_as_they_are_seen_with_few_in_flight_and_are_never_most() {
        let mut baseline = Baseline::new(Instant::now(), 0.5);
        let now = baseline.due - SECOND;
        for (in_flight, timed_out, usual) in
            [(1.0, 0.4, 0.2), (1.0, 0.4, 0.3), (10.0, 1.0, 0.3), (1.0, 1.0, 0.4), (1.0, 0.0, 0.2)]
        {
            baseline.learn(now, &Seen { timed_out, ..seen(0.1, in_flight) }, false, 0.5);
            assert_close(baseline.timed_out(), usual);
        }
    }
}
