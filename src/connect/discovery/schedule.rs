//! Decides when a name is looked up again, and whether what was found is news. Nothing here waits, locks or reads a clock.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::DiscoverySettings;
use crate::base::{Deadline, Rng};
use crate::connect::Resolved;

/// What is known of one name.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) settings: DiscoverySettings,
    /// The last good addresses, in order, each once.
    known: Vec<IpAddr>,
    /// Lookups in a row that found none.
    failures: u32,
    /// When the last one ended.
    last: Option<Instant>,
    /// When the next one is. Nothing before the first.
    next: Option<Instant>,
}

impl Schedule {
    pub(super) const fn new(settings: DiscoverySettings) -> Self {
        Self { settings, known: Vec::new(), failures: 0, last: None, next: None }
    }

    /// When the next lookup is: at once, if there was none.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Somebody wants to know anew.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let (Some(last), Some(next)) = (self.last, self.next) {
            let soonest = Deadline::after(last, self.settings.min_interval).instant();
            self.next = Some(next.min(soonest.max(now)));
        }
    }

    /// These were found: they, if they are others than before. None at all are not believed: see [`failed`](Self::failed).
    pub(super) fn found(&mut self, mut found: Resolved, now: Instant, rng: &Rng) -> Option<&[IpAddr]> {
        let DiscoverySettings { interval, max_interval, min_interval, .. } = self.settings;
        self.failures = 0;
        self.wait(found.ttl.unwrap_or(interval).min(max_interval).max(min_interval), now, rng);
        if found.partial {
            // Of a family without an answer nobody has said that its addresses are gone. Of one with an answer they are, else there would be
            // ever more of them.
            let said = |ip: &IpAddr| found.addresses.iter().any(|other| other.is_ipv4() == ip.is_ipv4());
            let unsaid: Vec<_> = self.known.iter().copied().filter(|ip| !said(ip)).collect();
            found.addresses.extend(unsaid);
        }
        // Name servers answer in another order each time.
        found.addresses.sort_unstable();
        found.addresses.dedup();
        if found.addresses == self.known {
            return None;
        }
        self.known = found.addresses;
        Some(&self.known)
    }

    /// Nothing was found. What was known stays known; the pauses double.
    pub(super) fn failed(&mut self, now: Instant, rng: &Rng) {
        let DiscoverySettings { interval, min_interval, .. } = self.settings;
        let times = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.wait(min_interval.saturating_mul(times).min(interval), now, rng);
    }

    /// Up to a tenth longer, so that those who began together do not ask together; never shorter, since who remembers an answer on
    /// the way would give the old one.
    fn wait(&mut self, pause: Duration, now: Instant, rng: &Rng) {
        let jitter = rng.duration_below(pause / 10);
        self.last = Some(now);
        self.next = Some(Deadline::after(now, pause.saturating_add(jitter)).instant());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn set(last: &[u8]) -> Resolved {
        Resolved::new(last.iter().map(|last| IpAddr::from([10, 0, 0, *last])))
    }

    fn about(pause: Duration, schedule: &Schedule, now: Instant) {
        let next = schedule.next().unwrap() - now;
        assert!(next >= pause && next <= pause + pause / 10, "{next:?} is not {pause:?} and at most a tenth");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_to_live_says_when_within_its_bounds() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut schedule = Schedule::new(DiscoverySettings::new());
        assert_eq!(schedule.next(), None, "at once");
        for (ttl, pause) in [
            (None, 30 * SECOND),
            (Some(5 * SECOND), 5 * SECOND),
            (Some(Duration::ZERO), SECOND),
            (Some(Duration::MAX), 300 * SECOND),
        ] {
            schedule.found(Resolved { ttl, ..set(&[1]) }, now, &rng);
            about(pause, &schedule, now);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_addresses_in_another_order_are_no_news() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut schedule = Schedule::new(DiscoverySettings::new());
        let mut news = |last: &[u8]| {
            let found = schedule.found(set(last), now, &rng);
            found.map(|found| found.iter().map(|ip| ip.to_string().pop().unwrap()).collect::<String>())
        };
        assert_eq!(news(&[2, 1, 2]).as_deref(), Some("12"));
        assert_eq!(news(&[1, 2]), None);
        assert_eq!(news(&[2, 3]).as_deref(), Some("23"));
        schedule.failed(now, &rng);
        assert_eq!(schedule.found(set(&[3, 2]), now, &rng), None, "as before the failure");
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_family_says_takes_no_address_of_the_other_away() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut schedule = Schedule::new(DiscoverySettings::new());
        let mut news = |found: Resolved| schedule.found(found, now, &rng).map(<[IpAddr]>::to_vec);
        let v6 = |last: u16| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
        let with = |last: &[u8], six: u16| [set(last).addresses, vec![v6(six)]].concat();
        assert_eq!(news(set(&[1]).in_part()), Some(set(&[1]).addresses), "better than none");
        assert_eq!(news(Resolved::new([v6(1)]).in_part()), Some(with(&[1], 1)));
        assert_eq!(news(set(&[1, 2]).in_part()), Some(with(&[1, 2], 1)));
        assert_eq!(news(set(&[2]).in_part()), Some(with(&[2], 1)), "its own are gone");
        assert_eq!(news(Resolved::new([v6(2)]).in_part()), Some(with(&[2], 2)));
        assert_eq!(news(set(&[2])), Some(set(&[2]).addresses), "both have said so");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_it_is_looked_up_sooner_and_then_ever_later() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut schedule = Schedule::new(DiscoverySettings::new());
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            schedule.failed(now, &rng);
            about(pause * SECOND, &schedule, now);
        }
        (0..100).for_each(|_| schedule.failed(now, &rng));
        about(30 * SECOND, &schedule, now);
        schedule.found(set(&[1]), now, &rng);
        schedule.failed(now, &rng);
        about(SECOND, &schedule, now);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_wants_to_know_anew_brings_it_forward_but_not_within_a_second_of_the_last() {
        let (now, rng) = (Instant::now(), Rng::seeded(1));
        let mut schedule = Schedule::new(DiscoverySettings::new());
        schedule.hurry(now);
        assert_eq!(schedule.next(), None);
        schedule.found(set(&[1]), now, &rng);
        schedule.hurry(now + SECOND / 10);
        assert_eq!(schedule.next(), Some(now + SECOND));
        schedule.hurry(now + 20 * SECOND);
        assert_eq!(schedule.next(), Some(now + SECOND), "and never puts it off");
        schedule.found(set(&[1]), now, &rng);
        schedule.hurry(now + 20 * SECOND);
        assert_eq!(schedule.next(), Some(now + 20 * SECOND));
    }
}
