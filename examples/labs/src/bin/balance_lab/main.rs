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

use std::process::ExitCode;

fn main() -> ExitCode {
    stonework_labs::play("balance", |seeds, folder, verdict| {
        supermarket::play(seeds, folder, verdict)?;
        slow_one::play(seeds, folder, verdict)?;
        tail::play(seeds, folder, verdict)?;
        black_hole::play(seeds, folder, verdict)?;
        even::play(seeds, verdict);
        Ok(())
    })
}
