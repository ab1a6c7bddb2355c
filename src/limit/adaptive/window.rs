//! Gathers what is seen between two decisions. Pure: the time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// What calls did since the limit was last thought about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    began: Instant,
    answered: u32,
    timed_out: u32,
    /// Of the logarithms of latencies in seconds.
    sum: f64,
    sum_of_squares: f64,
    in_flight: f64,
    peak: usize,
}

/// What a window came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The geometric mean of the latencies of those that were answered, in seconds; `None`, if nobody was. One call in a hundred that
    /// takes a hundred times as long moves it by 5 %; the arithmetic mean would double.
    pub(super) latency: Option<f64>,
    /// How many those are.
    pub(super) answered: f64,
    /// By which factor that may be wrong: its standard error.
    pub(super) error: f64,
    /// The mean of how many were in flight when each began, itself included.
    pub(super) in_flight: f64,
    /// The most.
    pub(super) peak: usize,
    /// The share that was not answered in time.
    pub(super) timed_out: f64,
}

impl Window {
    pub(super) const fn new(now: Instant) -> Self {
        Self { began: now, answered: 0, timed_out: 0, sum: 0.0, sum_of_squares: 0.0, in_flight: 0.0, peak: 0 }
    }

    pub(super) fn answered(&mut self, latency: Duration, in_flight: usize) {
        // What takes no time at all has no logarithm.
        let logarithm = latency.as_secs_f64().max(1e-9).ln();
        self.sum += logarithm;
        self.sum_of_squares += logarithm * logarithm;
        self.answered += 1;
        self.count(in_flight);
    }

    pub(super) fn timed_out(&mut self, in_flight: usize) {
        self.timed_out += 1;
        self.count(in_flight);
    }

    fn count(&mut self, in_flight: usize) {
        self.in_flight += in_flight as f64;
        self.peak = self.peak.max(in_flight);
    }

    pub(super) const fn calls(&self) -> u32 {
        self.answered.saturating_add(self.timed_out)
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Of one that is not empty.
    pub(super) fn close(&self) -> Seen {
        let (all, answered) = (f64::from(self.calls()), f64::from(self.answered));
        let (latency, error) = if self.answered == 0 {
            (None, 1.0)
        } else {
            let mean = self.sum / answered;
            let variance = (self.sum_of_squares / answered - mean * mean).max(0.0);
            (Some(mean.exp()), (variance / answered).sqrt().exp())
        };
        Seen {
            answered,
            latency,
            error,
            in_flight: self.in_flight / all,
            peak: self.peak,
            timed_out: f64::from(self.timed_out) / all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn it_comes_to_the_means_of_what_was_seen_and_how_far_they_may_be_wrong() {
        let mut window = Window::new(Instant::now());
        window.answered(100 * MS, 2);
        window.answered(400 * MS, 4);
        window.timed_out(6);
        let Seen { latency, answered, error, in_flight, peak, timed_out } = window.close();
        assert_eq!((answered, in_flight, peak, timed_out), (2.0, 4.0, 6, 1.0 / 3.0));
        // Each is twice as far as 200 ms, one way or the other; and two are known better than one, by the root of two.
        assert!((latency.unwrap() - 0.2).abs() < 1e-9, "{latency:?}");
        assert!((error - 1.632_526_919_4).abs() < 1e-9, "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_was_answered_no_latency_is_known_and_what_takes_no_time_is_short() {
        let mut window = Window::new(Instant::now());
        window.timed_out(1);
        assert_eq!((window.close().latency, window.close().error), (None, 1.0));
        window.answered(Duration::ZERO, 1);
        assert!(window.close().latency.is_some_and(|latency| (latency - 1e-9).abs() < 1e-12));
    }
}
