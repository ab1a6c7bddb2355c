//! A service that panics when the `Service` contract is broken, and counts what was reserved.
//!
//! The module [`testing`](super) says when to use it.

mod breach;
mod future;
mod ledger;
mod service;

#[cfg(test)]
mod tests;

pub use breach::Breach;
pub use future::StrictFuture;
pub use ledger::Ledger;
pub use service::Strict;
