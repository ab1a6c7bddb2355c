//! An in-memory service that follows a script and keeps the requests it saw.
//!
//! The module [`testing`](super) says when to use it.

mod future;
mod seen;
mod service;
mod step;

#[cfg(test)]
mod tests;

pub use future::ScriptedFuture;
pub use seen::Seen;
pub use service::Scripted;
pub use step::Step;
