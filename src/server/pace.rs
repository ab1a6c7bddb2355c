//! Decides when a connection has waited long enough, and for what. Nothing here waits, locks or reads a clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::CloseReason as Why;

/// What a connection is doing, as far as it matters for how long it may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) http2: bool,
    /// Requests whose answers are not over, and tasks that see to them or to what they became.
    pub(super) in_flight: u32,
    /// Somebody may still read the body of a request, and its answer may be over.
    pub(super) reads: bool,
    /// Some of a head has come, and not all of it.
    pub(super) in_head: bool,
    /// Since when nothing is in flight, and nothing came over HTTP/1; or since when a head is coming.
    pub(super) since: Instant,
    /// The client took something at this time.
    pub(super) taken: Instant,
    /// Since when it takes nothing of what there is.
    pub(super) stalled: Option<Instant>,
    /// Everything of the last request was read, so whatever comes next is a request.
    pub(super) clean: bool,
    /// Most requests are taken back as soon as they are made.
    pub(super) floods: bool,
    /// The client makes requests long after it was told that nothing new is taken on.
    pub(super) defies: bool,
    /// Since when nothing new is taken on, and whether that is since the connection is old.
    pub(super) closing: Option<(Instant, bool)>,
    /// When the connection is old.
    pub(super) old_at: Option<Instant>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Option<Duration>,
    pub(super) age_grace: Option<Duration>,
}

impl Limits {
    /// No state lasts shorter than this before something is due, but for that of an old connection.
    pub(super) fn shortest(&self) -> Duration {
        let stall = self.stall.unwrap_or(Duration::MAX);
        [self.head, self.idle, stall, PARK_AFTER, LAST_WORDS].into_iter().min().unwrap_or_default()
    }
}

/// What is to be done with a connection that has waited long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Drop it.
    Close(Why),
    /// Finish what was begun, and take on nothing more.
    Finish(Why),
    /// Keep the socket and give back what serving it takes.
    Park,
}

/// An HTTP/1 connection that has been idle this long gives back its buffers. One in use would fill them again at once.
pub(super) const PARK_AFTER: Duration = Duration::from_secs(1);
/// How long a client may take to close a connection on which nothing is left to do, or to notice that it need not send more.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// A request that is taken back within this time cost its client nothing.
pub(super) const HASTE: Duration = Duration::from_secs(1);
/// So many of these are needed before anything is made of it, as in Envoy: a client may have deadlines shorter than a second.
const FLOOD: u32 = 500;

/// Whether requests are begun only to be taken back ("rapid reset"). Clients that hedge, or whose users type, take back
/// fewer than half of theirs.
pub(super) const fn is_flood(begun: u32, hasty: u32) -> bool {
    hasty >= FLOOD && hasty > begun / 2
}

