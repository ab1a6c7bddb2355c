//! Programs that show how checks of others fail, and that ours do not.

mod kit;
mod ours;
mod resilience;

use super::Case;

const HEALTH: &str = "tower-resilience-healthcheck";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "together-health",
        peer: HEALTH,
        did: "100 endpoints, each checked each 5 s, for a minute: how many checks begin within the busiest 40 ms",
        theirs: resilience::together,
        ours: ours::together,
    },
    Case {
        name: "panic-health",
        peer: HEALTH,
        did: "a check that was well and panics from then on: what is known of its endpoint a minute later",
        theirs: resilience::panics,
        ours: ours::panics,
    },
    Case {
        name: "held-up-health",
        peer: HEALTH,
        did: "10 endpoints, each checked each 500 ms for 20 s, a limit of 2 s (ours: 400 ms, since it takes none that is as long as the pause), and one of the checks hangs: how often another is checked",
        theirs: resilience::held_up,
        ours: ours::held_up,
    },
];
