//! What was promised, and whether it was kept.

use std::process::ExitCode;

/// Counts what was not.
#[derive(Default)]
pub(crate) struct Verdict {
    broken: usize,
}

impl Verdict {
    pub(crate) fn promise(&mut self, what: &str, kept: bool) {
        println!("    {} {what}", if kept { "kept:  " } else { "BROKEN:" });
        self.broken += usize::from(!kept);
    }

    /// The last line, and what the process ends with.
    pub(crate) fn print(self) -> ExitCode {
        if self.broken == 0 {
            println!("\nverdict: every promise was kept");
            return ExitCode::SUCCESS;
        }
        println!("\nverdict: {} promises were BROKEN", self.broken);
        ExitCode::FAILURE
    }
}
