//! Decides when a body has taken too long. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use tokio::time::Instant;

use super::BodyLimits;
use super::settings::MinRate;
use crate::base::{Deadline, Elapsed, Phase};

/// What is known of one body.
#[derive(Debug)]
pub(super) struct Watch {
    idle: Option<Duration>,
    rate: Option<Rate>,
    end: Option<End>,
    /// Since when a read has been outstanding.
    waiting: Option<Instant>,
}

/// When the body has to be over, and why.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Instant,
    /// The limit, if it was not the deadline of the call.
    granted: Option<Duration>,
}

/// How a window of the slowest allowed rate stands: it ends when enough has come.
#[derive(Debug)]
struct Rate {
    least: MinRate,
    bytes: u64,
    waited: Duration,
}

impl Watch {
    /// `now` is when the total limit begins, if there is one; `deadline` is that of the call.
    pub(super) fn new(limits: &BodyLimits, now: impl FnOnce() -> Instant, deadline: Option<Instant>) -> Self {
        let total = limits.total.map(|limit| End { at: after(now(), limit), granted: Some(limit) });
        let deadline = deadline.filter(|_| limits.until_deadline).map(|at| End { at, granted: None });
        let end = match (total, deadline) {
            (Some(total), Some(deadline)) => Some(if deadline.at < total.at { deadline } else { total }),
            (one, None) | (None, one) => one,
        };
        let rate = limits.min_rate.map(|least| Rate { least, bytes: 0, waited: Duration::ZERO });
        Self { idle: limits.idle, rate, end, waiting: None }
    }

    /// Watches nothing.
    pub(super) const fn nothing() -> Self {
        Self { idle: None, rate: None, end: None, waiting: None }
    }

    /// Silence is no fault any more, and so is slowness, of which it is the slowest kind.
    #[cfg(feature = "server")]
    pub(super) const fn may_pause(&mut self) {
        (self.idle, self.rate) = (None, None);
    }

    /// Whether the clock matters before the body is asked.
    pub(super) const fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Whether the body had to be over by `now`.
    pub(super) fn is_over(&self, now: Instant) -> Option<Elapsed> {
        let end = self.end.filter(|end| end.at <= now)?;
        Some(match end.granted {
            Some(granted) => Elapsed::new(Phase::BodyTotal, granted),
            None => Elapsed::before_deadline(Phase::BodyTotal),
        })
    }

    /// Whether it matters when data comes.
    pub(super) const fn wants_time_of_data(&self) -> bool {
        self.rate.is_some() && self.waiting.is_some()
    }

    /// So many bytes have come, at `now` if that [matters](Self::wants_time_of_data).
    pub(super) fn data(&mut self, bytes: u64, now: Option<Instant>) {
        let waited = self.waiting.take().zip(now).map(|(since, now)| now.saturating_duration_since(since));
        if let Some(rate) = &mut self.rate {
            rate.waited = rate.waited.saturating_add(waited.unwrap_or_default());
            rate.bytes = rate.bytes.saturating_add(bytes);
            // A reader that was away when the window ran out fetches late what may have come in time.
            if rate.bytes >= rate.least.bytes || rate.waited > rate.least.per {
                rate.bytes = 0;
                rate.waited = Duration::ZERO;
            }
        }
    }

    /// Nothing has come, at `now`. Until when may that go on, if there is a limit, and what is said then?
    pub(super) fn wait(&mut self, now: impl FnOnce() -> Instant) -> Option<(Instant, Elapsed)> {
        if self.idle.is_none() && self.rate.is_none() && self.end.is_none() {
            return None;
        }
        let since = *self.waiting.get_or_insert_with(now);
        let idle = self.idle.map(|limit| (after(since, limit), Elapsed::new(Phase::BodyIdle, limit)));
        let rate = self.rate.as_ref().map(|rate| {
            let left = rate.least.per.saturating_sub(rate.waited);
            (after(since, left), Elapsed::new(Phase::BodyRate, rate.least.per))
        });
        let end = self.end.and_then(|end| Some((end.at, self.is_over(end.at)?)));
        // The first that runs out; of two at the same instant, the one that says more.
        [idle, rate, end].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

fn after(start: Instant, limit: Duration) -> Instant {
    Deadline::after(start, limit).instant()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn phase(limit: Option<(Instant, Elapsed)>) -> Option<Phase> {
        limit.map(|(_, elapsed)| elapsed.phase())
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_one_read_however_often_it_is_asked() {
        let start = Instant::now();
        let mut watch = Watch::new(&BodyLimits::new().idle(SECOND), || start, None);
        for at in [0, 300, 600, 900] {
            let limit = watch.wait(|| start + Duration::from_millis(at)).expect("a limit");
            assert_eq!(limit.0, start + SECOND);
        }
        watch.data(1, None);
        let later = start + 10 * SECOND;
        assert_eq!(watch.wait(|| later).map(|(at, _)| at), Some(later + SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_counts_only_what_is_spent_waiting() {
        let start = Instant::now();
        let limits = BodyLimits::none().min_rate(10, 4 * SECOND);
        let mut watch = Watch::new(&limits, || start, None);
        watch.wait(|| start);
        watch.data(5, Some(start + 3 * SECOND));
        // Away for an hour, then another wait: of the window a second is left.
        let back = start + 3_600 * SECOND;
        let limit = watch.wait(|| back);
        assert_eq!(limit.map(|(at, _)| at), Some(back + SECOND));
        assert_eq!(phase(limit), Some(Phase::BodyRate));
        watch.data(5, Some(back + SECOND / 2));
        let again = watch.wait(|| back + SECOND);
        assert_eq!(again.map(|(at, _)| at), Some(back + 5 * SECOND), "a new window, since ten have come");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_the_last_moment_of_a_window_counts_for_that_window() {
        let start = Instant::now();
        let mut watch = Watch::new(&BodyLimits::none().min_rate(10, 4 * SECOND), || start, None);
        watch.wait(|| start);
        let end = start + 4 * SECOND;
        watch.data(9, Some(end));
        assert_eq!(watch.wait(|| end).map(|(at, _)| at), Some(end), "it was too little");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_limit_speaks_and_the_deadline_only_if_asked() {
        let start = Instant::now();
        let limits = BodyLimits::new().idle(3 * SECOND).total(5 * SECOND);
        let deadline = Some(start + SECOND);
        assert_eq!(phase(Watch::new(&limits, || start, deadline).wait(|| start)), Some(Phase::BodyIdle));
        let late = start + 4 * SECOND;
        assert_eq!(phase(Watch::new(&limits, || start, deadline).wait(|| late)), Some(Phase::BodyTotal));
        let mut until = Watch::new(&limits.until_deadline(), || start, deadline);
        let (at, elapsed) = until.wait(|| start).expect("a limit");
        assert_eq!((at, elapsed.phase(), elapsed.granted()), (start + SECOND, Phase::BodyTotal, None));
        assert!(until.is_over(start).is_none() && until.is_over(start + SECOND).is_some());
        assert_eq!(phase(Watch::nothing().wait(|| start)), None);
    }
}
