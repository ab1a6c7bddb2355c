//! What a server has said of its limits, and what was sent since.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::announced::{Id, Limit, MOST};

/// Those that come back at a reset come at this distance, where the server has not said how many it takes in which time.
const GAP: Duration = Duration::from_millis(10);
/// And at these, whatever it has said: so no more wait than there are milliseconds.
const SHORTEST_GAP: Duration = Duration::from_millis(1);
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// No time is longer, so that it can be counted.
const FAR_AWAY: Duration = Duration::from_secs(3650 * 86_400);

#[derive(Debug, Default)]
pub(super) struct Ledger {
    limits: Vec<Known>,
    /// The next who waits, waits until then.
    turn: Option<Instant>,
    /// Or until one of these: turns of some who wait no longer.
    left: BTreeSet<Instant>,
    /// The next who does not is told to come back then.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    /// Nothing of what is known from `Retry-After` alone.
    id: Option<Id>,
    left: u64,
    /// Until when that is so.
    until: Instant,
    /// When there is more, by the server's word.
    reset: Instant,
    /// The request whose answer has said so, and the last that was sent by then.
    heard_by: u64,
    last: u64,
    /// Whether no newer answer has named others and not this one.
    is_named: bool,
    policy: Option<(u64, Duration)>,
}

/// It is not to be sent yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotYet {
    pub(super) policy: Option<Arc<str>>,
    pub(super) until: Instant,
    /// Whether it is to wait until then; else it is refused.
    pub(super) waits: bool,
}

/// What an answer has said, and when it was asked for.
pub(super) struct Heard<'a> {
    pub(super) limits: &'a [Limit],
    /// All limits that it names a policy of.
    pub(super) policies: &'a [Id],
    /// It was refused for having come too often, and may come again after so long.
    pub(super) refused_for: Option<Duration>,
    /// It was not refused, for that or for there being too much to do.
    pub(super) accepted: bool,
    /// The number of the request that it answers, and of the last that was sent.
    pub(super) number: u64,
    pub(super) last: u64,
}

impl Ledger {
    /// Whether nothing is known that could hold anything back.
    pub(super) fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Whether something is known from `Retry-After` alone, so that what says nothing of limits says something, too.
    pub(super) fn has_unnamed(&self) -> bool {
        self.limits.iter().any(|known| known.id.is_none())
    }

    /// Take a request's part of every limit, if there is one left of each; if not, it can wait until `latest`. A server is not believed for
    /// longer than `longest` at a time.
    pub(super) fn admit(&mut self, now: Instant, latest: Instant, longest: Duration) -> Result<(), NotYet> {
        self.limits.retain_mut(|known| known.goes_on(now, longest));
        let full = self.limits.iter().filter(|known| known.left == 0).max_by_key(|known| known.until);
        let Some(full) = full else {
            for known in &mut self.limits {
                known.left -= 1;
            }
            return Ok(());
        };
        let (first, quota) = (full.until, full.policy);
        let gap = quota
            .map_or(GAP, |(amount, per)| per.div_f64(amount.max(1) as f64).clamp(SHORTEST_GAP, LONGEST_GAP));
        // One after another, and not all at the instant of the reset.
        let policy = full.id.as_ref().map(|id| Arc::clone(&id.name));
        if let Some(turn) = self.take_turn(first, latest, gap) {
            return Err(NotYet { policy, until: turn, waits: true });
        }
        // Who is refused may never come. So after as many as are admitted in the time of the quota, it begins anew.
        let spread = quota.map_or(LONGEST_GAP, |(_, per)| per.clamp(LONGEST_GAP, longest.max(LONGEST_GAP)));
        let told = self.told.filter(|told| *told >= first && *told - first <= spread).unwrap_or(first);
        self.told = Some(told + gap);
        Err(NotYet { policy, until: told, waits: false })
    }

    /// A turn from `first` to `latest`, if there is one: that of the first who has left it, or behind all others.
    fn take_turn(&mut self, first: Instant, latest: Instant, gap: Duration) -> Option<Instant> {
        if !self.left.is_empty() {
            // Those before are gone.
            self.left = self.left.split_off(&first);
            if let Some(turn) = self.left.first().copied().filter(|turn| *turn <= latest) {
                self.left.remove(&turn);
                return Some(turn);
            }
        }
        let turn = self.turn.map_or(first, |turn| turn.max(first));
        (turn <= latest).then(|| {
            self.turn = Some(turn + gap);
            turn
        })
    }

    /// Who waited for this turn has gone. The next who comes may have it; those behind were promised theirs.
    pub(super) fn leave(&mut self, turn: Instant) {
        self.left.insert(turn);
    }

