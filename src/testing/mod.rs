//! (to be written)

mod scripted;
mod strict;

pub use scripted::{Scripted, ScriptedFuture, Seen, Step};
pub use strict::{Breach, Ledger, Strict, StrictFuture};
