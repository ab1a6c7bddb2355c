//! Decides who asks a store that did not answer. Nothing here waits, locks or reads a clock: `now` is handed in.

use std::time::Duration;

use tokio::time::Instant;

/// Whether the store is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Presence {
    /// How often this has changed: what was begun before a change is of no account after it.
    changes: u64,
    away: Option<Away>,
    /// What was asked without an answer since the last one, where those who asked had no more time.
    silence: Option<Silence>,
}

#[derive(Clone, Copy, Debug)]
struct Silence {
    /// How long somebody waited.
    waited: Duration,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    ask_again: Instant,
    /// Until when somebody asks, at the latest: who is not heard of by then will not be.
    probing: Option<Instant>,
    /// How many asked.
    probes: u64,
}

/// Leave to ask the store; how that went has to be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    changes: u64,
    /// Which of those who ask a store that is away, if it is one.
    probe: Option<u64>,
}

impl Presence {
    pub(super) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Leave to ask the store; or how long until somebody is given it, which is nothing while somebody has it. Whoever has it is done
    /// by `over`.
    pub(super) fn ask(&mut self, now: Instant, over: Instant) -> Result<Leave, Duration> {
        let probe = match &mut self.away {
            None => None,
            Some(away) if away.probing.is_some_and(|over| now < over) || now < away.ask_again => {
                return Err(away.ask_again.saturating_duration_since(now));
            }
            Some(away) => {
                away.probing = Some(over);
                away.probes += 1;
                Some(away.probes)
            }
        };
        Ok(Leave { changes: self.changes, probe })
    }

    /// The store has answered. Whether it is back with that.
    pub(super) fn answered(&mut self, leave: Leave) -> bool {
        self.silence = None;
        if leave.probe.is_none() || leave.changes != self.changes {
            return false;
        }
        self.away = None;
        self.changes += 1;
        true
    }

    /// It has not. Whether it is away with that.
    pub(super) fn failed(&mut self, leave: Leave, ask_again: Instant) -> bool {
        if leave.changes != self.changes {
            return false;
        }
        self.silence = None;
        if leave.probe.is_some() {
            if let Some(away) = self.probed(leave) {
                (away.ask_again, away.probing) = (ask_again, None);
            }
            return false;
        }
        self.away = Some(Away { ask_again, probing: None, probes: 0 });
        self.changes += 1;
        true
    }

    /// Whoever asked has gone, and nobody knows.
    pub(super) fn forgotten(&mut self, leave: Leave) {
        if let Some(away) = self.probed(leave) {
            away.probing = None;
        }
    }

    /// Whoever asked from `begun` to `now` had no more time, and was given no answer. Whether that says that the store has failed: one that
    /// is away, or one that has said nothing for as long as it may take.
    pub(super) fn cut_off(&mut self, leave: Leave, begun: Instant, now: Instant, timeout: Duration) -> bool {
        if leave.probe.is_some() || leave.changes != self.changes {
            return true;
        }
        let silence = self.silence.get_or_insert(Silence { waited: Duration::ZERO, until: begun });
        // Those who wait at the same time wait for the same.
        silence.waited += now.saturating_duration_since(begun.max(silence.until));
        silence.until = silence.until.max(now);
        silence.waited >= timeout
    }

