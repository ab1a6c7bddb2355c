//! What every example does the same way: how it says what it claims, how it ends, and how it tells of several runs.
//!
//! No example itself. Those beside it have it as `mod kit;`, those in folders and packages of their own by its path. It needs `std` alone, so
//! that nobody needs more for it.

#![allow(dead_code, unreachable_pub, reason = "no program needs all of it")]

pub mod stats;

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

/// The claims of a program, and whether each held.
#[derive(Debug, Default)]
pub struct Verdict {
    claims: usize,
    broken: usize,
}

impl Verdict {
    /// Print a claim, and whether it holds.
    pub fn claim(&mut self, holds: bool, what: impl Display) {
        println!("  {} {what}", if holds { "held:  " } else { "BROKEN:" });
        self.claims += 1;
        self.broken += usize::from(!holds);
    }

    /// Print the last line, and say the same as programs do: 0 if every claim held.
    #[must_use]
    pub fn end(&self) -> ExitCode {
        match (self.claims, self.broken) {
            // A program that claims nothing has shown nothing.
            (0, _) => println!("\nverdict: nothing was claimed"),
            (_, 0) => {
                println!("\nverdict: every claim held");
                return ExitCode::SUCCESS;
            }
            (_, broken) => println!("\nverdict: {broken} claims are BROKEN"),
        }
        ExitCode::FAILURE
    }
}

/// The end of every `main`: the verdict, or why there is none.
#[must_use]
pub fn end(played: Result<Verdict, Box<dyn Error + Send + Sync>>) -> ExitCode {
    match played {
        Ok(verdict) => verdict.end(),
        Err(error) => {
            println!("\nverdict: it could not be played to its end: {error:#}");
            ExitCode::FAILURE
        }
    }
}
