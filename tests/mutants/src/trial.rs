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
/// What one process is given to do, at first and at most. It grows, so that most mutants end soon.
const FIRST: Duration = Duration::from_millis(200);
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

impl Trial<'_> {
    pub(crate) fn of(&self, number: usize, mutant: &Mutant, reach: &[usize]) -> io::Result<Verdict> {
        if reach.is_empty() {
            return Ok(Verdict::Unreached);
        }
        let mut order: Vec<&Test> = reach.iter().map(|test| &self.tests[*test]).collect();
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

    /// A test that is red in company must be so alone, twice: one that fails by chance proves nothing.
    fn ask(&self, number: usize, batch: &[&Test]) -> io::Result<Option<Verdict>> {
        let verdict = match self.together(number, batch)? {
            Ended::Green => return Ok(None),
            Ended::TooLate => Verdict::Endless(batch[0].name.clone()),
            Ended::Red(_) if batch.len() == 1 => Verdict::Killed(batch[0].name.clone()),
            Ended::Red(names) => {
                let suspects = batch.iter().filter(|test| names.is_empty() || names.contains(&test.name));
                for test in suspects {
                    if let Some(verdict) = self.ask(number, &[*test])? {
                        return Ok(Some(verdict));
                    }
                }
                return Ok(None);
            }
        };
        Ok((self.together(number, batch)? != Ended::Green).then_some(verdict))
    }

    fn together(&self, number: usize, batch: &[&Test]) -> io::Result<Ended> {
        let names: Vec<&String> = batch.iter().map(|test| &test.name).collect();
        let chosen = OsString::from(number.to_string());
        let took: Duration = batch.iter().map(|test| test.took).sum();
        let limit = Duration::from_secs(5) + took * 6;
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
