//! Too much to do. What the published experiments on overload say, and what the layers here do in them, in virtual time.
//!
//! *The problem:* a server that was overwhelmed for ten seconds can stay so for ever, busy with requests whose callers have gone; and nobody
//! knows the number that a limit on concurrency should have, which changes with every release.
//!
//! *What to look at:* each experiment is a module of `stonework_labs::experiments` that begins with what was published; its tables have the same
//! beside what came out here.
//!
//!     cargo run --release --package stonework-labs --bin overload_lab [--seeds N] [--only F,G] [FOLDER]
//!
//! It takes a few minutes with twenty seeds, writes a plot of each experiment into the folder, and ends with exit code 0 if every claim held.

use std::process::ExitCode;

use stonework_labs::experiments::{ADAPTIVE, METASTABLE, THROTTLE};

fn main() -> ExitCode {
    stonework_labs::play("overload", &[METASTABLE, ADAPTIVE, THROTTLE])
}
