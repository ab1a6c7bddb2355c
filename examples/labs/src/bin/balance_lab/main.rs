//! To whom? What the published experiments on balancing say, and what the layers here do in them, in virtual time.
//!
//! *The problem:* whoever picks a server by looking at it too little, or at the wrong thing, is slow, or sends everybody to the one that is
//! broken. Each of these experiments was published with its numbers.
//!
//! *What to look at:* each experiment is a module that begins with what was published; its tables have the same beside what came out here.
//!
//!     cargo run --release --package stonework-labs --bin balance_lab [--seeds N] [FOLDER]
//!
//! It takes some tens of seconds with twenty seeds, writes a plot of each experiment into the folder, and ends with exit code 0 if every
//! claim held.

mod black_hole;
mod endpoints;
mod even;
mod slow_one;
mod supermarket;
mod tail;

use std::path::PathBuf;
use std::process::ExitCode;

use stonework::base::BoxError;
use stonework_labs::Verdict;

fn main() -> ExitCode {
    match play() {
        Ok(verdict) => verdict.end(),
        Err(error) => {
            println!("\nverdict: the experiments could not be made: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<Verdict, BoxError> {
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
    println!("means over {seeds} seeds, with 95 % intervals");
    let mut verdict = Verdict::default();
    supermarket::play(seeds, &folder, &mut verdict)?;
    slow_one::play(seeds, &folder, &mut verdict)?;
    tail::play(seeds, &folder, &mut verdict)?;
    black_hole::play(seeds, &folder, &mut verdict)?;
    even::play(seeds, &mut verdict);
    println!("\nplots: {}, as balance-*.svg", folder.display());
    Ok(verdict)
}
