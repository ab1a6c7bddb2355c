//! Programs that show how clients and servers of others fail with their connections, and that ours do not. They use real sockets.

mod kit;
mod ours;
mod theirs;

use super::Case;

const HYPER_UTIL: &str = "hyper-util";
const REQWEST: &str = "reqwest";
const AXUM: &str = "axum";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "dial-hyper-util",
        peer: HYPER_UTIL,
        did: "HTTP/2, connecting takes 300 ms; 5 calls at once, the first of which is given up after 100 ms: how many of the others are answered",
        theirs: theirs::dial,
        ours: ours::dial,
    },
    Case {
        name: "why-hyper-util",
        peer: HYPER_UTIL,
        did: "HTTP/2, connecting fails after 300 ms; 5 calls at once: how many of them are told why",
        theirs: theirs::why,
        ours: ours::why,
    },
    Case {
        name: "dials-hyper-util",
        peer: HYPER_UTIL,
        did: "HTTP/1.1, 8 connections to the host wanted, 50 calls at once that take 50 ms: how many connections the host sees",
        theirs: theirs::dials,
        ours: ours::dials,
    },
    Case {
        name: "streams-hyper-util",
        peer: HYPER_UTIL,
        did: "HTTP/2, a host that takes 5 requests on a connection; 20 at once that take 100 ms: how many connections, and when all are answered",
        theirs: theirs::streams,
        ours: ours::streams,
    },
    Case {
        name: "at-once-reqwest",
        peer: REQWEST,
        did: "its own retries; 503 that asks to come back in a second, twice, then 200: how long it is from one request to the next",
        theirs: theirs::at_once,
        ours: ours::at_once,
    },
    Case {
        name: "half-head-axum",
        peer: AXUM,
        did: "a client sends half a line and then nothing; a limit of 300 ms, where there is one: when its connection is closed",
        theirs: theirs::half_head,
        ours: ours::half_head,
    },
];
