//! The client's own wires: who gets a connection, who waits for one, what is used again and what is thrown away.

mod cut_off;
mod dials;
mod expect;
#[cfg(target_os = "linux")]
mod follows;
mod http2;
mod kit;
mod proxy;
mod queue;
mod reuse;
mod storm;
#[cfg(feature = "tls")]
mod whole;