    pub(super) fn hear(&mut self, now: Instant, heard: &Heard<'_>, longest: Duration) {
        let known = |id: Option<&Id>, left: u64, more_in: Duration, policy: Option<(u64, Duration)>| {
            let reset = now + more_in.min(FAR_AWAY);
            Known {
                id: id.cloned(),
                // The server had not seen what was sent after this request, or at least nobody knows that it had.
                left: left.saturating_sub(heard.last.saturating_sub(heard.number)),
                until: reset.min(now + longest),
                reset,
                heard_by: heard.number,
                last: heard.last,
                is_named: true,
                policy: policy.map(|(amount, per)| (amount, per.min(FAR_AWAY))),
            }
        };
        self.compare(heard);
        if heard.accepted {
            // What was known from `Retry-After` alone is meant no longer, if this was sent in spite of it.
            self.limits.retain(|known| known.id.is_some() || heard.number <= known.last);
        }
        for limit in heard.limits {
            let used_up = limit.left == 0;
            // What a refusal says of when to come back goes before what the field says.
            let more_in = heard.refused_for.filter(|_| used_up).or(limit.more_in);
            // Where neither does, it is at the end of a whole window. Else nobody knows how long this is so.
            let Some(more_in) = more_in.or(limit.policy.map(|(_, per)| per)) else { continue };
            self.note(known(Some(&limit.id), limit.left, more_in, limit.policy));
        }
        if let Some(more_in) = heard.refused_for {
            if heard.limits.iter().all(|limit| limit.left > 0) {
                self.note(known(None, 0, more_in, None));
            }
        }
    }

    /// A limit that is named no longer, among others that are, is one that there is no more, or one of which the server says nothing for now,
    /// as it may. So nothing is known of it but what was said of the present window.
    fn compare(&mut self, heard: &Heard<'_>) {
        if heard.limits.is_empty() {
            return;
        }
        for known in self.limits.iter_mut().filter(|known| known.heard_by < heard.number) {
            let Some(id) = &known.id else { continue };
            known.is_named = heard.limits.iter().any(|limit| limit.id == *id) || heard.policies.contains(id);
        }
    }

    fn note(&mut self, known: Known) {
        let has_room = self.limits.len() < MOST;
        match self.limits.iter_mut().find(|other| other.id == known.id) {
            // An older answer that took longer.
            Some(other) if other.heard_by > known.heard_by => {}
            Some(other) => *other = known,
            None if has_room => self.limits.push(known),
            None => {}
        }
    }
}

impl Known {
    /// When the time is over for which something was said, there is as much as the policy says; where that is not known, nothing is.
    /// Where the server is not believed for as long as it has said, one request finds out how it is; if that hears nothing of this limit, it
    /// was not refused for it. Says whether anything is known.
    fn goes_on(&mut self, now: Instant, longest: Duration) -> bool {
        if self.until > now {
            return true;
        }
        if self.reset > now {
            if self.left == 0 && !self.is_named {
                return false;
            }
            self.left = self.left.max(1);
            self.until = self.reset.min(now + longest);
            return true;
        }
        let Some((amount, per)) = self.policy.filter(|_| self.is_named) else { return false };
        self.left = amount;
        self.reset = now + per;
        self.until = self.reset.min(now + longest);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn limit(name: &str, left: u64, more_in: u64, policy: Option<(u64, u64)>) -> Limit {
        let id = Id { name: name.into(), partition: Box::default() };
        let policy = policy.map(|(q, w)| (q, Duration::from_secs(w)));
        Limit { id, left, more_in: Some(Duration::from_secs(more_in)), policy }
    }

    fn heard(limits: &[Limit], number: u64, last: u64) -> Heard<'_> {
        Heard { limits, policies: &[], refused_for: None, accepted: false, number, last }
    }

    /// Ask for one that cannot wait.
    fn admit(ledger: &mut Ledger, now: Instant) -> Result<(), NotYet> {
        ledger.admit(now, now, MINUTE)
    }

