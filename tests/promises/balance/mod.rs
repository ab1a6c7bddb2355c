//! `stonework::balance`: to whom?

mod discovery;
mod dns;
mod endpoints;
mod failover;
pub(crate) mod kit;
mod oracles;
mod outliers;
mod picks;
mod probed;
mod sockets;
mod unhealthy;
