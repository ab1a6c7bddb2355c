//! Decides how many may be in flight, from how calls ended. Pure: the time and the chance come in.

use std::time::Duration;

use tokio::time::Instant;

use super::baseline::Baseline;
use super::gradient::Gradient;
use super::rule::{Rule, Usual, matters};
use super::vegas::Vegas;
use super::window::Window;
use super::{AdaptiveSettings, Algorithm};

/// A window is so long at least, and as long as a call usually takes.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);
/// It is no longer, if so many calls have ended.
const LONGEST_WINDOW: Duration = Duration::from_secs(1);
const CALLS: u32 = 30;

#[derive(Clone, Copy, Debug)]
pub(in crate::limit) struct Control {
    min: f64,
    max: f64,
    limit: f64,
    rule: Rule,
    baseline: Baseline,
    window: Window,
}

/// How a call ended, as far as it tells how much there is to do.
#[derive(Clone, Copy, Debug)]
pub(in crate::limit) enum Ending {
    /// It was answered after so long.
    Answered(Duration),
    /// Not in time, or not at all, since there is too much to do.
    TooLate,
    /// Its caller went away after so long.
    GivenUp(Duration),
}

impl Control {
    /// `chance` is from 0 to 1.
    pub(in crate::limit) fn new(settings: &AdaptiveSettings, now: Instant, chance: f64) -> Self {
        let rule = match settings.algorithm {
            Algorithm::Gradient2 => Rule::Gradient(Gradient::default()),
            Algorithm::Vegas => Rule::Vegas(Vegas::new()),
        };
        Self {
            min: settings.min as f64,
            max: settings.max as f64,
            limit: settings.initial as f64,
            rule,
            baseline: Baseline::new(now, chance),
            window: Window::new(now),
        }
    }

    /// How many may be in flight now.
    pub(in crate::limit) fn limit(&self) -> usize {
        (self.limit * self.baseline.share()).max(self.min) as usize
    }

    /// A call has ended. `in_flight` were so many when it began, itself included. Says whether the limit may be another one now.
    pub(in crate::limit) fn ended(
        &mut self,
        now: Instant,
        ending: Ending,
        in_flight: usize,
        chance: f64,
    ) -> bool {
        match ending {
            Ending::Answered(latency) => self.window.answered(latency, in_flight),
            Ending::TooLate => self.window.timed_out(in_flight),
            // Whoever leaves earlier than most are answered, does so for reasons of their own.
            Ending::GivenUp(after) => match self.baseline.latency() {
                Some(usual) if after.as_secs_f64() > usual => self.window.timed_out(in_flight),
                _ => return false,
            },
        }
        let usual = self.baseline.latency().map_or(Duration::ZERO, Duration::from_secs_f64);
        let is_over = self.window.calls() >= CALLS
            && self.window.age(now) >= usual.clamp(SHORTEST_WINDOW, LONGEST_WINDOW);
        if is_over {
            self.think(now, chance);
        }
        is_over
    }

    fn think(&mut self, now: Instant, chance: f64) {
        let seen = self.window.close();
        self.window = Window::new(now);
        let dips = self.baseline.dips();
        self.baseline.learn(now, &seen, matters(self.limit, &seen), chance);
        // What is seen in a dip says nothing about the limit.
        if dips {
            return;
        }
        // As long as nothing was answered, any latency is usual.
        let latency = self.baseline.latency().unwrap_or(f64::MAX);
        let usual = Usual { latency, timed_out: self.baseline.timed_out() };
        self.limit = self.rule.next(self.limit, &seen, &usual).clamp(self.min, self.max);
    }
}
