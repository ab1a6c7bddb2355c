use std::path::PathBuf;
use std::process::ExitCode;

use stonework::base::BoxError;

use crate::{ENOUGH, Experiment, Verdict, draw, end};

/// The `main` of a laboratory: what these experiments claim, with their plots in the folder.
pub fn play(name: &str, experiments: &[Experiment]) -> ExitCode {
    end(Words::read().and_then(|words| {
        let folder = words.folder.clone().unwrap_or_else(std::env::temp_dir);
        let mut verdict = Verdict::default();
        let mut plots = 0;
        println!("means over {} seeds, with 95 % intervals", words.seeds);
        for experiment in words.chosen(experiments)? {
            let finding = (experiment.examine)(words.seeds);
            finding.tell(&experiment, words.seeds, &mut verdict);
            if !finding.charts.is_empty() {
                draw(&folder.join(format!("{name}-{}.svg", experiment.name)), &finding.charts)?;
                plots += 1;
            }
        }
        if plots > 0 {
            println!("\nplots: {}, as {name}-*.svg", folder.display());
        }
        Ok(verdict)
    }))
}

/// What was said on the command line: `[--seeds N] [--only A,C] [FOLDER]`, the last with or without `--write` before it.
#[derive(Clone, Debug)]
pub struct Words {
    pub seeds: u64,
    /// Where to write what is written.
    pub folder: Option<PathBuf>,
    only: Option<String>,
}

impl Words {
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn read() -> Result<Self, BoxError> {
        let mut read = Self { seeds: ENOUGH, folder: None, only: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seeds" => read.seeds = words.next().ok_or("--seeds N")?.parse()?,
                "--only" => read.only = Some(words.next().ok_or("--only A,C")?),
                "--write" => read.folder = Some(words.next().ok_or("--write FOLDER")?.into()),
                option if option.starts_with('-') => return Err(format!("what is {option}?").into()),
                folder => read.folder = Some(folder.into()),
            }
        }
        if read.seeds < 2 {
            return Err("an interval needs two seeds".into());
        }
        Ok(read)
    }

    /// Whether all of them were.
    #[must_use]
    pub const fn chose_all(&self) -> bool {
        self.only.is_none()
    }

    /// # Errors
    ///
    /// A letter that none of them has.
    pub fn chosen(&self, experiments: &[Experiment]) -> Result<Vec<Experiment>, BoxError> {
        let Some(only) = &self.only else { return Ok(experiments.to_vec()) };
        let letters = only.split(',').map(|letter| {
            let found = experiments.iter().find(|experiment| letter.trim() == experiment.letter.to_string());
            found.copied().ok_or_else(|| format!("there is no experiment {letter} here").into())
        });
        letters.collect()
    }
}
