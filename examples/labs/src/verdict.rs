use std::process::ExitCode;

/// The claims of an experiment, and whether each held.
#[derive(Debug, Default)]
pub struct Verdict {
    broken: usize,
}

impl Verdict {
    /// Print a claim and whether it holds.
    pub fn claim(&mut self, holds: bool, what: &str) {
        println!("  {} {what}", if holds { "held:  " } else { "BROKEN:" });
        self.broken += usize::from(!holds);
    }

    /// Print it, and say it as programs do: 0 if every claim held.
    #[must_use]
    pub fn end(&self) -> ExitCode {
        match self.broken {
            0 => {
                println!("\nverdict: every claim held");
                ExitCode::SUCCESS
            }
            broken => {
                println!("\nverdict: {broken} claims are BROKEN");
                ExitCode::FAILURE
            }
        }
    }
}
