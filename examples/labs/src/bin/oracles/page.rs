//! The page with what came out, and its plots.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stonework::base::{BoxError, WallClock};
use stonework_labs::{Experiment, Finding, Judgement, draw};

/// What was known when the run began.
pub(crate) struct Page {
    folder: PathBuf,
    seeds: u64,
    /// Of which commit the program was built, if nothing was changed since.
    commit: String,
    date: String,
}

const HEAD: &str = "\
# Evidence

*Audience: whoever wants to know whether the layers do what the papers say after which they were made. A program writes this page; nobody
edits it.*

Each of these experiments was published with its figures. Here the layers of this crate go through the same, on a clock that stands still while
there is anything to do, so that the same seed gives the same numbers on any machine.

A figure is a mean over the seeds with its 95 % interval, or says of what else it is. It is held to a bar that comes from what was published, or
from arithmetic; if its mean is on the wrong side, the bar is missed, and the program fails. Where what was published has only words or charts,
or no such figure, *(model)* is what a small model of the same experiment gives, which knows nothing of the layers.
";

impl Page {
    pub(crate) fn begin(folder: &Path, seeds: u64) -> Result<Self, BoxError> {
        let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
        let mut commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "?".to_owned());
        if changed.is_none_or(|changed| !changed.is_empty()) {
            commit.push_str(" with changes");
        }
        let now = httpdate::fmt_http_date(WallClock::system().now());
        let date = now.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ");
        fs::create_dir_all(folder.join("plots"))?;
        Ok(Self { folder: folder.to_owned(), seeds, commit, date })
    }

    /// The plots, and the page if these are all.
    pub(crate) fn write(&self, found: &[(Experiment, Finding)], all: bool) -> Result<(), BoxError> {
        for (experiment, finding) in found.iter().filter(|(_, finding)| !finding.charts.is_empty()) {
            draw(&self.folder.join(plot(experiment)), &finding.charts)?;
        }
        if all {
            let page = self.folder.join("EVIDENCE.md");
            fs::write(&page, self.text(found))?;
            println!("written: {}", page.display());
        } else {
            println!("written: the plots, and no page, which has all of them");
        }
        Ok(())
    }

    fn text(&self, found: &[(Experiment, Finding)]) -> String {
        let Self { seeds, commit, date, .. } = self;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let rows = || found.iter().flat_map(|(_, finding)| &finding.rows);
        let held = rows().filter(|row| row.judge(*seeds) == Judgement::Held).count();
        let mut text = String::from(HEAD);
        let run = format!(
            "`cargo run --release -p stonework-labs --bin oracles -- --seeds {seeds} --write docs`, on {date}, at commit {commit}, on {cores} cores \
             ({arch}, {os}): {held} of {} bars held. `--only A,C` runs some of them.",
            rows().count()
        );
        let _ = write!(text, "\n{}\n", wrapped(&run));
        for (experiment, finding) in found {
            let Experiment { letter, title, published, .. } = experiment;
            let _ = write!(
                text,
                "\n## {letter}. {title}\n\n{}\n",
                wrapped(&format!("{published} {}", finding.words))
            );
            text.push_str("\n| figure | published | here | held to | |\n|---|---|---|---|---|\n");
            for row in &finding.rows {
                let judged = match row.judge(*seeds) {
                    Judgement::Held => "held",
                    Judgement::Missed => "**missed**",
                    Judgement::Open => "open: too few seeds",
                };
                let (what, ours, bar) = (&row.what, &row.ours, row.bar_text());
                let published = if row.published.is_empty() { "-" } else { &row.published };
                let _ = writeln!(text, "| {what} | {published} | {ours} | {bar} | {judged} |");
            }
            if !finding.charts.is_empty() {
                let titles: Vec<_> = finding.charts.iter().map(|chart| chart.title.as_str()).collect();
                let _ = write!(text, "\n![{}]({})\n", titles.join("; "), plot(experiment));
            }
        }
        text
    }
}

/// Seen from the page.
fn plot(experiment: &Experiment) -> String {
    format!("plots/{}.svg", experiment.name)
}

/// In lines as long as those of other pages.
fn wrapped(text: &str) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        // A number and its unit stay together.
        if length + letters >= 140 && !word.starts_with('%') {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        lines.push_str(word);
        length += letters;
    }
    lines
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
