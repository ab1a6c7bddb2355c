//! Names that were looked for and not found. The clock is handed in.

use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use tokio::time::Instant;

/// As many as may have been looked for of late; more are not remembered, and cost what they cost without this.
const MOST: usize = 1_024;
/// No issuer gives longer names, which are not remembered either.
const LONGEST: usize = 256;

/// Two generations: a name is forgotten when it has been there for at least half of the time, and at most all of it.
#[derive(Debug)]
pub(super) struct Missing {
    young: HashSet<Box<str>>,
    old: HashSet<Box<str>>,
    half: Duration,
    since: Instant,
}

impl Missing {
    pub(super) fn new(ttl: Duration, now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), half: ttl / 2, since: now }
    }

    pub(super) fn add(&mut self, name: &str, now: Instant) {
        self.turn(now);
        if name.len() <= LONGEST && self.young.len() < MOST / 2 && !self.old.contains(name) {
            self.young.insert(name.into());
        }
    }

    pub(super) fn has(&mut self, name: &str, now: Instant) -> bool {
        self.turn(now);
        self.young.contains(name) || self.old.contains(name)
    }

    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age < self.half {
            return;
        }
        let young = mem::take(&mut self.young);
        (self.old, self.since) = if age < self.half.saturating_mul(2) {
            (young, self.since + self.half)
        } else {
            (HashSet::new(), now)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_is_remembered_for_a_while_and_there_are_never_too_many() {
        let ttl = Duration::from_secs(100);
        let now = Instant::now();
        let mut missing = Missing::new(ttl, now);
        missing.add("a", now);
        for at in 0..10 * MOST {
            missing.add(&at.to_string(), now);
        }
        missing.add(&"x".repeat(LONGEST + 1), now);
        let later = now + ttl / 2;
        assert!(missing.has("a", later));
        for at in 0..10 * MOST {
            missing.add(&format!("later {at}"), later);
        }
        assert!(missing.young.len() + missing.old.len() <= MOST);
        assert!(!missing.has("a", now + ttl));
        assert!(!missing.has("later 1", now + 3 * ttl));
        assert!(missing.young.is_empty() && missing.old.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_remembered_for_half_of_the_time_and_not_for_all_of_it() {
        let (ttl, now) = (Duration::from_secs(100), Instant::now());
        let mut missing = Missing::new(ttl, now);
        missing.add("a", now);
        missing.add("b", now + ttl / 2);
        assert!(!missing.has("a", now + ttl) && missing.has("b", now + ttl));
        let mut alone = Missing::new(ttl, now);
        alone.add("a", now);
        assert!(!alone.has("a", now + ttl));
    }
}
