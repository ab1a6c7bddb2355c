//! The way to a host: its addresses, TCP, proxies and TLS; what is said of a failure, and what is left behind.

pub(crate) mod discovery;
#[cfg(feature = "dns")]
mod dns;
pub(crate) mod kit;
mod proxy;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
