//! All mutants of the crate in one build, each behind a switch, and for each only the tests that come by its place.
//!
//! A mutant is a small change that should turn a test red: `<` for `<=`, nothing for something. `cargo mutants` says which
//! there are, and would build the crate anew for each. Here it is built once.
//!
//! ```sh
//! cargo run -p stonework-mutants                       # what decides (deciders.txt)
//! cargo run -p stonework-mutants all                   # everything: a matter of hours
//! cargo run -p stonework-mutants src/retry test:retry  # files with this in their path, and tests with that in their name
//! ```
//!
//! `report.md` and `verdicts.tsv` are written to `mutants` in cargo's target folder. It fails where a mutant survives of which
//! `known.txt` does not say why.

#![allow(clippy::disallowed_methods, reason = "it times programs, by the clock of the machine")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;
use std::{env, fs, io};

mod deciders;
mod known;
mod message;
mod mutant;
mod parallel;
mod paste;
mod reach;
mod refused;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod tree;
mod trial;
mod wraps;

use mutant::Mutant;
use trial::{Round, Trial, Verdict};

fn main() -> io::Result<()> {
    let (tests, wanted): (Vec<String>, Vec<String>) =
        env::args().skip(1).partition(|word| word.starts_with("test:"));
    let tests: Vec<&str> = tests.iter().filter_map(|word| word.strip_prefix("test:")).collect();
    let original = env::current_dir()?;
    let work = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| original.join("target"), PathBuf::from)
        .join("mutants");
    fs::create_dir_all(&work)?;
    let begin = Instant::now();
    let mutants = mutant::list(&original)?;
    let names: BTreeSet<String> = mutants.iter().map(Mutant::lasting_name).collect();
    if let Some(name) = known::known().keys().find(|name| !names.contains(**name)) {
        return Err(io::Error::other(format!("known.txt explains what is no mutant: {name}")));
    }
    let tree = tree::Tree::copy(&original, &work, &mutants)?;
    let built = tree.build(&mutants)?;
    println!(
        "{} of {} mutants compile, after {} s",
        built.inside.len(),
        mutants.len(),
        begin.elapsed().as_secs()
    );
    let reach = reach::reach(&tree.root, &built.programs, &tests, &work)?;
    println!(
        "{} tests, after {} s; red without a change: {:?}",
        reach.tests.len(),
        begin.elapsed().as_secs(),
        reach.red
    );

    let chosen = choose(&mutants, wanted);
    let inside: Vec<usize> = chosen.iter().copied().filter(|number| built.inside.contains(number)).collect();
    let trial = Trial { root: &tree.root, programs: &built.programs, tests: &reach.tests };
    // A run that was cut off goes on where it was.
    let (log, killed) = Log::open(&work, reach.is_old)?;
    let known =
        |number: &usize| Some((*number, Verdict::Killed(killed.get(&mutants[*number].name)?.clone())));
    let mut verdicts: BTreeMap<usize, Verdict> = inside.iter().filter_map(known).collect();
    let mut left: Vec<usize> = inside.into_iter().filter(|number| !verdicts.contains_key(number)).collect();
    for round in [Round::Quick, Round::All] {
        println!("{round:?}: {} mutants, after {} s", left.len(), begin.elapsed().as_secs());
        let answers = parallel::map(&left, |done, number| {
            let reach = reach.by_mutant.get(number).map_or(&[][..], Vec::as_slice);
            let verdict = trial.of(*number, &mutants[*number], reach, round)?;
            if done % 200 == 0 {
                println!("{done} of {} mutants, after {} s", left.len(), begin.elapsed().as_secs());
            }
            log.add(&mutants[*number], &verdict)?;
            io::Result::Ok((*number, verdict))
        });
        verdicts.extend(answers.into_iter().collect::<io::Result<Vec<_>>>()?);
        left.retain(|number| matches!(verdicts[number], Verdict::Survived { .. }));
    }
    let verdicts: Vec<(usize, Verdict)> = verdicts.into_iter().collect();
    let report = report::report(&mutants, &chosen, &verdicts);
    fs::write(work.join("report.md"), &report.text)?;
    println!("{}\nafter {} s", report.text, begin.elapsed().as_secs());
    if report.unexplained > 0 {
        return Err(io::Error::other(format!("{} mutants are not noticed", report.unexplained)));
    }
    Ok(())
}

/// Their numbers, what matters most first.
fn choose(mutants: &[Mutant], wanted: Vec<String>) -> Vec<usize> {
    let all = wanted == ["all"];
    let wanted = if wanted.is_empty() || all { deciders::deciders() } else { wanted };
    let rank = |number: &usize| {
        wanted.iter().position(|part| mutants[*number].file.contains(part)).unwrap_or(usize::MAX)
    };
    let mut chosen: Vec<usize> =
        (0..mutants.len()).filter(|number| all || rank(number) < usize::MAX).collect();
    chosen.sort_by_key(rank);
    chosen
}

/// As it goes: whoever ends it has what it found.
struct Log(Mutex<fs::File>);

impl Log {
    /// Empty, or with those that it knows to be killed, by whom.
    fn open(work: &Path, goes_on: bool) -> io::Result<(Self, BTreeMap<String, String>)> {
        let path = work.join("verdicts.tsv");
        let old = if goes_on { fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        let line = |line: &str| {
            let (verdict, name) = line.split_once('\t')?;
            let test = verdict.strip_prefix("Killed(\"")?.strip_suffix("\")")?;
            Some((name.to_owned(), test.to_owned()))
        };
        let killed = old.lines().filter_map(line).collect();
        let mut file = fs::File::create(path)?;
        io::Write::write_all(&mut file, old.as_bytes())?;
        Ok((Self(Mutex::new(file)), killed))
    }

    fn add(&self, mutant: &Mutant, verdict: &Verdict) -> io::Result<()> {
        let mut file = self.0.lock().map_err(|_| io::Error::other("a worker panicked"))?;
        io::Write::write_all(&mut *file, format!("{verdict:?}\t{}\n", mutant.name).as_bytes())
    }
}
