//! Programs that show what limits of time of others miss, or end too early, and that ours do not.

mod kit;
mod ours;
mod theirs;

use super::Case;

const TOWER: &str = "tower";
const TOWER_HTTP: &str = "tower-http";
const LIMITER: &str = "tower-resilience-timelimiter";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ready-tower",
        peer: TOWER,
        did: "a limit of 100 ms on a service that does not become ready: when a caller is told",
        theirs: theirs::ready_tower,
        ours: ours::ready,
    },
    Case {
        name: "ready-tower-http",
        peer: TOWER_HTTP,
        did: "a limit of 100 ms on a service that does not become ready: when a caller is told",
        theirs: theirs::ready_tower_http,
        ours: ours::ready,
    },
    Case {
        name: "ready-resilience",
        peer: LIMITER,
        did: "a limit of 100 ms on a service that does not become ready: when a caller is told",
        theirs: theirs::ready_resilience,
        ours: ours::ready,
    },
    Case {
        name: "done-tower-http",
        peer: TOWER_HTTP,
        did: "a limit of 50 ms; the answer is there at once, and its caller looks after 100 ms: which status it sees",
        theirs: theirs::done,
        ours: ours::done,
    },
    Case {
        name: "away-tower-http",
        peer: TOWER_HTTP,
        did: "a body may be silent for 50 ms; a frame is there at once, and its reader is away for 100 ms: what it reads",
        theirs: theirs::away,
        ours: ours::away,
    },
];
