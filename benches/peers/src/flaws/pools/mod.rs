//! Programs that show how other pools fail, and that ours does not.

mod kit;
mod ours;
mod theirs;

use super::Case;

const BB8: &str = "bb8";
const DEADPOOL: &str = "deadpool";
const MOBC: &str = "mobc";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "panic-bb8",
        peer: BB8,
        did: "2 objects at most; the first connect panics, and all others succeed: how many can be had afterwards",
        theirs: theirs::panic_bb8,
        ours: ours::panic,
    },
    Case {
        name: "overtaken-bb8",
        peer: BB8,
        did: "1 object; one waits, it is given back, and a newcomer asks before the waiter runs; 100 times: how often the newcomer is served first",
        theirs: theirs::overtaken_bb8,
        ours: ours::overtaken,
    },
    Case {
        name: "lifetime-bb8",
        peer: BB8,
        did: "30 objects that were made together and may be 3 s old, 30 to lie ready: how many are made anew within the busiest 30 ms",
        theirs: theirs::lifetime_bb8,
        ours: ours::lifetime,
    },
    Case {
        name: "for-ever-deadpool",
        peer: DEADPOOL,
        did: "1 object, which is kept, the defaults: when a caller is told so",
        theirs: theirs::for_ever_deadpool,
        ours: ours::for_ever,
    },
    Case {
        name: "dead-deadpool",
        peer: DEADPOOL,
        did: "62 objects lie idle and are dead, which takes each 10 ms to find out: how many of them are asked until a caller has one",
        theirs: theirs::dead_deadpool,
        ours: ours::dead,
    },
    Case {
        name: "dead-bb8",
        peer: BB8,
        did: "62 objects lie idle and are dead, which takes each 10 ms to find out: how many of them are asked until a caller has one",
        theirs: theirs::dead_bb8,
        ours: ours::dead,
    },
    Case {
        name: "dial-deadpool",
        peer: DEADPOOL,
        did: "connecting takes 50 ms; 20 callers, one after the other, wait for 20 ms each: how many get one, and how many were begun",
        theirs: theirs::dial_deadpool,
        ours: ours::dial,
    },
    Case {
        name: "dial-mobc",
        peer: MOBC,
        did: "connecting takes 50 ms; 20 callers, one after the other, wait for 20 ms each: how many get one, and how many were begun",
        theirs: theirs::dial_mobc,
        ours: ours::dial,
    },
    Case {
        name: "limit-deadpool",
        peer: DEADPOOL,
        did: "a pool as it comes; one object lies idle, and is asked for with a limit of a second on the wait: whether it is had",
        theirs: theirs::limit_deadpool,
        ours: ours::limit,
    },
    Case {
        name: "kept-deadpool",
        peer: DEADPOOL,
        did: "62 objects that were in use at once, and an hour in which nobody came: how many are kept",
        theirs: theirs::kept_deadpool,
        ours: ours::kept,
    },
];
