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
    /// When it was last thought about.
    thought: Option<Instant>,
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
            thought: None,
        }
    }

    /// How many may be in flight now.
    pub(in crate::limit) fn limit(&self) -> usize {
        (self.limit * self.baseline.share()).max(self.min) as usize
    }

    /// When something was learned last, if that ever was.
    pub(in crate::limit) const fn learned_at(&self) -> Option<Instant> {
        self.thought
    }

    /// A call has ended. `in_flight` were so many when it began, itself included. Says whether the limit may be another one now.
    /// `chance` is from 0 to 1, and asked for when that is thought about.
    pub(in crate::limit) fn ended(
        &mut self,
        now: Instant,
        ending: Ending,
        in_flight: usize,
        chance: impl FnOnce() -> f64,
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
        let is_over = self.window.calls() >= CALLS && self.is_long_enough(now);
        if is_over {
            self.think(now, chance());
        }
        is_over
    }

    fn is_long_enough(&self, now: Instant) -> bool {
        let age = self.window.age(now);
        // Nearly all calls end before that, and for them nothing else is looked at.
        age >= SHORTEST_WINDOW && {
            let usual = self.baseline.latency().map_or(Duration::ZERO, Duration::from_secs_f64);
            age >= usual.min(LONGEST_WINDOW)
        }
    }

    fn think(&mut self, now: Instant, chance: f64) {
        let seen = self.window.close();
        self.window = Window::new(now);
        self.thought = Some(now);
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A server of so many workers, with as many calls in flight as may be, all the time, and what the limit was after each.
    struct Server {
        control: Control,
        now: Instant,
        workers: usize,
        work: Duration,
        limits: Vec<usize>,
    }

    impl Server {
        fn new(workers: usize, work: Duration) -> Self {
            let now = Instant::now();
            let control = Control::new(&AdaptiveSettings::new(), now, 0.5);
            Self { control, now, workers, work, limits: Vec::new() }
        }

        fn run(&mut self, calls: usize) {
            for _ in 0..calls {
                let in_flight = self.control.limit();
                let busy = in_flight.min(self.workers);
                self.now += self.work / u32::try_from(busy).unwrap();
                let latency = self.work.mul_f64(in_flight as f64 / busy as f64);
                self.control.ended(self.now, Ending::Answered(latency), in_flight, || 0.5);
                self.limits.push(self.control.limit());
            }
        }

        fn last(&self, calls: usize) -> &[usize] {
            &self.limits[self.limits.len() - calls..]
        }
    }

    #[test]
    fn the_limit_is_thought_about_as_often_as_calls_tell_something() {
        let (begin, settings) = (Instant::now(), AdaptiveSettings::new());
        // So many calls, so far apart, each so long, from the first look to the second: then it is known how long calls take.
        let looks_after = |apart: Duration, work: Duration| {
            let mut control = Control::new(&settings, begin, 0.5);
            let mut looks = (1..)
                .filter(|calls| control.ended(begin + apart * *calls, Ending::Answered(work), 20, || 0.5));
            let first = looks.next().unwrap();
            looks.next().unwrap() - first
        };
        assert_eq!(looks_after(MS, MS), 100, "100 ms");
        assert_eq!(looks_after(MS, 500 * MS), 500, "as long as a call");
        assert_eq!(looks_after(10 * MS, 60_000 * MS), 100, "a second");
        assert_eq!(looks_after(50 * MS, MS), 30, "so many calls");
    }

    #[test]
    fn it_dips_now_and_then_where_many_are_always_in_flight_and_learns_from_it() {
        let mut server = Server::new(50, 100 * MS);
        server.run(500 * 60);
        let (least, most) =
            (server.last(20_000).iter().min().unwrap(), server.last(20_000).iter().max().unwrap());
        assert!((90..=130).contains(most), "twice as many as there are workers: {most}");
        assert!(*least < 70, "{least}");
        let low = server.last(20_000).iter().filter(|limit| **limit < 80).count();
        assert!(low < 400, "{low} of 20 000 calls were made in a dip");
        // Calls become slower: it is not overload for ever.
        server.work = 300 * MS;
        server.run(167 * 60);
        assert!(server.last(1_000).iter().all(|limit| *limit >= 45), "{:?}", server.last(10));
        // And faster.
        server.work = 30 * MS;
        server.run(1_667 * 60);
        let most = server.last(20_000).iter().max().unwrap();
        assert!((80..=150).contains(most), "{most}");
    }

    #[test]
    fn whatever_calls_do_the_limit_stays_within_its_bounds() {
        let settings = AdaptiveSettings::new().min(3).max(40);
        let begin = Instant::now();
        for algorithm in [Algorithm::Gradient2, Algorithm::Vegas] {
            let mut rng = fastrand::Rng::with_seed(1);
            let (mut control, mut now) = (Control::new(&settings.algorithm(algorithm), begin, 0.5), begin);
            for _ in 0..200_000 {
                now += Duration::from_micros(rng.u64(..20_000));
                let length = Duration::from_nanos(rng.u64(..) >> rng.u32(..64));
                let ending = match rng.u8(..3) {
                    0 => Ending::Answered(length),
                    1 => Ending::TooLate,
                    _ => Ending::GivenUp(length),
                };
                control.ended(now, ending, rng.usize(..100), || rng.f64());
                assert!((3..=40).contains(&control.limit()), "{control:?}");
            }
        }
    }

    #[test]
    fn who_leaves_when_most_are_answered_or_before_tells_nothing() {
        let (begin, second) = (Instant::now(), 1_000 * MS);
        let mut control = Control::new(&AdaptiveSettings::new(), begin, 0.5);
        let calls = CALLS + 1;
        assert!((1..calls).all(|_| !control.ended(begin, Ending::Answered(second), 20, || 0.5)));
        assert!(control.ended(begin + second, Ending::Answered(second), 20, || 0.5));
        assert_eq!(control.baseline.latency(), Some(1.0));
        for (after, counted) in [(second / 2, 0), (second, 0), (second + MS, 1)] {
            assert!(!control.ended(begin + second, Ending::GivenUp(after), 20, || 0.5));
            assert_eq!(control.window.calls(), counted, "{after:?}");
        }
    }
}
