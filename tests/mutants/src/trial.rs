//! Is a mutant noticed? The tests that come by its place are asked, the likeliest and quickest first, until one is red.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::mutant::Mutant;
use crate::reach::Test;
use crate::run::{Ended, run};

/// Of those that take long, as many are asked as fit: more would rather be a matter of hours.
const PATIENCE: Duration = Duration::from_secs(20);
/// What takes longer waits for the second round.
const QUICK: Duration = Duration::from_secs(1);
/// What one process is given to do, at first and at most. It grows, so that most mutants end soon.
const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By this test.
    Killed(String),
    /// The tests do not end with it.
    Endless(String),
    /// Of the tests that come by, so many were asked.
    Survived { asked: usize, of: usize },
    /// No test comes by.
    Unreached,
}

pub(crate) struct Trial<'a> {
    pub(crate) root: &'a Path,
    pub(crate) programs: &'a [PathBuf],
    pub(crate) tests: &'a [Test],
}

/// First all by the tests that take no time, then what is left by the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Quick,
    All,
}

impl Trial<'_> {
    pub(crate) fn of(
        &self,
        number: usize,
        mutant: &Mutant,
        reach: &[usize],
        round: Round,
    ) -> io::Result<Verdict> {
        if reach.is_empty() {
            return Ok(Verdict::Unreached);
        }
        let tests = reach.iter().map(|test| &self.tests[*test]);
        let quick = |test: &&Test| self.is_certain(test) && test.took < QUICK;
        let mut order: Vec<&Test> = tests.filter(|test| quick(test) == (round == Round::Quick)).collect();
        order.sort_by_key(|test| if test.name.contains(mutant.module()) { test.took / 4 } else { test.took });
        let mut asked = 0;
        let mut spent = Duration::ZERO;
        let mut portion = FIRST;
        while asked < order.len() && spent + order[asked].took < PATIENCE {
            let batch = batch(&order[asked..], portion);
            if let Some(verdict) = self.ask(number, batch)? {
                return Ok(verdict);
            }
            asked += batch.len();
            spent += batch.iter().map(|test| test.took).sum::<Duration>();
            portion = (portion * 3).min(MOST);
        }
        Ok(Verdict::Survived { asked, of: order.len() })
    }

    /// What a test of sockets says it has to say again, alone: one that fails by chance proves nothing.
    fn ask(&self, number: usize, batch: &[&Test]) -> io::Result<Option<Verdict>> {
        let first = &batch[0].name;
        let red = match self.together(number, batch, 1)? {
            Ended::Green => return Ok(None),
            Ended::TooLate if self.together(number, batch, 4)? == Ended::TooLate => {
                return Ok(Some(Verdict::Endless(first.clone())));
            }
            Ended::TooLate => return Ok(None),
            Ended::Red(names) => names,
        };
        if self.is_certain(batch[0]) {
            return Ok(Some(Verdict::Killed(red.into_iter().next().unwrap_or_else(|| first.clone()))));
        }
        for test in batch.iter().filter(|test| red.is_empty() || red.contains(&test.name)) {
            if matches!(self.together(number, &[*test], 4)?, Ended::Red(_)) {
                return Ok(Some(Verdict::Killed(test.name.clone())));
            }
        }
        Ok(None)
    }

    /// Tests of one kind have no sockets, and no clock but their own.
    fn is_certain(&self, test: &Test) -> bool {
        let program = self.programs[test.program].file_name().and_then(|name| name.to_str());
        program.is_some_and(|name| !name.starts_with("promises-") && !name.starts_with("stacks-"))
    }

    fn together(&self, number: usize, batch: &[&Test], patience: u32) -> io::Result<Ended> {
        let names: Vec<&String> = batch.iter().map(|test| &test.name).collect();
        let chosen = OsString::from(number.to_string());
        let took: Duration = batch.iter().map(|test| test.took).sum();
        let limit = (Duration::from_secs(5) + took * 6) * patience;
        run(self.root, &self.programs[batch[0].program], &names, &[("STONEWORK_MUTANT", &chosen)], limit)
    }
}

/// Those at the front that are of the same program, as many as fit.
fn batch<'a, 'b>(tests: &'a [&'b Test], portion: Duration) -> &'a [&'b Test] {
    let mut sum = Duration::ZERO;
    let fit = tests.iter().take_while(|test| {
        let first = sum.is_zero();
        sum += test.took;
        test.program == tests[0].program && (first || sum <= portion)
    });
    &tests[..fit.count()]
}
