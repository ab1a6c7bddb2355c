//! What is known of the names of hosts, and for how long? Nothing here waits, locks or reads a clock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Resolved;
use super::error::ResolverSaid;

/// How long addresses are good for, if nobody says.
const USUAL: Duration = Duration::from_secs(30);
/// The least: whatever a resolver says, it is asked for a name at most once in this time.
const LEAST: Duration = Duration::from_secs(1);
/// The most.
const MOST: Duration = Duration::from_secs(60 * 60);
/// How long addresses that ran out are still used while no others are found.
const STALE: Duration = Duration::from_secs(60 * 60);
/// How long a failure is remembered.
const FAILED: Duration = Duration::from_secs(1);
/// How long those who have addresses that ran out wait for a lookup, from its beginning (RFC 8767, section 5: the client response timer).
pub(super) const PATIENCE: Duration = Duration::from_millis(1800);
/// How many names are remembered.
pub(super) const NAMES: usize = 1024;

/// The addresses of a name, or why there are none.
pub(super) type Answer = Result<Arc<[IpAddr]>, Failed>;

/// Why there are no addresses.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    Empty,
    Said(ResolverSaid),
}

/// What is remembered. `W` is what to wait on for a lookup that is under way.
#[derive(Debug)]
pub(super) struct Names<W> {
    entries: HashMap<Box<str>, Entry<W>>,
    most: usize,
    /// Tells lookups from each other, also where a name was forgotten and is asked for again.
    last: u64,
}

#[derive(Debug)]
struct Entry<W> {
    good: Option<Good>,
    failed: Option<(Failed, Instant)>,
    lookup: Option<Lookup<W>>,
    turn: u64,
    used: Instant,
}

/// One that is under way.
#[derive(Debug)]
struct Lookup<W> {
    number: u64,
    on: W,
    begun: Instant,
}

/// The last addresses that were found.
#[derive(Debug)]
struct Good {
    addresses: Arc<[IpAddr]>,
    found: Instant,
    until: Instant,
}

/// What to do about a name, and whose turn it is among its addresses.
#[derive(Debug)]
pub(super) enum Look<W> {
    Known {
        answer: Answer,
        turn: u64,
    },
    /// Somebody asks already.
    Wait {
        on: W,
        stale: Option<Stale>,
        turn: u64,
    },
    /// Ask. It is the lookup of this number.
    Ask {
        lookup: u64,
        on: W,
        stale: Option<Stale>,
        turn: u64,
    },
}

/// Addresses that ran out, and until when to wait for better ones.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) addresses: Arc<[IpAddr]>,
    pub(super) until: Instant,
}