/// What is to be done next, and when. Nothing, if only the connection itself can tell.
pub(super) fn next(facts: &Facts, limits: &Limits) -> Option<(Instant, Act)> {
    if facts.floods {
        return Some((facts.since, Act::Close(Why::Flood)));
    }
    let stalled =
        facts.stalled.zip(limits.stall).map(|(since, limit)| (since, limit, Act::Close(Why::Stalled)));
    // Over HTTP/2 a client takes pings as well.
    let idle_since = if facts.http2 { facts.since } else { facts.since.max(facts.taken) };
    let waits = if facts.in_flight > 0 || facts.stalled.is_some() || (facts.http2 && facts.reads) {
        None
    } else if let Some((since, _)) = facts.closing {
        let since = if facts.reads || facts.defies { since.max(facts.since) } else { since };
        // What it takes then is that its requests are refused.
        let since = if facts.defies { since } else { since.max(facts.taken) };
        Some((since, LAST_WORDS, Act::Close(Why::Idle)))
    } else if facts.in_head {
        Some((facts.since, limits.head, Act::Close(Why::Head)))
    } else if facts.http2 {
        Some((idle_since, limits.idle, Act::Finish(Why::Idle)))
    } else if facts.clean && !facts.reads && limits.idle > PARK_AFTER {
        Some((idle_since, PARK_AFTER, Act::Park))
    } else {
        Some((idle_since, limits.idle, Act::Close(Why::Idle)))
    };
    let old = match facts.closing {
        // A head that is coming has a limit of its own; hyper would drop it.
        None if facts.in_head => None,
        None => facts.old_at.map(|at| (at, Duration::ZERO, Act::Finish(Why::Old))),
        Some((since, true)) => limits.age_grace.map(|grace| (since, grace, Act::Close(Why::Old))),
        Some((_, false)) => None,
    };
    // A limit beyond what a clock can count is none.
    let due = |(since, limit, act): (Instant, Duration, Act)| since.checked_add(limit).map(|at| (at, act));
    [stalled, waits, old].into_iter().flatten().filter_map(due).min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits =
        Limits { head: Duration::from_secs(10), idle: Duration::from_secs(75), stall: None, age_grace: None };

    fn idle(start: Instant) -> Facts {
        Facts {
            http2: false,
            in_flight: 0,
            reads: false,
            in_head: false,
            since: start,
            taken: start,
            stalled: None,
            clean: true,
            floods: false,
            defies: false,
            closing: None,
            old_at: None,
        }
    }

    fn after(facts: &Facts, limits: &Limits, start: Instant) -> Option<(u64, Act)> {
        next(facts, limits).map(|(at, act)| ((at - start).as_secs(), act))
    }

    #[test]
    fn a_connection_waits_for_what_its_state_says() {
        let start = Instant::now();
        let idle = idle(start);
        let at = |facts: Facts| after(&facts, &LIMITS, start);
        assert_eq!(at(idle), Some((1, Act::Park)));
        assert_eq!(at(Facts { clean: false, ..idle }), Some((75, Act::Close(Why::Idle))));
        assert_eq!(at(Facts { in_head: true, ..idle }), Some((10, Act::Close(Why::Head))));
        assert_eq!(at(Facts { http2: true, ..idle }), Some((75, Act::Finish(Why::Idle))));
        assert_eq!(at(Facts { in_flight: 1, ..idle }), None);
        assert_eq!(
            at(Facts { http2: true, taken: start + SECOND, ..idle }),
            Some((75, Act::Finish(Why::Idle)))
        );
        // A client that is still taking the last answer is not idle; one that sends a head byte by byte is none the better.
        assert_eq!(at(Facts { taken: start + SECOND, ..idle }), Some((2, Act::Park)));
        let dripping = Facts { in_head: true, taken: start + SECOND, ..idle };
        assert_eq!(at(dripping), Some((10, Act::Close(Why::Head))));
        assert_eq!(at(Facts { old_at: Some(start), ..dripping }), Some((10, Act::Close(Why::Head))));
        // Whoever reads on after the answer is waited for, as long as something comes.
        let reads = Facts { reads: true, ..idle };
        assert_eq!(at(reads), Some((75, Act::Close(Why::Idle))));
        assert_eq!(at(Facts { http2: true, ..reads }), None);
        let closing = Facts { closing: Some((start, false)), since: start + SECOND, ..reads };
        assert_eq!(at(closing), Some((6, Act::Close(Why::Idle))));
    }

    #[test]
    fn a_client_that_takes_nothing_is_closed_whatever_is_in_flight() {
        let start = Instant::now();
        let limits = Limits { stall: Some(3 * SECOND), ..LIMITS };
        let stalled = Facts { stalled: Some(start), in_flight: 2, ..idle(start) };
        assert_eq!(after(&stalled, &limits, start), Some((3, Act::Close(Why::Stalled))));
        assert_eq!(after(&stalled, &LIMITS, start), None);
        // What the handler has given may still be on its way: then the connection is neither idle nor at rest.
        let over = Facts { in_flight: 0, ..stalled };
        assert_eq!(after(&over, &limits, start), Some((3, Act::Close(Why::Stalled))));
        assert_eq!(after(&over, &LIMITS, start), None);
    }

    #[test]
    fn a_connection_grows_old_and_then_has_its_grace() {
        let start = Instant::now();
        let busy = Facts { in_flight: 1, old_at: Some(start + 20 * SECOND), ..idle(start) };
        assert_eq!(after(&busy, &LIMITS, start), Some((20, Act::Finish(Why::Old))));
        let graced = Limits { age_grace: Some(4 * SECOND), ..LIMITS };
        let closing = Facts { closing: Some((start + 20 * SECOND, true)), ..busy };
        assert_eq!(after(&closing, &graced, start), Some((24, Act::Close(Why::Old))));
        assert_eq!(after(&closing, &LIMITS, start), None, "without a limit its streams end when they end");
        // A shutdown has limits of its own.
        let told = Facts { closing: Some((start + 20 * SECOND, false)), ..busy };
        assert_eq!(after(&told, &graced, start), None);
    }

    #[test]
    fn a_client_that_does_not_close_what_is_over_is_closed() {
        let start = Instant::now();
        let over = Facts { http2: true, closing: Some((start + SECOND, false)), ..idle(start) };
        assert_eq!(after(&over, &LIMITS, start), Some((6, Act::Close(Why::Idle))));
        // As long as it takes something, it may be the rest of its last answer; or that its new requests are refused.
        let takes = Facts { taken: start + 8 * SECOND, ..over };
        assert_eq!(after(&takes, &LIMITS, start), Some((13, Act::Close(Why::Idle))));
        let defies = Facts { defies: true, ..takes };
        assert_eq!(after(&defies, &LIMITS, start), Some((6, Act::Close(Why::Idle))));
        let until_later = Facts { since: start + 4 * SECOND, ..defies };
        assert_eq!(after(&until_later, &LIMITS, start), Some((9, Act::Close(Why::Idle))));
        assert_eq!(after(&Facts { in_flight: 1, ..defies }, &LIMITS, start), None, "what it had may end");
    }

    #[test]
    fn whoever_takes_back_most_of_many_requests_floods() {
        assert!(is_flood(500, 500) && is_flood(999, 500));
        assert!(!is_flood(499, 499) && !is_flood(1_000, 500) && !is_flood(1_000_000, 1_000));
        let start = Instant::now();
        let flood = Facts { floods: true, http2: true, in_flight: 3, ..idle(start) };
        assert_eq!(after(&flood, &LIMITS, start), Some((0, Act::Close(Why::Flood))));
    }

    #[test]
    fn limits_beyond_what_a_clock_can_count_are_none() {
        let start = Instant::now();
        let limits = Limits { head: Duration::MAX, idle: Duration::MAX, ..LIMITS };
        assert_eq!(after(&Facts { in_head: true, ..idle(start) }, &limits, start), None);
        assert_eq!(after(&Facts { clean: false, ..idle(start) }, &limits, start), None);
    }

    #[test]
    fn a_connection_is_parked_only_where_it_is_kept_for_longer_than_that() {
        let start = Instant::now();
        let parks = |idle| after(&self::idle(start), &Limits { idle, ..LIMITS }, start);
        assert_eq!(parks(PARK_AFTER), Some((1, Act::Close(Why::Idle))));
        assert_eq!(parks(PARK_AFTER + SECOND), Some((1, Act::Park)));
    }

    #[test]
    fn nothing_is_due_sooner_than_the_shortest_of_all_limits() {
        let [quarter, half] = [SECOND / 4, SECOND / 2];
        for (limits, shortest) in [
            (LIMITS, PARK_AFTER),
            (Limits { head: half, ..LIMITS }, half),
            (Limits { idle: half, ..LIMITS }, half),
            (Limits { stall: Some(quarter), head: half, ..LIMITS }, quarter),
        ] {
            assert_eq!(limits.shortest(), shortest, "{limits:?}");
        }
    }
}
