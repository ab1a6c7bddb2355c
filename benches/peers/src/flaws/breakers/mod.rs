//! Programs that show how other breakers fail, and that ours does not.

mod failsafe;
mod kit;
mod ours;
mod outliers;
mod recloser;
mod resilience;
mod scenes;

use super::Case;

const RESILIENCE: &str = "tower-resilience-circuitbreaker";
const FAILSAFE: &str = "failsafe";
const RECLOSER: &str = "recloser";
const OUTLIER: &str = "tower-resilience-outlier";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "window",
        peer: RESILIENCE,
        did: "window of 100 calls, 50 %: failures until it opens, after 0 / 10000 / 100000 successes",
        theirs: resilience::window,
        ours: ours::window,
    },
    Case {
        name: "minimum",
        peer: RESILIENCE,
        did: "window of 100 calls, 50 %, at least 10: failures until it opens",
        theirs: resilience::minimum,
        ours: ours::minimum,
    },
    Case {
        name: "hang",
        peer: RESILIENCE,
        did: "window of 10 calls; 300 calls that hang, the crate's own time limit outside: how many reach the backend",
        theirs: resilience::hang,
        ours: ours::hang,
    },
    Case {
        name: "hang-slow",
        peer: RESILIENCE,
        did: "the same, but callers give up after 5 ms, and calls are slow from 1 ms",
        theirs: resilience::hang_slow,
        ours: ours::hang_slow,
    },
    Case {
        name: "stale",
        peer: RESILIENCE,
        did: "1 probe, which waits; then a call ends that was let through before it opened",
        theirs: resilience::stale,
        ours: ours::stale,
    },
    Case {
        name: "wedge",
        peer: RESILIENCE,
        did: "window of 200 ms, 3 probes, backend well again, one call each 150 ms for 2.5 s",
        theirs: resilience::wedge,
        ours: ours::wedge,
    },
    Case {
        name: "slow-probes",
        peer: RESILIENCE,
        did: "slow from 5 ms, opened by slow calls; 3 probes that take 20 ms each",
        theirs: resilience::slow_probes,
        ours: ours::slow_probes,
    },
    Case {
        name: "open-time",
        peer: RESILIENCE,
        did: "backend stays down: how long it is open, six times in a row (first 30 ms)",
        theirs: resilience::open_time,
        ours: ours::open_time,
    },
    Case {
        name: "growth",
        peer: RESILIENCE,
        did: "time window that holds 1000 / 10000 / 30000 calls: ns a call",
        theirs: resilience::growth,
        ours: ours::growth,
    },
    Case {
        name: "flood-failsafe",
        peer: FAILSAFE,
        did: "half-open, 1000 calls at once, none has ended: how many reach the backend",
        theirs: failsafe::flood,
        ours: ours::flood,
    },
    Case {
        name: "flood-recloser",
        peer: RECLOSER,
        did: "half-open (length 2), 1000 calls at once, none has ended: how many reach the backend",
        theirs: recloser::flood,
        ours: ours::flood,
    },
    Case {
        name: "hang-failsafe",
        peer: FAILSAFE,
        did: "5 failures in a row open it; 300 calls that hang, a time limit outside (ours: TimeoutLayer): how many reach the backend",
        theirs: failsafe::hang,
        ours: ours::hang,
    },
    Case {
        name: "hang-recloser",
        peer: RECLOSER,
        did: "length 10; 300 calls that hang, a time limit outside (ours: TimeoutLayer): how many reach the backend",
        theirs: recloser::hang,
        ours: ours::hang,
    },
    Case {
        name: "stale-failsafe",
        peer: FAILSAFE,
        did: "half-open, a probe waits; then a call ends that was let through before it opened",
        theirs: failsafe::stale,
        ours: ours::stale,
    },
    Case {
        name: "stale-recloser",
        peer: RECLOSER,
        did: "half-open (length 1), a probe waits; then two calls end that were let through before it opened",
        theirs: recloser::stale,
        ours: ours::stale,
    },
    Case {
        name: "early-failsafe",
        peer: FAILSAFE,
        did: "success rate over 1 s, or 5 failures in a row; 4 of 5 calls fail, one each 1 to 2 ms: when it opens",
        theirs: failsafe::early,
        ours: ours::early,
    },
    Case {
        name: "length-recloser",
        peer: RECLOSER,
        did: "length 100 (half-open 2), all calls fail: calls until it opens, and probes until it opens again",
        theirs: recloser::length,
        ours: ours::length,
    },
    Case {
        name: "spin-circuit",
        peer: RESILIENCE,
        did: "half-open, 1 probe, which takes 200 ms; a caller waits until the circuit is ready: how often that one is polled",
        theirs: resilience::spin,
        ours: ours::spin,
    },
    Case {
        name: "paused-circuit",
        peer: RESILIENCE,
        did: "open for 30 s; on tokio's paused clock, as in a test, 31 s go by: what a call comes to",
        theirs: resilience::paused,
        ours: ours::paused,
    },
    Case {
        name: "listener-outlier",
        peer: OUTLIER,
        did: "who is told that an endpoint is left out (ours: that a circuit opens) asks at once how it is: whether there is an answer within 2 s",
        theirs: outliers::listener,
        ours: outliers::our_listener,
    },
    Case {
        name: "growing-outlier",
        peer: OUTLIER,
        did: "5 failures, left out for 5 ms (ours: a circuit), then good calls for twice as long, eight times over: for how long it is left out the first and the last time",
        theirs: outliers::growing,
        ours: outliers::ours_growing,
    },
    Case {
        name: "old-recloser",
        peer: RECLOSER,
        did: "length 10; 6 of 6 calls fail, nobody calls for 300 ms (ours: a window of 200 ms), then 4 of 5 are good: whether the next is let through",
        theirs: recloser::old,
        ours: ours::old,
    },
];
