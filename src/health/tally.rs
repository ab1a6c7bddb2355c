//! Decides what the results of checks mean. Nothing here waits, locks or reads a clock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::report::{CheckReport, HealthStatus};
use super::{CheckKind, HealthSettings, Impact, Verdict};
use crate::base::HealthState;

/// What is known of every check.
#[derive(Debug)]
pub(super) struct Tally {
    failures: u32,
    successes: u32,
    ttl: Duration,
    checks: Vec<Known>,
    draining: bool,
}

/// What is known of one check.
#[derive(Debug)]
struct Known {
    name: Arc<str>,
    kind: CheckKind,
    state: HealthState,
    /// Results in a row that speak against the state.
    against: u32,
    /// Which question was answered last.
    question: Question,
    /// Whether it has ever passed.
    has_passed: bool,
    /// When there was a result, whatever it was.
    at: Option<Instant>,
    /// What came with the last result.
    output: Option<Arc<str>>,
}

/// Questions in the order in which they were asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question(pub(super) u64);

/// What a result has changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct News {
    /// The state before and after, if they differ.
    pub(super) change: Option<(HealthState, HealthState)>,
    /// The result before this one was too old to count.
    pub(super) was_stale: bool,
}

impl Tally {
    pub(super) fn new(
        settings: &HealthSettings,
        checks: impl Iterator<Item = (Arc<str>, CheckKind)>,
    ) -> Self {
        let known = |(name, kind)| Known {
            name,
            kind,
            state: HealthState::Unknown,
            against: 0,
            question: Question::default(),
            has_passed: false,
            at: None,
            output: None,
        };
        Self {
            failures: settings.failures,
            successes: settings.successes,
            ttl: settings.ttl,
            checks: checks.map(known).collect(),
            draining: false,
        }
    }

    /// A check has ended. If somebody else has asked later, and has heard already, this is no news.
    pub(super) fn record(
        &mut self,
        check: usize,
        question: Question,
        verdict: Verdict,
        now: Instant,
    ) -> News {
        let Self { failures, successes, ttl, .. } = *self;
        let known = self.checks.get_mut(check).filter(|known| known.question <= question);
        let Some(known) = known else { return News::default() };
        known.question = question;
        let (from, was_stale) = (known.state, known.is_stale(ttl, now));
        let (found, output) = verdict.into_parts();
        known.at = Some(now);
        known.output = output;
        known.has_passed |= found.is_good();
        let needed = match known.kind {
            // One look at the process itself, and one proof of having started, are enough.
            CheckKind::Liveness | CheckKind::Startup => 1,
            CheckKind::Readiness(_) if found.is_good() => successes,
            CheckKind::Readiness(_) => failures,
        };
        if known.state == HealthState::Unknown || known.state.is_good() == found.is_good() {
            known.against = 0;
            known.state = found;
        } else {
            known.against = known.against.saturating_add(1);
            if known.against >= needed {
                known.against = 0;
                known.state = found;
            }
        }
        News { change: (from != known.state).then_some((from, known.state)), was_stale }
    }

    /// From now on nothing is ready.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether every startup check has passed, once.
    pub(super) fn is_started(&self) -> bool {
        self.checks.iter().all(|known| known.kind != CheckKind::Startup || known.has_passed)
    }

    /// Whether requests may come.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.draining && self.is_started() && self.checks.iter().all(|known| known.lets_in(self.ttl, now))
    }

    /// Everything at once, with liveness as it was when it was last asked about in passing.
    pub(super) fn status(&self, now: Instant) -> HealthStatus {
        let fails = |known: &Known| known.kind == CheckKind::Liveness && known.state == HealthState::Fail;
        HealthStatus {
            draining: self.draining,
            live: !self.checks.iter().any(fails),
            ready: self.is_ready(now),
            started: self.is_started(),
        }
    }

    /// What is ready at best: [`Warn`](HealthState::Warn) if something is not as it should be, and requests may come all the
    /// same.
    pub(super) fn readiness(&self, now: Instant) -> HealthState {
        let perfect = |known: &Known| match known.kind {
            CheckKind::Readiness(_) => known.state_at(self.ttl, now) == HealthState::Pass,
            CheckKind::Liveness | CheckKind::Startup => true,
        };
        match self.is_ready(now) {
            false => HealthState::Fail,
            true if self.checks.iter().all(perfect) => HealthState::Pass,
            true => HealthState::Warn,
        }
    }

    /// When the first result that counts now will not any more.
    pub(super) fn stale_from(&self, now: Instant) -> Option<Instant> {
        self.checks.iter().filter_map(|known| known.stale_from(self.ttl)).filter(|at| *at > now).min()
    }

    /// Every check of which `wanted` says so.
    pub(super) fn checks(
        &self,
        now: Instant,
        wanted: impl Fn(CheckKind) -> bool,
    ) -> impl Iterator<Item = CheckReport> {
        self.checks.iter().filter(move |known| wanted(known.kind)).map(move |known| CheckReport {
            name: Arc::clone(&known.name),
            kind: known.kind,
            state: known.state_at(self.ttl, now),
            age: known.at.map(|at| now.saturating_duration_since(at)),
            is_stale: known.is_stale(self.ttl, now),
            output: known.output.clone(),
        })
    }

    pub(super) fn name(&self, check: usize) -> Option<&Arc<str>> {
        self.checks.get(check).map(|known| &known.name)
    }
}

