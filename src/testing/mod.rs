//! (to be written)

mod scripted;
mod server;
mod strict;

pub use scripted::{Scripted, ScriptedFuture, Seen, Step};
pub use server::{
    Digest, Latch, Reaction, Reception, Reply, ScriptedServer, SeenBody, SeenRequest, close_on_next_head,
    in_order, respond,
};
pub use strict::{Breach, Ledger, Strict, StrictFuture};
