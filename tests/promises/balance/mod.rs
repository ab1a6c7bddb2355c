//! `stonework::balance`: to whom?

mod discovery;
mod endpoints;
mod failover;
mod kit;
mod oracles;
mod outliers;
mod picks;
mod sockets;
mod unhealthy;
