//! Every example, as its user runs it: it ends by itself and in time, says last that every claim held, and exits with 0.
//!
//! Which examples there are is asked of cargo and compared with the tree, so that none is forgotten. `cargo test` has built those of this
//! package. Those of packages of their own, which need more, are run where they were built from the source as it is, and named where not.
//! With `STONEWORK_EXAMPLES=1` all are run, slow ones too, and one that was not built is a failure: `.ci/run examples` builds them first.

#[path = "examples/programs.rs"]
mod programs;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use self::programs::{Program, is_current, programs, root, with_a_main};

/// As many as a small machine has cores.
const AT_ONCE: usize = 2;
/// Each takes ten seconds at most where nothing else runs, and those below two minutes: whoever is not done by now hangs.
const LIMIT: Duration = Duration::from_secs(120);
const SLOW_LIMIT: Duration = Duration::from_secs(600);

/// Those that take longer than ten seconds, or all cores, and so are not part of every `cargo test`: name, its words, why.
const SLOW: &[(&str, &[&str], &str)] = &[
    ("balance_lab", &["--seeds", "2", "--only", "D"], "all cores for minutes; `oracles` runs the others"),
    ("cluster", &[], "three times five seconds of traffic"),
    ("grpc_mesh", &[], "twelve seconds, in which servers freeze, are killed and stop"),
    ("identity", &[], "fifteen seconds, in which keys and tokens get old"),
    (
        "oracles",
        &["--seeds", "2", "--only", "C,F,G,H,I,J"],
        "all cores for minutes; `.ci/run full` runs all of them with twenty seeds",
    ),
    ("overload_lab", &["--seeds", "2", "--only", "K"], "all cores for minutes; `oracles` runs the others"),
    ("payments", &[], "ten seconds, in which servers are killed"),
    ("retry_storm_lab", &[], "ten seconds of one core, for most of a million calls"),
    ("storefront", &[], "ten seconds, in which servers are killed"),
];

/// Those that take all cores, and so are run one by one.
const ALONE: [&str; 4] = ["balance_lab", "oracles", "overload_lab", "storefront"];

