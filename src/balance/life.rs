//! The life of an endpoint: what becomes of it when something happens. Nothing here waits, locks or reads a clock.
//!
//! ```text
//!               can be reached              too many failures, or found unfit
//!  Connecting ─────────────────► Ready ─────────────────────────────► Ejected
//!    ▲    │                        │                                     │
//!    │    │ cannot                 │ cannot be reached                   │ its time is over
//!    │    ▼                        ▼                                     │
//!    │  Backoff ◄──────────────────┘                                     │
//!    └────┴─ its time is over ◄──────────────────────────────────────────┘
//!
//!  from any of them: removed ─► Draining. Found fit ─► Ready.
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::OutlierSettings;
use super::outlier::still_counts;
use crate::base::{Deadline, EndpointReason, EndpointState, Fitness};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Ready {
        since: Instant,
    },
    Backoff {
        until: Instant,
    },
    /// With no end, if somebody said that it is not well.
    Ejected {
        until: Option<Instant>,
    },
    Draining,
}

/// One endpoint's state and what has led to it.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    /// Counts the changes: what was begun before one is of no account after it.
    epoch: u64,
    /// How often in a row it could not be reached.
    unreached: u32,
    /// How long it was left alone after the last of these.
    backoff: Duration,
    /// How often it was left out, lately.
    ejections: u32,
    /// When it came back the last time that it was left out.
    back_since: Option<Instant>,
    fitness: Fitness,
    /// Whether it has ever been anything but connecting.
    is_known: bool,
}

/// What its task has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Find out whether it can be reached.
    Check,
    /// Look again at that time.
    Wait(Instant),
    /// Nothing, until something happens.
    Rest,
}

