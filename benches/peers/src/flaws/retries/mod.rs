//! Programs that show how others send again, and that ours does not so.

mod kit;
mod ours;
mod race;
mod resilience;
mod tower;

use super::Case;

const TOWER: &str = "tower";
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
];
