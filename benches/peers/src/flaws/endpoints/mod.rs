//! Programs that show how balancers of others fail, and that ours does not.

mod kit;
mod ours;
mod resilience;
mod tower;

use super::Case;

const TOWER: &str = "tower";
const ROUTER: &str = "tower-resilience-router";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "empty-tower",
        peer: TOWER,
        did: "3 endpoints, each of which fails to become ready once and is well from then on; a call each 100 ms: how many of 20 are answered",
        theirs: tower::empty,
        ours: ours::empty,
    },
    Case {
        name: "black-hole-tower",
        peer: TOWER,
        did: "picked by cost; 10 endpoints that take 60 ms, one of which fails at once: how many of 1000 calls fail (100 by turns)",
        theirs: tower::black_hole,
        ours: ours::black_hole,
    },
    Case {
        name: "stalled-router",
        peer: ROUTER,
        did: "3 endpoints of the same weight, one of which does not become ready; a call each 100 ms: how many of 20 are answered",
        theirs: resilience::stalled,
        ours: ours::stalled,
    },
];
