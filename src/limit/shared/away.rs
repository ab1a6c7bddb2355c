//! Decides who asks a store that did not answer. Nothing here waits, locks or reads a clock: `now` is handed in.

use std::time::Duration;

use tokio::time::Instant;

/// Whether the store is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Presence {
    /// How often this has changed: what was begun before a change is of no account after it.
    changes: u64,
    away: Option<Away>,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    ask_again: Instant,
    probing: bool,
}

/// Leave to ask the store; how that went has to be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    changes: u64,
    probe: bool,
}

impl Presence {
    pub(super) const fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// Leave to ask the store; or how long until somebody is given it, which is nothing while somebody has it.
    pub(super) fn ask(&mut self, now: Instant) -> Result<Leave, Duration> {
        let probe = match &mut self.away {
            None => false,
            Some(away) if away.probing || now < away.ask_again => {
                return Err(away.ask_again.saturating_duration_since(now));
            }
            Some(away) => {
                away.probing = true;
                true
            }
        };
        Ok(Leave { changes: self.changes, probe })
    }

    /// The store has answered. Whether it is back with that.
    pub(super) fn answered(&mut self, leave: Leave) -> bool {
        if !leave.probe || leave.changes != self.changes {
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
        self.away = Some(Away { ask_again, probing: false });
        if !leave.probe {
            self.changes += 1;
        }
        !leave.probe
    }

    /// Whoever asked has gone, and nobody knows.
    pub(super) fn forgotten(&mut self, leave: Leave) {
        if leave.probe && leave.changes == self.changes {
            if let Some(away) = &mut self.away {
                away.probing = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_tries_again_after_the_pause() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let (first, second) = (presence.ask(now).unwrap(), presence.ask(now).unwrap());
        assert!(presence.failed(first, now + SECOND));
        assert!(!presence.failed(second, now + 9 * SECOND), "one change is one change");
        assert_eq!(presence.ask(now).unwrap_err(), SECOND);
        let probe = presence.ask(now + SECOND).unwrap();
        assert_eq!(presence.ask(now + SECOND).unwrap_err(), Duration::ZERO);
        assert!(!presence.failed(probe, now + 2 * SECOND));
        assert!(presence.is_away());
        let probe = presence.ask(now + 2 * SECOND).unwrap();
        assert!(presence.answered(probe));
        assert!(!presence.is_away());
        assert!(presence.ask(now).is_ok() && presence.ask(now).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_before_a_change_changes_nothing_after_it() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let (slow, slower, fast) =
            (presence.ask(now).unwrap(), presence.ask(now).unwrap(), presence.ask(now).unwrap());
        presence.failed(fast, now);
        assert!(!presence.answered(slow), "only one that tries brings it back");
        let probe = presence.ask(now).unwrap();
        assert!(presence.answered(probe));
        assert!(!presence.failed(slower, now) && !presence.is_away());
        assert!(!presence.failed(probe, now) && !presence.is_away(), "it has answered");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_tries_and_goes_leaves_it_to_the_next() {
        let now = Instant::now();
        let mut presence = Presence::default();
        let first = presence.ask(now).unwrap();
        presence.failed(first, now);
        let probe = presence.ask(now).unwrap();
        presence.forgotten(probe);
        assert!(presence.ask(now).is_ok());
        presence.forgotten(first);
        assert!(presence.ask(now).is_err(), "only one");
        // It is away a second time, and somebody tries, when one that tried the first time goes.
        assert!(presence.answered(probe));
        let next = presence.ask(now).unwrap();
        presence.failed(next, now);
        assert!(presence.ask(now).is_ok());
        presence.forgotten(probe);
        assert!(presence.ask(now).is_err(), "only one");
    }
}
