//! Programs that show how others send again, and that ours does not so.

mod backon;
mod hedged;
mod kit;
mod ours;
mod race;
mod reqwest;
mod resilience;
mod tower;
mod unready;

use super::Case;

const BACKON: &str = "backon";
const TOWER: &str = "tower";
const REQWEST_RETRY: &str = "reqwest-retry";
const RETRY: &str = "tower-resilience-retry";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "together-tower",
        peer: TOWER,
        did: "200 calls fail at once, pauses that begin at 500 ms, with jitter: how many come back within the busiest 50 ms",
        theirs: tower::together,
        ours: ours::together,
    },
    Case {
        name: "together-resilience",
        peer: RETRY,
        did: "200 calls fail at once, exponential pauses that begin at 500 ms: how many come back within the busiest 50 ms",
        theirs: resilience::together,
        ours: ours::together,
    },
    Case {
        name: "unlimited-resilience",
        peer: RETRY,
        did: "1000 calls to a service that is down, the defaults but for pauses of 1 ms: how many requests it gets",
        theirs: resilience::unlimited,
        ours: ours::unlimited,
    },
    Case {
        name: "ratio-resilience",
        peer: RETRY,
        did: "1000 calls to a service that fails each at first and not again, a budget as it comes: how many requests it gets",
        theirs: resilience::ratio,
        ours: ours::ratio,
    },
    Case {
        name: "percent-tower",
        peer: TOWER,
        did: "a budget of 40 / 60 / 75 % and 1000 calls, each of which wants one retry: how many get it",
        theirs: tower::percent,
        ours: ours::percent,
    },
    Case {
        name: "overdrawn-tower",
        peer: TOWER,
        did: "a budget with one retry left, which two threads want at once: how often both get it",
        theirs: tower::overdrawn,
        ours: ours::overdrawn,
    },
    Case {
        name: "hedge-tower",
        peer: TOWER,
        did: "the first attempt is answered after 100 ms, the second one, after 10 ms, fails at once: what the caller gets",
        theirs: tower::hedge,
        ours: ours::hedge,
    },
    Case {
        name: "unlimited-hedge-tower",
        peer: TOWER,
        did: "a hedge that has learnt that calls take 10 ms; then each takes 100 ms, and 500 come within 5 s: how many requests the service gets",
        theirs: tower::slower,
        ours: ours::slower,
    },
    Case {
        name: "forgotten-hedge-tower",
        peer: TOWER,
        did: "a hedge that has learnt that calls take 10 ms; nobody calls for an hour, and the next call takes 100 ms: how many requests it is",
        theirs: tower::forgotten,
        ours: ours::forgotten,
    },
    Case {
        name: "uncapped-tower",
        peer: TOWER,
        did: "20 attempts, the pauses as they come: the longest of them",
        theirs: tower::uncapped,
        ours: ours::uncapped,
    },
    Case {
        name: "uncapped-resilience",
        peer: RETRY,
        did: "20 attempts, the pauses as they come: the longest of them",
        theirs: resilience::uncapped,
        ours: ours::uncapped,
    },
    Case {
        name: "above-cap-resilience",
        peer: RETRY,
        did: "pauses with jitter that are to be 100 ms at most: how many of 1000 are longer",
        theirs: resilience::above_cap,
        ours: ours::above_cap,
    },
    Case {
        name: "above-cap-backon",
        peer: BACKON,
        did: "pauses with jitter that are to be 100 ms at most: how many of 1000 are longer",
        theirs: backon::above_cap,
        ours: ours::above_cap,
    },
    Case {
        name: "together-backon",
        peer: BACKON,
        did: "200 calls fail at once, exponential pauses that begin at 500 ms: how many come back within the busiest 50 ms",
        theirs: backon::together,
        ours: ours::together,
    },
    Case {
        name: "unready-tower",
        peer: TOWER,
        did: "three attempts: the first is answered 503, before the second the service fails to become ready, and is well then: what the caller gets",
        theirs: tower::unready,
        ours: ours::unready,
    },
    Case {
        name: "idle-budget-tower",
        peer: TOWER,
        did: "a budget that nobody has used for ten days: how long the next one who uses it holds its lock",
        theirs: tower::idle_budget,
        ours: ours::idle_budget,
    },
    Case {
        name: "unlimited-reqwest-retry",
        peer: REQWEST_RETRY,
        did: "1000 calls to a service that is down, two retries, pauses of 1 ms: how many requests it gets",
        theirs: reqwest::unlimited,
        ours: ours::unlimited,
    },
];
