use std::path::{Path, PathBuf};
use std::process::ExitCode;

use stonework::base::BoxError;

use crate::{Verdict, end};

/// The `main` of a laboratory, with the words `[--seeds N] [FOLDER]`: what `experiments` claim with so many seeds, with their plots in the
/// folder, named `NAME-*.svg`.
pub fn play(
    name: &str,
    experiments: impl FnOnce(u64, &Path, &mut Verdict) -> Result<(), BoxError>,
) -> ExitCode {
    let played = words().and_then(|(seeds, folder)| {
        println!("means over {seeds} seeds, with 95 % intervals");
        let mut verdict = Verdict::default();
        experiments(seeds, &folder, &mut verdict)?;
        println!("\nplots: {}, as {name}-*.svg", folder.display());
        Ok(verdict)
    });
    end(played)
}

fn words() -> Result<(u64, PathBuf), BoxError> {
    let (mut seeds, mut folder) = (20, std::env::temp_dir());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--seeds" {
            seeds = words.next().ok_or("--seeds N")?.parse()?;
        } else {
            folder = PathBuf::from(word);
        }
    }
    if seeds < 2 {
        return Err("an interval needs two seeds".into());
    }
    Ok((seeds, folder))
}
