//! The page that has the figures: between two markers for each group, where nobody writes by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use stonework::base::WallClock;

use crate::figure::{Figure, met};
use crate::groups::{self, Group};
use crate::table;

const END: &str = "<!-- end of figures -->";

/// When and where something was measured.
pub(crate) struct Run {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) machine: String,
}

impl Run {
    pub(crate) fn now() -> Self {
        // The page itself is about to be changed.
        let all = [":(top)", ":(top,exclude)docs/PERFORMANCE.md"];
        let changed = git(&[&["status", "--porcelain", "--untracked-files=no", "--"][..], &all].concat());
        let mut commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "?".to_owned());
        if changed.is_none_or(|changed| !changed.is_empty()) {
            commit.push_str(" with changes");
        }
        let now = httpdate::fmt_http_date(WallClock::system().now());
        let date = now.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let machine =
            format!("{cores} cores ({}, {}, {})", processor(), std::env::consts::ARCH, std::env::consts::OS);
        Self { date, commit, machine }
    }
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// As the kernel calls it.
fn processor() -> String {
    let known = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = known.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    line.map_or("a processor", |(_, name)| name).trim().to_owned()
}

/// A file that has the figures of all groups.
pub(crate) struct Page {
    file: PathBuf,
    text: String,
}

impl Page {
    /// What is written there at this moment, if it has a place for each group.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for group in groups::ALL {
            with(&text, group.name, "")?;
        }
        Ok(Self { file: file.to_owned(), text })
    }

    /// Puts figures in the place of those that it had of this group. All else stays.
    pub(crate) fn put(&mut self, run: &Run, group: &Group, figures: &[Figure]) -> Result<(), String> {
        self.text = with(&self.text, group.name, &section(run, group, figures))?;
        std::fs::write(&self.file, &self.text).map_err(|error| format!("{}: {error}", self.file.display()))
    }
}

fn section(run: &Run, group: &Group, figures: &[Figure]) -> String {
    let Run { date, commit, machine } = run;
    let met = match met(figures) {
        (_, 0) => "no targets".to_owned(),
        (met, all) => format!("{met} of {all} targets met"),
    };
    let (about, table) = (group.about, table::section(figures));
    format!("*Cost: {about}. {date}, commit {commit}, {machine}; {met}.*\n\n{table}")
}

fn with(page: &str, name: &str, text: &str) -> Result<String, String> {
    let begin = format!("<!-- figures: {name} -->");
    let lost = || format!("the page has no `{begin}` with `{END}` behind it");
    let (before, rest) = page.split_once(&begin).ok_or_else(lost)?;
    let (_, after) = rest.split_once(END).ok_or_else(lost)?;
    Ok(format!("{before}{begin}\n\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_place_of_older_ones_and_nothing_else_is_touched() {
        let page = "# A\n\n<!-- figures: a -->\nold\n<!-- end of figures -->\n\nprose\n\n<!-- figures: b -->\n<!-- end of figures -->\n";
        let once = with(page, "a", "new\n").expect("a place");
        assert_eq!(once, page.replace("-->\nold\n", "-->\n\nnew\n\n"));
        assert_eq!(with(&once, "a", "new\n").as_ref(), Ok(&once));
        assert!(with(page, "c", "new").is_err());
        assert!(with("<!-- figures: a -->", "a", "new").is_err());
    }

    #[test]
    fn the_page_has_a_place_for_each_group() {
        let page = include_str!("../../../docs/PERFORMANCE.md");
        for group in groups::ALL {
            assert!(with(page, group.name, "").is_ok(), "{}", group.name);
        }
        assert_eq!(page.matches("<!-- figures: ").count(), groups::ALL.len());
    }
}
