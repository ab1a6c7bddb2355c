//! Promises that a user can rely on, one file for each module.

mod client;
mod collect;
mod delivery;
mod pieces;
mod reopen;
mod resume;
mod retry;
mod server;
mod support;
mod timeout;
