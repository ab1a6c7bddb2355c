//! Programs that show how other breakers fail. A flaw that does not show itself is said to be absent, and is an error.

mod failsafe;
mod kit;
mod recloser;
mod resilience;
mod scenes;

use std::process::ExitCode;

const RESILIENCE: &str = "tower-resilience-circuitbreaker";
const FAILSAFE: &str = "failsafe";
const RECLOSER: &str = "recloser";

/// What a run came to.
pub(crate) struct Found {
    pub(crate) figures: String,
    /// Theirs: it fails as was said.
    pub(crate) so: bool,
}

impl Found {
    fn new(so: bool, figures: impl Into<String>) -> Self {
        Self { figures: figures.into(), so }
    }
}

struct Case {
    name: &'static str,
    peer: &'static str,
    /// What is done to the breaker.
    did: &'static str,
    theirs: fn() -> Found,
}

const CASES: &[Case] = &[
    Case {
        name: "window",
        peer: RESILIENCE,
        did: "window of 100 calls, 50 %: failures until it opens, after 0 / 10000 / 100000 successes",
        theirs: resilience::window,
    },
    Case {
        name: "minimum",
        peer: RESILIENCE,
        did: "window of 100 calls, 50 %, at least 10: failures until it opens",
        theirs: resilience::minimum,
    },
    Case {
        name: "hang",
        peer: RESILIENCE,
        did: "window of 10 calls; 300 calls that hang, callers give up after 5 ms: how many reach the backend",
        theirs: resilience::hang,
    },
    Case {
        name: "stale",
        peer: RESILIENCE,
        did: "1 probe, which waits; then a call ends that was let through before it opened",
        theirs: resilience::stale,
    },
    Case {
        name: "wedge",
        peer: RESILIENCE,
        did: "window of 200 ms, 3 probes, backend well again, one call each 150 ms for 2.5 s",
        theirs: resilience::wedge,
    },
    Case {
        name: "slow-probes",
        peer: RESILIENCE,
        did: "slow from 5 ms, opened by slow calls; 3 probes that take 20 ms each",
        theirs: resilience::slow_probes,
    },
    Case {
        name: "open-time",
        peer: RESILIENCE,
        did: "backend stays down: how long it is open, six times in a row (first 30 ms)",
        theirs: resilience::open_time,
    },
    Case {
        name: "growth",
        peer: RESILIENCE,
        did: "time window that holds 1000 / 10000 / 30000 calls: ns a call",
        theirs: resilience::growth,
    },
    Case {
        name: "flood-failsafe",
        peer: FAILSAFE,
        did: "half-open, 1000 calls at once, none has ended: how many reach the backend",
        theirs: failsafe::flood,
    },
    Case {
        name: "flood-recloser",
        peer: RECLOSER,
        did: "half-open (length 2), 1000 calls at once, none has ended: how many reach the backend",
        theirs: recloser::flood,
    },
    Case {
        name: "hang-failsafe",
        peer: FAILSAFE,
        did: "5 failures in a row open it; 300 calls that hang, callers give up after 5 ms: how many reach the backend",
        theirs: failsafe::hang,
    },
    Case {
        name: "hang-recloser",
        peer: RECLOSER,
        did: "length 10; 300 calls that hang, callers give up after 5 ms: how many reach the backend",
        theirs: recloser::hang,
    },
    Case {
        name: "stale-failsafe",
        peer: FAILSAFE,
        did: "half-open, a probe waits; then a call ends that was let through before it opened",
        theirs: failsafe::stale,
    },
    Case {
        name: "stale-recloser",
        peer: RECLOSER,
        did: "half-open (length 1), a probe waits; then two calls end that were let through before it opened",
        theirs: recloser::stale,
    },
    Case {
        name: "early-failsafe",
        peer: FAILSAFE,
        did: "success rate over 1 s, or 5 failures in a row; 4 of 5 calls fail, one each 1 to 2 ms: when it opens",
        theirs: failsafe::early,
    },
    Case {
        name: "length-recloser",
        peer: RECLOSER,
        did: "length 100 (half-open 2), all calls fail: calls until it opens, and probes until it opens again",
        theirs: recloser::length,
    },
];

/// Runs all cases, or those that are named.
pub(crate) fn run(names: &[&str]) -> ExitCode {
    if let Some(name) = names.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
        eprintln!("no flaw is called {name}; there are: {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let mut all_so = true;
    for case in CASES.iter().filter(|case| names.is_empty() || names.contains(&case.name)) {
        let theirs = (case.theirs)();
        let verdict = if theirs.so { "shown" } else { "NOT SHOWN: the peer did not fail so" };
        let (name, peer, did) = (case.name, case.peer, case.did);
        println!("{name} | {did} | {peer} {}: {} | {verdict}", version(peer), theirs.figures);
        all_so &= theirs.so;
    }
    if all_so { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The version that this program was built with.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines.next().and_then(|line| line.split('"').nth(1)).expect("a package of the lock file")
}
