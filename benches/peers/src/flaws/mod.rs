//! Programs that show how other crates fail, and that ours does not. A flaw that does not show itself is said to be absent, and is an
//! error.

mod breakers;
mod endpoints;
mod errors;
mod health;
mod limits;
mod pools;
mod retries;
mod sharing;
mod times;
mod tokens;
mod wires;

use std::process::ExitCode;

use tokio::time::Instant;

/// What can be asked for by one name.
const GROUPS: &[(&str, &[Case])] = &[
    ("balance", endpoints::CASES),
    ("breaker", breakers::CASES),
    ("error", errors::CASES),
    ("health", health::CASES),
    ("limit", limits::CASES),
    ("pool", pools::CASES),
    ("retry", retries::CASES),
    ("share", sharing::CASES),
    ("time", times::CASES),
    ("token", tokens::CASES),
    ("wire", wires::CASES),
];

/// What a run came to.
pub(crate) struct Found {
    pub(crate) figures: String,
    /// Theirs: it fails as was said. Ours: it does not.
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
    /// What is done to it.
    did: &'static str,
    theirs: fn() -> Found,
    ours: fn() -> Found,
}

/// Runs all cases, or those that are named, alone or by their group.
pub(crate) fn run(names: &[&str]) -> ExitCode {
    let cases = || GROUPS.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (*group, case)));
    let is_known = |name: &str| cases().any(|(group, case)| name == group || name == case.name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let groups: Vec<_> = GROUPS.iter().map(|(group, _)| *group).collect();
        let known: Vec<_> = cases().map(|(_, case)| case.name).collect();
        eprintln!(
            "no flaw is called {name}; there are {}, and all of {}",
            known.join(", "),
            groups.join(", ")
        );
        return ExitCode::FAILURE;
    }
    let is_wanted =
        |group: &str, case: &Case| names.is_empty() || names.contains(&group) || names.contains(&case.name);
    let (start, mut ran, mut all_so) = (Instant::now(), 0, true);
    for (_, case) in cases().filter(|(group, case)| is_wanted(group, case)) {
        let began = Instant::now();
        let (theirs, ours) = ((case.theirs)(), (case.ours)());
        let verdict = match (theirs.so, ours.so) {
            (true, true) => "shown, and not ours",
            (true, false) => "OURS FAILS TOO",
            (false, true) => "NOT SHOWN: the peer did not fail so",
            (false, false) => "NOT SHOWN: the peer did not fail so, AND OURS FAILS",
        };
        let (name, peer, did, took) = (case.name, case.peer, case.did, began.elapsed().as_secs_f32());
        let (theirs, ours) = (theirs.figures, ours.figures);
        println!(
            "{name} | {did} | {peer} {}: {theirs} | stonework: {ours} | {took:.1} s | {verdict}",
            version(peer)
        );
        all_so &= verdict == "shown, and not ours";
        ran += 1;
    }
    println!("{ran} cases in {:.0} s", start.elapsed().as_secs_f32());
    if all_so { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The version that this program was built with, as the lock file has it.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let entry = |name: &str| {
        let line = format!("name = \"{name}\"\n");
        lock.split("\n\n").find(|entry| entry.contains(&line)).expect("it is in the lock file")
    };
    let needs = entry(env!("CARGO_PKG_NAME")).lines().filter_map(|line| line.split('"').nth(1));
    let mut needs = needs.filter(|need| need.split(' ').next() == Some(package));
    // Where there are several, it is said which one is meant; if this package needs two, the later one is.
    match needs.next_back().and_then(|need| need.split_once(' ')) {
        Some((_, version)) => version,
        None => entry(package).split('"').nth(3).expect("a version stands below the name"),
    }
}

/// Runs a case on a runtime of its own, with the real clock: peers read the system's.
fn block_on<T>(case: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(case)
}

/// The same on a clock that goes on only when everybody waits, for who reads no other one: hours cost nothing.
fn block_on_paused<T>(case: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(case)
}