#[tokio::test]
async fn every_example_ends_in_time_and_every_claim_of_it_holds() {
    let all_of_them = std::env::var("STONEWORK_EXAMPLES").as_deref() == Ok("1");
    let (mut run, mut missing) = (Vec::new(), Vec::new());
    for program in programs() {
        match (program.skipped(), all_of_them) {
            (None, _) => run.push(program),
            (Some(Skipped::Slow(_)), true) => run.push(program),
            (Some(why), true) => missing.push(format!("{}: {}", program.name, why.said())),
            (Some(why), false) => eprintln!("NOTICE: example {} is not run: {}", program.name, why.said()),
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
    assert!(!run.is_empty(), "none was built");

    let (alone, others): (Vec<_>, Vec<_>) =
        run.iter().partition(|program| ALONE.contains(&program.name.as_str()));
    let others = stream::iter(others).map(Program::run).buffer_unordered(AT_ONCE);
    let alone = stream::iter(alone).map(Program::run).buffer_unordered(1);
    let results: Vec<_> = others.chain(alone).collect().await;
    assert_eq!(results.len(), run.len());
    let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
}

#[test]
fn no_example_is_there_that_is_not_run() {
    let programs = programs();
    let known: BTreeSet<_> = programs.iter().map(|program| program.source.clone()).collect();
    let there = with_a_main(&root().join("examples"));
    assert!(!there.is_empty());
    let unknown: Vec<_> = there.difference(&known).collect();
    assert!(unknown.is_empty(), "these have a `main`, and cargo does not know them: {unknown:?}");
    let gone: Vec<_> = known.difference(&there).collect();
    assert!(gone.is_empty(), "cargo knows these, and they have no `main` that begins a line: {gone:?}");

    let names: BTreeSet<_> = programs.iter().map(|program| program.name.as_str()).collect();
    assert_eq!(names.len(), programs.len(), "each has a name of its own: {programs:?}");
    // The published package leaves the other packages out.
    if root().join("benches").is_dir() {
        let named = SLOW.iter().map(|(name, _, _)| name).chain(&ALONE);
        let stale: Vec<_> = named.filter(|name| !names.contains(*name)).collect();
        assert!(stale.is_empty(), "not in the tree: {stale:?}");
    }
}

#[test]
fn an_end_that_is_not_good_is_seen() {
    assert_eq!(wrong("A story\n  held:   it\n\nverdict: every claim held\n", true), None);
    for (said, succeeded) in [
        ("A story\n  held:   it\n\nverdict: every claim held\n", false),
        ("A story\n  held:   it\n  BROKEN: that\n\nverdict: every claim held\n", true),
        ("A story\n\nverdict: every claim held\n", true),
        ("A story\n  BROKEN: it\n\nverdict: 1 claims are BROKEN\n", false),
        ("  held:   it\n\nverdict: every claim held\nand something else\n", true),
        ("  held:   it\n", true),
        ("", true),
    ] {
        assert!(wrong(said, succeeded).is_some(), "{said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn one_that_does_not_end_is_stopped_and_named() {
    let built = PathBuf::from("sleep");
    let program = Program { name: "sleep".to_owned(), source: built.clone(), built, by: String::new() };
    let failure = program.run_with(&["60"], Duration::from_millis(100)).await.unwrap_err();
    assert!(failure.starts_with("sleep: it still runs"), "{failure}");
}

// ─────────────────────────────────────────────────────────────────────────────────────── one example

/// Why one is not run.
enum Skipped<'a> {
    Slow(&'a str),
    NotBuilt(&'a Program),
}

impl Skipped<'_> {
    fn said(&self) -> String {
        match self {
            Self::Slow(why) => format!("it is slow ({why})"),
            Self::NotBuilt(program) => {
                format!("it was not built from the source as it is: cargo build {}", program.by)
            }
        }
    }
}

impl Program {
    fn slow(&self) -> Option<&'static (&'static str, &'static [&'static str], &'static str)> {
        SLOW.iter().find(|(name, _, _)| *name == self.name)
    }

    fn skipped(&self) -> Option<Skipped<'_>> {
        match self.slow() {
            _ if !is_current(&self.built) => Some(Skipped::NotBuilt(self)),
            Some((_, _, why)) => Some(Skipped::Slow(why)),
            None => None,
        }
    }

    async fn run(&self) -> Result<(), String> {
        match self.slow() {
            Some((_, words, _)) => self.run_with(words, SLOW_LIMIT).await,
            None => self.run_with(&[], LIMIT).await,
        }
    }

    async fn run_with(&self, words: &[&str], limit: Duration) -> Result<(), String> {
        let began = Instant::now();
        let ended = Command::new(&self.built)
            .args(words)
            .current_dir(root())
            // Where plots and files of databases go.
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
            // Over SQLite, which is everywhere.
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let name = &self.name;
        match timeout(limit, ended).await {
            Err(_) => Err(format!("{name}: it still runs after {limit:?}")),
            Ok(Err(error)) => Err(format!("{name}: {error}")),
            Ok(Ok(output)) => {
                let [said, complained] =
                    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
                eprintln!("example {name}: {:.1} s", began.elapsed().as_secs_f64());
                match wrong(&said, output.status.success()) {
                    None => Ok(()),
                    Some(what) => Err(format!("{name}: {what}\n\n{said}\n{complained}")),
                }
            }
        }
    }
}

/// What is wrong with what one has said.
fn wrong(said: &str, succeeded: bool) -> Option<String> {
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let claimed =
        |word: &str| said.lines().any(|line| line.starts_with("  ") && line.trim_start().starts_with(word));
    if last != "verdict: every claim held" {
        return Some(format!("its last words are `{last}`"));
    }
    let what = match (succeeded, claimed("held: "), claimed("BROKEN: ")) {
        (false, _, _) => "its exit code says the opposite of its verdict",
        (true, _, true) => "its verdict says the opposite of a claim",
        (true, false, false) => "it claims nothing",
        (true, true, false) => return None,
    };
    Some(what.to_owned())
}
