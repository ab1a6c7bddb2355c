//! To whom? What the published experiments on balancing say, and what the layers here do in them, in virtual time.
//!
//! *The problem:* whoever picks a server by looking at it too little, or at the wrong thing, is slow, or sends everybody to the one that is
//! broken. Each of these experiments was published with its numbers.
//!
//! *What to look at:* each experiment is a module of `stonework_labs::experiments` that begins with what was published; its tables have the same
//! beside what came out here.
//!
//!     cargo run --release --package stonework-labs --bin balance_lab [--seeds N] [--only A,C] [FOLDER]
//!
//! It takes some tens of seconds with twenty seeds, writes a plot of each experiment into the folder, and ends with exit code 0 if every
//! claim held.

use std::process::ExitCode;

use stonework_labs::experiments::{BLACK_HOLE, EVEN, SLOW_ONE, SUPERMARKET, TAIL};

fn main() -> ExitCode {
    stonework_labs::play("balance", &[SUPERMARKET, SLOW_ONE, TAIL, BLACK_HOLE, EVEN])
}
