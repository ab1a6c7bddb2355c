//! Programs that show how clients and servers of others fail with their connections, and that ours do not. They use real sockets.

mod again;
mod cached;
mod kit;
mod ours;
mod served;
mod theirs;
mod waits;

use super::Case;

const HYPER_UTIL: &str = "hyper-util";
const REQWEST: &str = "reqwest";
const AXUM: &str = "axum";
const REQWEST_RETRY: &str = "reqwest-retry";

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
    Case {
        name: "scope-reqwest",
        peer: REQWEST,
        did: "retries that are to be for another host (ours: its defaults); a POST is answered 503: how often the server gets it",
        theirs: again::scope,
        ours: again::our_scope,
    },
    Case {
        name: "refused-reqwest",
        peer: REQWEST,
        did: "a rule of one's own for retries, of 503; over HTTP/2 a server resets a POST that it has not processed (REFUSED_STREAM), and takes the next: what the caller gets",
        theirs: again::refused,
        ours: again::our_refused,
    },
    Case {
        name: "undrained-reqwest-retry",
        peer: REQWEST_RETRY,
        did: "HTTP/1.1; 503 with 48 KiB that say why, twice, and then 200: how many connections the server sees",
        theirs: again::undrained,
        ours: again::our_undrained,
    },
    Case {
        name: "for-ever-reqwest",
        peer: REQWEST,
        did: "the defaults; a server that has answered once falls silent: when the caller is told",
        theirs: waits::silent,
        ours: waits::our_silent,
    },
    Case {
        name: "lookup-hyper-util",
        peer: HYPER_UTIL,
        did: "a limit of 100 ms on connecting, and a resolver that does not answer: when the caller is told",
        theirs: waits::lookup,
        ours: waits::our_lookup,
    },
    Case {
        name: "cached-hyper-util",
        peer: HYPER_UTIL,
        did: "its pool::cache, over connections that are ready always, and break at the third call; 20 calls, one after the other: how many are answered",
        theirs: cached::theirs,
        ours: cached::ours,
    },
    Case {
        name: "drain-axum",
        peer: AXUM,
        did: "a server is to stop while a handler hangs; a limit of 300 ms, where there is one: when it has stopped",
        theirs: served::drain,
        ours: served::our_drain,
    },
    Case {
        name: "crowd-axum",
        peer: AXUM,
        did: "100 clients that stay; a limit of 50 connections, where there is one: how many are answered at once",
        theirs: served::crowd,
        ours: served::our_crowd,
    },
];