    /// How many go at this instant.
    fn admitted(ledger: &mut Ledger, now: Instant) -> usize {
        (0..1_000).take_while(|_| admit(ledger, now).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_sent_and_no_more_until_there_is_more() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        assert_eq!(admitted(&mut ledger, now), 1_000, "nothing is known");
        ledger.hear(now, &heard(&[limit("a", 3, 10, Some((5, 20)))], 1, 1), MINUTE);
        assert_eq!(admitted(&mut ledger, now), 3);
        let NotYet { policy, until, .. } = admit(&mut ledger, now).unwrap_err();
        assert_eq!(policy.as_deref(), Some("a"));
        // One was told to come at the reset already. They come at a distance of four seconds, at most of one.
        assert_eq!(until, now + 11 * SECOND);
        assert_eq!(admitted(&mut ledger, now + 9 * SECOND), 0);
        assert_eq!(admitted(&mut ledger, now + 10 * SECOND), 5, "as the policy says");
        assert_eq!(admitted(&mut ledger, now + 29 * SECOND), 0);
        assert_eq!(admitted(&mut ledger, now + 30 * SECOND), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_since_is_taken_off_and_an_older_answer_changes_nothing() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.hear(now, &heard(&[limit("a", 10, 10, None)], 5, 9), MINUTE);
        ledger.hear(now, &heard(&[limit("a", 100, 10, None)], 4, 9), MINUTE);
        assert_eq!(admitted(&mut ledger, now), 6);
        ledger.hear(now, &heard(&[limit("a", 2, 10, None)], 9, 9), MINUTE);
        ledger.hear(now, &heard(&[limit("a", 3, 10, None)], 9, 9), MINUTE);
        assert_eq!(admitted(&mut ledger, now), 3, "of the same answer the last counts");
        assert_eq!(admitted(&mut ledger, now + 10 * SECOND), 1_000, "nobody knows how many there are");
        assert!(ledger.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn every_limit_has_to_have_something_left_and_a_refusal_takes_of_none() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let both = [limit("second", 2, 1, Some((2, 1))), limit("hour", 5, 3_600, Some((100, 3_600)))];
        ledger.hear(now, &heard(&both, 1, 1), MINUTE);
        assert_eq!(admitted(&mut ledger, now), 2);
        assert_eq!(admitted(&mut ledger, now + SECOND), 2);
        assert_eq!(admitted(&mut ledger, now + 2 * SECOND), 1, "of the hour");
        let NotYet { policy, .. } = admit(&mut ledger, now + 3 * SECOND).unwrap_err();
        assert_eq!(policy.as_deref(), Some("hour"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_when_to_come_back_whatever_the_field_says() {
        for (limits, name) in [
            (vec![], None),
            (vec![limit("a", 0, 100, None)], Some("a")),
            (vec![limit("a", 0, 1, None)], Some("a")),
            (vec![limit("a", 7, 100, None)], None),
        ] {
            let (mut ledger, now) = (Ledger::default(), Instant::now());
            let heard = Heard {
                limits: &limits,
                policies: &[],
                refused_for: Some(5 * SECOND),
                accepted: false,
                number: 1,
                last: 1,
            };
            ledger.hear(now, &heard, MINUTE);
            let NotYet { policy, until, .. } = admit(&mut ledger, now).unwrap_err();
            assert_eq!((policy.as_deref(), until), (name, now + 5 * SECOND), "{limits:?}");
            assert!(admit(&mut ledger, now + 5 * SECOND).is_ok(), "{limits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_finds_out_whether_a_server_that_asks_for_very_long_still_means_it() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.hear(now, &heard(&[limit("a", 0, u64::MAX, Some((1, u64::MAX)))], 1, 1), MINUTE);
        assert_eq!(admit(&mut ledger, now).unwrap_err().until, now + MINUTE);
        for minute in 1..5 {
            assert_eq!(admitted(&mut ledger, now + minute * MINUTE), 1);
        }
        for policy in [None, Some((50, 3_600))] {
            let mut ledger = Ledger::default();
            ledger.hear(now, &heard(&[limit("a", 0, 3_600, policy)], 1, 1), MINUTE);
            assert_eq!(admitted(&mut ledger, now + MINUTE), 1, "{policy:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_each_window_as_many_are_sent_as_the_policy_says_also_if_that_is_one() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.hear(now, &heard(&[limit("a", 0, 10, Some((1, 10)))], 1, 1), MINUTE);
        for second in 0..60 {
            let most = usize::from(second > 0 && second % 10 == 0);
            assert_eq!(admitted(&mut ledger, now + second * SECOND), most, "{second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_are_admitted_in_the_time_that_they_would() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.hear(now, &heard(&[limit("a", 0, 10, Some((20, 10)))], 1, 1), MINUTE);
        for _ in 0..1_000 {
            let told = admit(&mut ledger, now).unwrap_err();
            assert!(!told.waits && told.until <= now + 20 * SECOND + SECOND / 2, "they may never come");
        }
        let wait = |ledger: &mut Ledger| ledger.admit(now, now + 15 * SECOND, MINUTE).unwrap_err();
        for turn in 0..11 {
            let until = now + 10 * SECOND + turn * SECOND / 2;
            let NotYet { until: at, waits, .. } = wait(&mut ledger);
            assert_eq!((at, waits), (until, true));
        }
        assert!((0..1_000).all(|_| !wait(&mut ledger).waits));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_named_no_longer_is_forgotten_when_its_window_is_over() {
        let others = [limit("b", 500, 60, None)];
        let named = [Id { name: "a".into(), partition: Box::default() }];
        for (policies, number, expected) in [
            (&[][..], 3, 500),
            // It does not say how that stands, but that there is one.
            (&named[..], 3, 1),
            // An older answer.
            (&[][..], 1, 1),
        ] {
            let (mut ledger, now) = (Ledger::default(), Instant::now());
            ledger.hear(now, &heard(&[limit("a", 0, 10, Some((1, 10)))], 2, 2), MINUTE);
            let last = number;
            ledger.hear(
                now,
                &Heard { limits: &others, policies, refused_for: None, accepted: false, number, last },
                MINUTE,
            );
            assert_eq!(admitted(&mut ledger, now + 9 * SECOND), 0, "that was said");
            assert_eq!(admitted(&mut ledger, now + 10 * SECOND), expected, "{policies:?} {number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_used_up_and_of_which_the_one_that_finds_out_hears_nothing_is_forgotten() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.hear(now, &heard(&[limit("day", 0, 86_400, Some((5, 86_400)))], 1, 1), MINUTE);
        assert_eq!(admitted(&mut ledger, now + MINUTE), 1, "it finds out");
        ledger.hear(now + MINUTE, &heard(&[limit("b", 1_000, 1, None)], 2, 2), MINUTE);
        assert_eq!(admitted(&mut ledger, now + MINUTE + SECOND), 0, "that was said");
        assert_eq!(admitted(&mut ledger, now + 2 * MINUTE), 1_000);
        assert!(ledger.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_was_left_goes_to_the_next_who_can_wait_for_it() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.hear(now, &heard(&[limit("a", 0, 10, Some((10, 10)))], 1, 1), MINUTE);
        let wait = |ledger: &mut Ledger, latest: u32| {
            let NotYet { until, waits, .. } = ledger.admit(now, now + latest * SECOND, MINUTE).unwrap_err();
            waits.then(|| (until - now).as_secs())
        };
        assert_eq!([(); 4].map(|()| wait(&mut ledger, 60)), [10, 11, 12, 13].map(Some));
        for left in [12, 11] {
            ledger.leave(now + left * SECOND);
        }
        assert_eq!(
            [10, 11, 60, 60].map(|latest| wait(&mut ledger, latest)),
            [None, Some(11), Some(12), Some(14)]
        );
        // One that has passed is nobody's.
        ledger.leave(now + 10 * SECOND);
        ledger.hear(now, &heard(&[limit("a", 0, 20, Some((10, 10)))], 2, 2), MINUTE);
        assert_eq!(wait(&mut ledger, 60), Some(20));
        assert!(ledger.left.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_grows_with_what_is_said() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for name in 0..1_000 {
            ledger.hear(now, &heard(&[limit(&name.to_string(), 5, 10, None)], 1, 1), MINUTE);
        }
        assert_eq!(ledger.limits.len(), MOST);
    }

    proptest! {
        /// Whatever is said: it never panics, nobody is told to come back in the past or after more than the time that a server is believed
        /// and the time over which those are spread, and the one who comes at the time that the first was told is sent.
        #[test]
        fn whatever_a_server_says_no_more_is_sent_than_is_left_and_the_wait_is_bounded(
            left in any::<u64>(), more_in in any::<u64>(), policy in any::<Option<(u64, u64)>>(),
            refused in any::<Option<u64>>(), number in any::<u64>(), last in any::<u64>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _entered = runtime.enter();
            let (mut ledger, now) = (Ledger::default(), Instant::now());
            let policy = policy.filter(|(q, w)| *q > 0 && *w > 0);
            let limits = [limit("a", left, more_in, policy)];
            let refused_for = refused.map(Duration::from_secs);
            ledger.hear(now, &Heard { limits: &limits, policies: &[], refused_for, accepted: false, number, last }, MINUTE);
            let sent = admitted(&mut ledger, now);
            let most = left.saturating_sub(last.saturating_sub(number));
            if refused.is_none_or(|after| after > 0) && more_in > 0 {
                prop_assert!(sent as u64 <= most);
            }
            let mut first = None;
            for _ in 0..1_000 {
                if let Err(NotYet { until, .. }) = admit(&mut ledger, now) {
                    first.get_or_insert(until);
                    prop_assert!(until > now && until <= now + 2 * MINUTE + 2 * SECOND);
                }
            }
            if let Some(until) = first {
                prop_assert!(admit(&mut ledger, until).is_ok());
            }
        }
    }
}