impl<W: Clone> Names<W> {
    /// At most so many, and at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), most: most.max(1), last: 0 }
    }

    /// Look a name up: `begin` makes what others wait on, if it has to be asked for, and `seed` says with which address to begin.
    pub(super) fn look(
        &mut self,
        host: &str,
        now: Instant,
        seed: impl FnOnce() -> u64,
        begin: impl FnOnce() -> W,
    ) -> Look<W> {
        if !self.entries.contains_key(host) {
            self.make_room();
            let entry = Entry { good: None, failed: None, lookup: None, turn: seed(), used: now };
            self.entries.insert(host.into(), entry);
        }
        let entry = self.entries.get_mut(host).expect("it was there or put there");
        entry.used = now;
        entry.turn = entry.turn.wrapping_add(1);
        let turn = entry.turn;
        if let Some(good) = entry.good.as_ref().filter(|good| now < good.until) {
            return Look::Known { answer: Ok(Arc::clone(&good.addresses)), turn };
        }
        let stale = entry.stale(now);
        if let Some((failed, at)) = &entry.failed {
            if now < *at + FAILED {
                return Look::Known { answer: stale.ok_or_else(|| failed.clone()), turn };
            }
        }
        let wait_from = |begun: Instant| stale.map(|addresses| Stale { addresses, until: begun + PATIENCE });
        if let Some(Lookup { on, begun, .. }) = &entry.lookup {
            return Look::Wait { on: on.clone(), stale: wait_from(*begun), turn };
        }
        self.last += 1;
        let (number, on) = (self.last, begin());
        entry.lookup = Some(Lookup { number, on: on.clone(), begun: now });
        Look::Ask { lookup: number, on, stale: wait_from(now), turn }
    }

    /// A lookup has ended. What it is to those who waited for it: a failure is none while addresses of before may be used.
    pub(super) fn ended(
        &mut self,
        host: &str,
        lookup: u64,
        found: Result<Resolved, ResolverSaid>,
        now: Instant,
    ) -> Answer {
        let found = match found {
            Ok(found) if found.addresses.is_empty() => Err(Failed::Empty),
            Ok(found) => Ok((Arc::<[IpAddr]>::from(found.addresses), found.ttl)),
            Err(said) => Err(Failed::Said(said)),
        };
        let entry = self.entries.get_mut(host).filter(|entry| entry.is_asked_by(lookup));
        let Some(entry) = entry else { return found.map(|(addresses, _)| addresses) };
        entry.lookup = None;
        match found {
            Ok((addresses, ttl)) => {
                let until = now + ttl.unwrap_or(USUAL).clamp(LEAST, MOST);
                entry.good = Some(Good { addresses: Arc::clone(&addresses), found: now, until });
                entry.failed = None;
                Ok(addresses)
            }
            Err(failed) => {
                entry.failed = Some((failed.clone(), now));
                entry.stale(now).ok_or(failed)
            }
        }
    }

    /// A lookup will never end.
    pub(super) fn given_up(&mut self, host: &str, lookup: u64) {
        if let Some(entry) = self.entries.get_mut(host).filter(|entry| entry.is_asked_by(lookup)) {
            entry.lookup = None;
        }
    }

    /// None of its addresses could be reached: whoever comes next asks anew, but not within a second of the last answer.
    pub(super) fn doubt(&mut self, host: &str, now: Instant) {
        if let Some(good) = self.entries.get_mut(host).and_then(|entry| entry.good.as_mut()) {
            good.until = good.until.min(now.max(good.found + LEAST));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets the name that nobody has asked for the longest, if there are as many as there may be.
    fn make_room(&mut self) {
        if self.entries.len() >= self.most {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.entries.remove(&name);
            }
        }
    }
}

impl<W> Entry<W> {
    /// What ran out, and may be used all the same.
    fn stale(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let good = self.good.as_ref().filter(|good| now < good.until + STALE);
        good.map(|good| Arc::clone(&good.addresses))
    }

    fn is_asked_by(&self, number: u64) -> bool {
        self.lookup.as_ref().is_some_and(|lookup| lookup.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "a.test";

    fn look(names: &mut Names<()>, now: Instant) -> Look<()> {
        names.look(HOST, now, || 0, || ())
    }

    /// The number of a lookup that is begun, and whether there are addresses that ran out.
    fn asked(names: &mut Names<()>, now: Instant) -> (u64, bool) {
        let Look::Ask { lookup, stale, .. } = look(names, now) else { panic!("nobody asks yet") };
        (lookup, stale.is_some())
    }

    fn found(last: u8) -> Result<Resolved, ResolverSaid> {
        Ok(Resolved::new([IpAddr::from([10, 0, 0, last])]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_was_given_up_and_ends_late_is_not_taken_for_the_one_after_it() {
        let (now, mut names) = (Instant::now(), Names::new(8));
        let (first, _) = asked(&mut names, now);
        names.given_up(HOST, first);
        let (second, _) = asked(&mut names, now);
        names.given_up(HOST, first);
        assert!(names.ended(HOST, first, found(1), now).is_ok(), "it is told those who waited for it");
        assert!(matches!(look(&mut names, now), Look::Wait { .. }), "the second goes on");
        assert!(names.ended(HOST, second, found(2), now).is_ok());
        let Look::Known { answer: Ok(addresses), .. } = look(&mut names, now) else { panic!("it was found") };
        assert_eq!(*addresses, [IpAddr::from([10, 0, 0, 2])]);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_ran_out_are_used_for_an_hour_and_not_a_moment_longer() {
        let (now, mut names) = (Instant::now(), Names::new(8));
        let (lookup, is_stale) = asked(&mut names, now);
        assert!(!is_stale && names.ended(HOST, lookup, found(1), now).is_ok());
        let end = now + Duration::from_secs(30 + 3_600);
        for (at, is_used) in [(end - Duration::from_nanos(1), true), (end, false)] {
            let (lookup, is_stale) = asked(&mut names, at);
            assert_eq!(is_stale, is_used);
            names.given_up(HOST, lookup);
        }
    }
}