impl Life {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            epoch: 0,
            unreached: 0,
            backoff: Duration::ZERO,
            ejections: 0,
            back_since: None,
            fitness: Fitness::Unknown,
            is_known: false,
        }
    }

    pub(super) const fn state(&self) -> EndpointState {
        match self.phase {
            Phase::Connecting => EndpointState::Connecting,
            Phase::Ready { .. } => EndpointState::Ready,
            Phase::Backoff { .. } => EndpointState::Backoff,
            Phase::Ejected { .. } => EndpointState::Ejected,
            Phase::Draining => EndpointState::Draining,
        }
    }

    /// Since when it is ready.
    pub(super) const fn ready_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ready { since } => Some(since),
            _ => None,
        }
    }

    /// Whether anything is known of it: it was ready, or could not be reached.
    pub(super) const fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How often in a row it could not be reached, and how long it was left alone after the last.
    pub(super) const fn unreached(&self) -> (u32, Duration) {
        (self.unreached, self.backoff)
    }

    pub(super) const fn chore(&self) -> Chore {
        match self.phase {
            Phase::Connecting => Chore::Check,
            Phase::Backoff { until } | Phase::Ejected { until: Some(until) } => Chore::Wait(until),
            Phase::Ready { .. } | Phase::Ejected { until: None } | Phase::Draining => Chore::Rest,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
        self.is_known = true;
    }

    /// It can be reached.
    pub(super) fn connected(&mut self, now: Instant) -> Option<EndpointReason> {
        (self.phase == Phase::Connecting).then(|| self.reached(now))
    }

    /// Nothing is in its way, unless somebody has found that it is not well.
    fn reached(&mut self, now: Instant) -> EndpointReason {
        if self.fitness == Fitness::Unfit {
            self.enter(Phase::Ejected { until: None });
            return EndpointReason::FoundUnfit;
        }
        self.enter(Phase::Ready { since: now });
        EndpointReason::Connected
    }

    /// It could not be reached, as was found out by what was begun in this epoch. It is left alone for so long.
    pub(super) fn connect_failed(
        &mut self,
        epoch: u64,
        now: Instant,
        backoff: Duration,
    ) -> Option<EndpointReason> {
        let concerned = matches!(self.phase, Phase::Connecting | Phase::Ready { .. });
        if !concerned || epoch != self.epoch {
            return None;
        }
        self.unreached = self.unreached.saturating_add(1);
        self.backoff = backoff;
        self.enter(Phase::Backoff { until: Deadline::after(now, backoff).instant() });
        Some(EndpointReason::ConnectFailed)
    }

    /// It has answered: the next time that it cannot be reached is the first. If it was called although it could not be reached, in
    /// this epoch, now it can.
    pub(super) fn answered(&mut self, epoch: u64, now: Instant) -> Option<EndpointReason> {
        self.unreached = 0;
        self.backoff = Duration::ZERO;
        let is_news = matches!(self.phase, Phase::Backoff { .. }) && epoch == self.epoch;
        is_news.then(|| self.reached(now))
    }

    /// Its time may be over.
    pub(super) fn look(&mut self, now: Instant) -> Option<EndpointReason> {
        match self.phase {
            Phase::Backoff { until } | Phase::Ejected { until: Some(until) } if until <= now => {
                if matches!(self.phase, Phase::Ejected { .. }) {
                    self.back_since = Some(now);
                }
                self.enter(Phase::Connecting);
                Some(EndpointReason::TimeOver)
            }
            _ => None,
        }
    }

    /// How often it was left out before, as far as that still counts.
    pub(super) fn ejections_at(&self, now: Instant, settings: &OutlierSettings) -> u32 {
        let back_for = self.back_since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        still_counts(self.ejections, back_for, settings)
    }

    /// It does badly, as was found out by what was begun in this epoch. `before` is how often it was left out before.
    pub(super) fn eject(
        &mut self,
        epoch: u64,
        why: EndpointReason,
        before: u32,
        (now, time): (Instant, Duration),
    ) -> Option<EndpointReason> {
        if !matches!(self.phase, Phase::Ready { .. }) || epoch != self.epoch {
            return None;
        }
        self.ejections = before.saturating_add(1);
        self.enter(Phase::Ejected { until: Some(Deadline::after(now, time).instant()) });
        Some(why)
    }

    /// Somebody has looked.
    pub(super) fn found(&mut self, fitness: Fitness, now: Instant) -> Option<EndpointReason> {
        self.fitness = fitness;
        match (fitness, self.phase) {
            (_, Phase::Draining) | (Fitness::Fit, Phase::Ready { .. }) => None,
            // What was seen to work is not waited for.
            (Fitness::Fit, _) => {
                if matches!(self.phase, Phase::Ejected { .. }) {
                    self.back_since = Some(now);
                }
                self.enter(Phase::Ready { since: now });
                Some(EndpointReason::FoundFit)
            }
            (Fitness::Unfit, Phase::Ready { .. } | Phase::Ejected { until: Some(_) }) => {
                self.enter(Phase::Ejected { until: None });
                Some(EndpointReason::FoundUnfit)
            }
            // Whoever left it out looks no more.
            (Fitness::Unknown, Phase::Ejected { until: None }) => {
                self.enter(Phase::Connecting);
                Some(EndpointReason::TimeOver)
            }
            _ => None,
        }
    }

    pub(super) fn remove(&mut self) -> Option<EndpointReason> {
        if self.phase == Phase::Draining {
            return None;
        }
        self.enter(Phase::Draining);
        Some(EndpointReason::Removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointState::{Backoff, Connecting, Draining, Ejected, Ready};

    const SECOND: Duration = Duration::from_secs(1);

    /// One that is ready.
    fn ready(now: Instant) -> Life {
        let mut life = Life::new();
        assert_eq!(life.connected(now), Some(EndpointReason::Connected));
        life
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_reached_is_tried_again_for_ever_and_never_ready_before() {
        let mut now = Instant::now();
        let mut life = Life::new();
        assert!(!life.is_known());
        for failures in 1..1_000 {
            assert_eq!((life.state(), life.chore()), (Connecting, Chore::Check));
            life.connect_failed(life.epoch(), now, SECOND);
            assert_eq!((life.state(), life.unreached()), (Backoff, (failures, SECOND)));
            assert_eq!(life.chore(), Chore::Wait(now + SECOND));
            assert_eq!(life.look(now), None, "too early");
            now += SECOND;
            assert_eq!(life.look(now), Some(EndpointReason::TimeOver));
        }
        life.connected(now);
        assert_eq!((life.state(), life.ready_since(), life.chore()), (Ready, Some(now), Chore::Rest));
        assert_eq!(life.answered(life.epoch(), now), None);
        assert_eq!(life.unreached(), (0, Duration::ZERO));
        let old = life.epoch();
        life.connect_failed(old, now, SECOND);
        assert_eq!(life.answered(old, now), None, "a call from before");
        assert_eq!(
            (life.answered(life.epoch(), now), life.state()),
            (Some(EndpointReason::Connected), Ready)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_before_a_change_is_of_no_account_after_it() {
        let now = Instant::now();
        let mut life = ready(now);
        let old = life.epoch();
        assert!(life.connect_failed(old, now, Duration::ZERO).is_some());
        assert_eq!(life.connect_failed(old, now, SECOND), None, "the second of two calls that failed");
        life.look(now);
        life.connected(now);
        assert_eq!(life.connect_failed(old, now, SECOND), None);
        assert_eq!(life.eject(old, EndpointReason::SuccessRate, 0, (now, SECOND)), None);
        assert_eq!(life.state(), Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_left_out_comes_back_and_counts_as_left_out_for_a_while() {
        let now = Instant::now();
        let settings = OutlierSettings::new();
        let mut life = ready(now);
        assert_eq!(life.ejections_at(now, &settings), 0);
        life.eject(life.epoch(), EndpointReason::ConsecutiveFailures, 0, (now, 30 * SECOND));
        assert_eq!(life.state(), Ejected);
        assert_eq!(life.look(now + 29 * SECOND), None);
        let back = now + 30 * SECOND;
        life.look(back);
        assert_eq!(life.connected(back), Some(EndpointReason::Connected));
        for (later, counts) in [(0, 1), (9, 1), (10, 0)] {
            assert_eq!(life.ejections_at(back + later * SECOND, &settings), counts, "after {later} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_looks_from_outside_is_believed() {
        let now = Instant::now();
        let mut life = ready(now);
        assert_eq!(life.found(Fitness::Fit, now), None);
        assert_eq!(life.found(Fitness::Unfit, now), Some(EndpointReason::FoundUnfit));
        assert_eq!((life.state(), life.chore()), (Ejected, Chore::Rest));
        assert_eq!(life.look(now + 1_000 * SECOND), None, "until somebody says otherwise");
        assert_eq!(life.found(Fitness::Fit, now), Some(EndpointReason::FoundFit));
        assert_eq!(life.state(), Ready);

        life.eject(life.epoch(), EndpointReason::ConsecutiveFailures, 0, (now, 30 * SECOND));
        assert_eq!(life.found(Fitness::Fit, now + SECOND), Some(EndpointReason::FoundFit), "at once");
        life.found(Fitness::Unfit, now);
        assert_eq!(life.found(Fitness::Unknown, now), Some(EndpointReason::TimeOver));
        assert_eq!(life.state(), Connecting);
        life.found(Fitness::Unfit, now);
        assert_eq!(life.connected(now), Some(EndpointReason::FoundUnfit), "reached, and not well");

        let mut life = ready(now);
        life.connect_failed(life.epoch(), now, SECOND);
        assert_eq!((life.found(Fitness::Unfit, now), life.state()), (None, Backoff));
        let answered = life.answered(life.epoch(), now);
        assert_eq!(
            (answered, life.state()),
            (Some(EndpointReason::FoundUnfit), Ejected),
            "an answer, of any kind"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_removed_stays_so() {
        let now = Instant::now();
        let mut life = ready(now);
        assert_eq!(life.remove(), Some(EndpointReason::Removed));
        assert_eq!((life.remove(), life.found(Fitness::Fit, now), life.connected(now)), (None, None, None));
        assert_eq!(life.connect_failed(life.epoch(), now, SECOND), None);
        assert_eq!((life.state(), life.chore()), (Draining, Chore::Rest));
    }
}
