//! What came of it, module by module, and each mutant that nothing noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::known::known;
use crate::mutant::Mutant;
use crate::trial::Verdict;

pub(crate) struct Report {
    pub(crate) text: String,
    /// Nothing noticed them, and nobody has said why that is no harm.
    pub(crate) unexplained: usize,
}

#[derive(Default)]
struct Row {
    all: usize,
    killed: usize,
    endless: usize,
    explained: usize,
    survived: usize,
    unreached: usize,
}

pub(crate) fn report(mutants: &[Mutant], chosen: &[usize], verdicts: &[(usize, Verdict)]) -> Report {
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for number in chosen {
        rows.entry(mutants[*number].module()).or_default().all += 1;
    }
    let known = known();
    let mut left: BTreeSet<String> = BTreeSet::new();
    for (number, verdict) in verdicts {
        let mutant = &mutants[*number];
        let row = rows.entry(mutant.module()).or_default();
        let is_known = mutant.is_harmless().is_some() || known.contains_key(mutant.lasting_name().as_str());
        match verdict {
            Verdict::Killed(_) => row.killed += 1,
            Verdict::Endless(_) => row.endless += 1,
            Verdict::Survived { .. } | Verdict::Unreached if is_known => row.explained += 1,
            Verdict::Survived { asked, of } => {
                row.survived += 1;
                left.insert(format!("survived {asked} of {of} tests: {}", mutant.name));
            }
            Verdict::Unreached => {
                row.unreached += 1;
                left.insert(format!("no test comes by: {}", mutant.name));
            }
        }
    }
    let mut text = String::from(
        "| module | mutants | do not compile | killed | endless | survived, explained | survived | no test comes by |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (module, Row { all, killed, endless, explained, survived, unreached }) in rows {
        let refused = all - killed - endless - explained - survived - unreached;
        let _ = writeln!(
            text,
            "| `{module}` | {all} | {refused} | {killed} | {endless} | {explained} | {survived} | {unreached} |"
        );
    }
    text.push('\n');
    for line in &left {
        let _ = writeln!(text, "* {line}");
    }
    Report { text, unexplained: left.len() }
}
