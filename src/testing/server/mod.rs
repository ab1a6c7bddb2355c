//! A raw HTTP/1 server that does to a connection what a script says, down to the byte and the reset.
//!
//! The module [`testing`](super) says when to use it.

mod connection;
mod decode;
mod digest;
mod head;
mod latch;
mod listener;
mod reaction;
mod record;
mod reply;
mod scripts;

#[cfg(test)]
mod tests;

pub use digest::Digest;
pub use latch::Latch;
pub use listener::ScriptedServer;
pub use reaction::{Reaction, Reception};
pub use record::{SeenBody, SeenRequest};
pub use reply::{Reply, respond};
pub use scripts::{close_on_next_head, in_order};