impl Known {
    /// Its result is too old to count. Who has started has started, and what is live is asked anew each time.
    fn is_stale(&self, ttl: Duration, now: Instant) -> bool {
        self.stale_from(ttl).is_some_and(|from| from <= now)
    }

    /// The first moment at which it is.
    fn stale_from(&self, ttl: Duration) -> Option<Instant> {
        let can_be = matches!(self.kind, CheckKind::Readiness(_));
        self.at.filter(|_| can_be)?.checked_add(ttl)?.checked_add(Duration::from_nanos(1))
    }

    fn state_at(&self, ttl: Duration, now: Instant) -> HealthState {
        if self.is_stale(ttl, now) { HealthState::Fail } else { self.state }
    }

    /// Whether requests may come, as far as this check has a say.
    fn lets_in(&self, ttl: Duration, now: Instant) -> bool {
        match self.kind {
            CheckKind::Readiness(Impact::Hard) => self.state_at(ttl, now).is_good(),
            CheckKind::Readiness(Impact::Shared) => self.has_passed,
            CheckKind::Readiness(Impact::Soft) | CheckKind::Liveness | CheckKind::Startup => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(failures: u32, successes: u32, kind: CheckKind) -> Tally {
        let settings = HealthSettings::new().failures(failures).successes(successes);
        Tally::new(&settings, [("it".into(), kind)].into_iter())
    }

    proptest! {
        /// The state is that of the last so many results that agreed, whatever came before; the first one decides alone.
        #[test]
        fn the_state_is_what_the_last_results_agree_on(
            results in prop::collection::vec(any::<bool>(), 1..60), failures in 1_u32..4, successes in 1_u32..4,
        ) {
            let mut tally = tally(failures, successes, CheckKind::Readiness(Impact::Hard));
            let now = Instant::now();
            for upto in 1..=results.len() {
                let good = results[upto - 1];
                tally.record(0, Question(upto as u64), if good { Verdict::pass() } else { Verdict::fail("") }, now);
                let agree = |from: usize, good, needed: u32| {
                    let needed = needed as usize;
                    from >= needed && results[from - needed..from].iter().all(|result| *result == good)
                };
                // The latest place at which enough of one kind stand in a row.
                let decided = (1..=upto).rev().find_map(|from| {
                    let (up, down) = (agree(from, true, successes), agree(from, false, failures));
                    (up || down).then_some(up)
                });
                prop_assert_eq!(tally.is_ready(now), decided.unwrap_or(results[0]));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_counts_up_to_its_time_to_live_and_not_a_moment_longer() {
        let mut tally = tally(2, 1, CheckKind::Readiness(Impact::Hard));
        let (now, ttl) = (Instant::now(), Duration::from_secs(30));
        assert_eq!(tally.readiness(now), HealthState::Fail);
        assert_eq!(tally.stale_from(now), None, "there is no result yet");
        assert!(!tally.record(0, Question(1), Verdict::pass(), now).was_stale);
        let stale_from = now + ttl + Duration::from_nanos(1);
        assert_eq!(tally.stale_from(now + ttl), Some(stale_from));
        assert_eq!(tally.stale_from(stale_from), None, "it is too old already");
        assert_eq!(tally.readiness(now + ttl), HealthState::Pass);
        assert_eq!(tally.readiness(now + ttl + Duration::from_nanos(1)), HealthState::Fail);
        assert!(tally.record(0, Question(1), Verdict::pass(), now + 2 * ttl).was_stale);
        assert_eq!(tally.record(7, Question(1), Verdict::pass(), now), News::default());
    }

    #[test]
    fn who_asked_earlier_and_hears_later_has_no_news() {
        let (mut tally, now) = (tally(1, 1, CheckKind::Liveness), Instant::now());
        let changes =
            [(2, Verdict::pass()), (1, Verdict::fail("")), (2, Verdict::fail("")), (3, Verdict::pass())].map(
                |(question, verdict)| {
                    tally.record(0, Question(question), verdict, now).change.map(|(_, to)| to)
                },
            );
        assert_eq!(
            changes,
            [Some(HealthState::Pass), None, Some(HealthState::Fail), Some(HealthState::Pass)]
        );
    }

    #[test]
    fn only_a_liveness_check_that_fails_says_that_nothing_lives() {
        let (now, ready) = (Instant::now(), CheckKind::Readiness(Impact::Hard));
        for (kind, verdict, live) in [
            (CheckKind::Liveness, Verdict::pass(), true),
            (CheckKind::Liveness, Verdict::warn(""), true),
            (CheckKind::Liveness, Verdict::fail(""), false),
            (CheckKind::Startup, Verdict::fail(""), true),
            (ready, Verdict::fail(""), true),
        ] {
            let mut tally = tally(1, 1, kind);
            assert!(tally.status(now).live, "nobody knows better yet");
            tally.record(0, Question(1), verdict, now);
            assert_eq!(tally.status(now).live, live, "{kind:?}");
        }
    }
}
