//! Programs that show how callers of others wait for what they share, and how ours do.

mod dials;
mod kit;
mod ours;
mod resilience;
mod slots;
mod tower;

use super::Case;

const TOWER: &str = "tower";
const COALESCE: &str = "tower-resilience-coalesce";
const OUTLIER: &str = "tower-resilience-outlier";
const RECONNECT: &str = "tower-resilience-reconnect";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "dead-buffer",
        peer: TOWER,
        did: "tasks share a rate limit (tower's has no clone, so it stands in a Buffer), and below it something fails to become ready once: how many of 20 calls are answered",
        theirs: tower::buffer,
        ours: ours::buffer,
    },
    Case {
        name: "spin-coalesce",
        peer: COALESCE,
        did: "one call takes 200 ms, and another caller waits for it: how often that one is polled",
        theirs: resilience::spin_coalesce,
        ours: ours::spin_coalesce,
    },
    Case {
        name: "leader-coalesce",
        peer: COALESCE,
        did: "5 callers share a call, and the one who began it goes: how many of the others are answered",
        theirs: resilience::leader,
        ours: ours::leader,
    },
    Case {
        name: "spin-outlier",
        peer: OUTLIER,
        did: "an endpoint is left alone for 200 ms, and a caller waits until it is ready (ours: a circuit): how often that one is polled",
        theirs: resilience::spin_outlier,
        ours: ours::spin_outlier,
    },
    Case {
        name: "forgotten-reconnect",
        peer: RECONNECT,
        did: "two callers wait for a connection that takes 100 ms (ours: a pool of two): how many of them are served within a second",
        theirs: resilience::forgotten,
        ours: ours::forgotten,
    },
    Case {
        name: "again-reconnect",
        peer: RECONNECT,
        did: "a POST that fails after it was done, the defaults but for pauses of 1 ms (ours: a retry): how often it is done in 300 ms",
        theirs: resilience::again,
        ours: ours::again,
    },
    Case {
        name: "slots-coalesce",
        peer: COALESCE,
        did: "over a limit of 2 at once (tower's) two callers ask for the same, and keep their services; then two others ask for two things: how many of these calls begin",
        theirs: slots::theirs,
        ours: slots::ours,
    },
    Case {
        name: "dials-tower",
        peer: TOWER,
        did: "a host that cannot be connected to (tower's Reconnect; ours: a pool); 100 calls with pauses of 10 ms: how often it is tried",
        theirs: dials::theirs,
        ours: dials::ours,
    },
    Case {
        name: "idle-buffer-tower",
        peer: TOWER,
        did: "a Buffer of 2 (ours: a limit of 2 at once); two clones have become ready and lie idle, and a third one calls: whether it is answered within a minute",
        theirs: tower::idle_buffer,
        ours: ours::idle_buffer,
    },
];
