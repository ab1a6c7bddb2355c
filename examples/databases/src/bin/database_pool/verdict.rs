//! What is found in the database at the end, and whether promises were kept.

use std::process::ExitCode;

/// What the tables hold.
pub(crate) struct Audit {
    pub(crate) money: i64,
    /// Seats and who has them, by seat. A seat that was sold twice is in it twice.
    pub(crate) sold: Vec<(i64, i64)>,
}

impl Audit {
    pub(crate) fn each_once(&self) -> bool {
        self.sold.windows(2).all(|two| two[0].0 < two[1].0)
    }
}

#[derive(Default)]
pub(crate) struct Verdict {
    broken: u32,
}

impl Verdict {
    pub(crate) fn promise(&mut self, kept: bool, what: String) {
        println!("  {} {what}", if kept { "✓" } else { "✗" });
        self.broken += u32::from(!kept);
    }

    pub(crate) fn end(self) -> ExitCode {
        println!("\n{}", if self.broken == 0 { "every promise kept" } else { "promises were broken" });
        if self.broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
