//! Which tests can see a mutant: those that come by its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::parallel;
use crate::run::{Ended, run};

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Test {
    pub(crate) program: usize,
    pub(crate) name: String,
    pub(crate) took: Duration,
}

/// What each test took, alone and with nothing changed, and for each mutant the tests that come by.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Reach {
    /// Which programs were asked, and when they were built: what is known of others is no use.
    of: Vec<(PathBuf, SystemTime)>,
    words: Vec<String>,
    /// It was known before this run.
    #[serde(skip)]
    pub(crate) is_old: bool,
    pub(crate) tests: Vec<Test>,
    pub(crate) by_mutant: BTreeMap<usize, Vec<usize>>,
    /// Red although nothing was changed: they prove nothing.
    pub(crate) red: Vec<String>,
}

/// As it was found out before, if nothing was built since.
pub(crate) fn reach(root: &Path, programs: &[PathBuf], words: &[&str], work: &Path) -> io::Result<Reach> {
    let built = |program: &PathBuf| Ok((program.clone(), fs::metadata(program)?.modified()?));
    let of = programs.iter().map(built).collect::<io::Result<Vec<_>>>()?;
    let memory = work.join("reach.json");
    let known: Option<Reach> = serde_json::from_slice(&fs::read(&memory).unwrap_or_default()).ok();
    if let Some(known) = known.filter(|known| known.of == of && known.words == words) {
        return Ok(Reach { is_old: true, ..known });
    }
    let found = Reach {
        of,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        ..ask(root, programs, words, work)?
    };
    fs::write(memory, serde_json::to_vec(&found)?)?;
    Ok(found)
}

fn ask(root: &Path, programs: &[PathBuf], words: &[&str], work: &Path) -> io::Result<Reach> {
    let mut asked = Vec::new();
    for (program, path) in programs.iter().enumerate() {
        let listed =
            std::process::Command::new(path).args(["--list", "--format=terse"]).current_dir(root).output()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        asked.extend(
            listed
                .lines()
                .filter_map(|line| line.strip_suffix(": test"))
                .map(|name| (program, name.to_owned())),
        );
    }
    asked.retain(|(_, name)| words.is_empty() || words.iter().any(|word| name.contains(word)));
    let marks = work.join("reached");
    let _ = fs::remove_dir_all(&marks);
    fs::create_dir_all(&marks)?;
    let answers = parallel::map(&asked, |number, (program, name)| {
        let mark = marks.join(number.to_string());
        let begin = Instant::now();
        let alone = [("STONEWORK_REACHED", mark.as_os_str())];
        let ended = run(root, &programs[*program], &[name], &alone, Duration::from_secs(240));
        let took = begin.elapsed();
        let numbers: BTreeSet<usize> =
            fs::read(&mark).unwrap_or_default().chunks_exact(4).map(number_of).collect();
        (ended, took, numbers)
    });
    let mut reach = Reach::default();
    for ((program, name), (ended, took, numbers)) in asked.into_iter().zip(answers) {
        match ended? {
            Ended::Green => {
                for number in numbers {
                    reach.by_mutant.entry(number).or_default().push(reach.tests.len());
                }
                reach.tests.push(Test { program, name, took });
            }
            _ => reach.red.push(name),
        }
    }
    Ok(reach)
}

fn number_of(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
