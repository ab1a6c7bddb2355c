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
