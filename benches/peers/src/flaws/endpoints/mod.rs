//! Programs that show how balancers of others fail, and that ours does not.

mod announced;
mod hosts;
mod kit;
mod ours;
mod resilience;
mod streams;
mod tonic;
mod tower;

use super::Case;

const TOWER: &str = "tower";
const TONIC: &str = "tonic";
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
    Case {
        name: "streams-tower-balance",
        peer: TOWER,
        did: "picked by load (PendingRequests with CompleteOnResponse); the answers of one of 2 endpoints are still being streamed: how many of 200 calls it gets",
        theirs: streams::theirs,
        ours: streams::ours,
    },
    Case {
        name: "announced-tower-balance",
        peer: TOWER,
        did: "100 endpoints are announced (to tower's over a channel that holds 8) while nobody calls: how many are known a minute later",
        theirs: announced::theirs,
        ours: announced::ours,
    },
    Case {
        name: "dead-tonic",
        peer: TONIC,
        did: "2 endpoints, to one of which nobody can connect; 100 calls, one after the other, none of which is sent again: how many fail",
        theirs: tonic::dead,
        ours: hosts::dead,
    },
    Case {
        name: "load-tonic",
        peer: TONIC,
        did: "2 endpoints, of which one takes 100 ms and the other 1 ms; 8 callers, 400 calls: how many the slow one gets",
        theirs: tonic::load,
        ours: hosts::load,
    },
    Case {
        name: "many-tonic",
        peer: TONIC,
        did: "a list of 1100 endpoints: whether it can be made",
        theirs: tonic::many,
        ours: hosts::many,
    },
    Case {
        name: "dials-tonic",
        peer: TONIC,
        did: "a host that cannot be connected to; 100 calls with pauses of 10 ms, none of which is sent again: how often it is tried",
        theirs: tonic::dials,
        ours: hosts::dials,
    },
];