    /// What is to be known of the last one that asked, if it is this one.
    fn probed(&mut self, leave: Leave) -> Option<&mut Away> {
        let changes = self.changes;
        let away = self.away.as_mut()?;
        (leave.changes == changes && leave.probe == Some(away.probes)).then_some(away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    fn ask(presence: &mut Presence, now: Instant) -> Result<Leave, Duration> {
        presence.ask(now, now + SECOND)
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_tries_again_after_the_pause() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let (first, second) = (ask(&mut presence, now).unwrap(), ask(&mut presence, now).unwrap());
        assert!(presence.failed(first, now + SECOND));
        assert!(!presence.failed(second, now + 9 * SECOND), "one change is one change");
        assert_eq!(ask(&mut presence, now).unwrap_err(), SECOND);
        let probe = ask(&mut presence, now + SECOND).unwrap();
        assert_eq!(ask(&mut presence, now + SECOND).unwrap_err(), Duration::ZERO);
        assert!(!presence.failed(probe, now + 2 * SECOND));
        assert!(presence.is_away());
        let probe = ask(&mut presence, now + 2 * SECOND).unwrap();
        assert!(presence.answered(probe));
        assert!(!presence.is_away());
        assert!(ask(&mut presence, now).is_ok() && ask(&mut presence, now).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_before_a_change_changes_nothing_after_it() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let (slow, slower, fast) = (
            ask(&mut presence, now).unwrap(),
            ask(&mut presence, now).unwrap(),
            ask(&mut presence, now).unwrap(),
        );
        presence.failed(fast, now);
        assert!(!presence.answered(slow), "only one that tries brings it back");
        let probe = ask(&mut presence, now).unwrap();
        assert!(presence.answered(probe));
        assert!(!presence.failed(slower, now) && !presence.is_away());
        assert!(!presence.failed(probe, now) && !presence.is_away(), "it has answered");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_tries_and_goes_leaves_it_to_the_next() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let first = ask(&mut presence, now).unwrap();
        presence.failed(first, now);
        let probe = ask(&mut presence, now).unwrap();
        presence.forgotten(probe);
        let probe = ask(&mut presence, now).unwrap();
        presence.forgotten(first);
        assert!(ask(&mut presence, now).is_err(), "only one");
        // It is away a second time, and somebody tries, when one that tried the first time goes.
        assert!(presence.answered(probe));
        let next = ask(&mut presence, now).unwrap();
        presence.failed(next, now);
        assert!(ask(&mut presence, now).is_ok());
        presence.forgotten(probe);
        assert!(ask(&mut presence, now).is_err(), "only one");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_heard_of_does_not_keep_others_from_trying() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let first = ask(&mut presence, now).unwrap();
        presence.failed(first, now);
        let lost = ask(&mut presence, now).unwrap();
        assert!(ask(&mut presence, now + SECOND - Duration::from_nanos(1)).is_err(), "only one");
        let probe = ask(&mut presence, now + SECOND).unwrap();
        // What becomes of the one that was lost is of no account any more, unless it brings an answer.
        presence.forgotten(lost);
        assert_eq!(ask(&mut presence, now + SECOND).unwrap_err(), Duration::ZERO, "only one");
        assert!(!presence.failed(lost, now + 9 * SECOND));
        assert_eq!(ask(&mut presence, now + SECOND).unwrap_err(), Duration::ZERO, "only one");
        assert!(!presence.failed(probe, now + 3 * SECOND));
        assert_eq!(ask(&mut presence, now + 2 * SECOND).unwrap_err(), SECOND);
        assert!(presence.answered(lost) && !presence.is_away());
        assert!(!presence.answered(probe), "it is back already");
        let next = ask(&mut presence, now).unwrap();
        assert!(presence.failed(next, now + SECOND));
        // Whoever asked when it was away the last time says nothing of this time.
        assert!(!presence.answered(probe) && presence.is_away());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_silent_for_as_long_as_it_may_take_has_failed_whoever_waited() {
        let (start, limit) = (Instant::now(), 100 * MS);
        let at = |millis: u32| start + millis * MS;
        let mut presence = Presence::default();
        let leave = ask(&mut presence, start).unwrap();
        let mut cut_off = |begun, now| presence.cut_off(leave, at(begun), at(now), limit);
        assert!(!cut_off(0, 40) && !cut_off(1_000, 1_040), "nobody waited in between");
        assert!(!cut_off(1_000, 1_040) && !cut_off(1_010, 1_050), "at the same time");
        assert!(cut_off(1_000, 1_060));
        let other = ask(&mut presence, start).unwrap();
        assert!(!presence.answered(other), "it was not away");
        assert!(!presence.cut_off(leave, at(1_100), at(1_199), limit), "it has answered since");
        assert!(presence.cut_off(leave, at(1_199), at(1_200), limit));
        // Of one that is away it is enough that one heard nothing.
        assert!(presence.failed(leave, start));
        let probe = ask(&mut presence, start).unwrap();
        assert!(presence.cut_off(probe, start, at(1), limit));
    }
}
