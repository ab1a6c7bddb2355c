//! Promises that a user can rely on, one file for each module.

mod assembled_limits;
mod body_limit;
mod body_timeout;
mod breaker;
mod breaker_table;
mod circuits;
mod client;
mod client_address;
mod collect;
mod concurrency_limit;
mod connections;
mod deadlines;
mod delivery;
mod fallback;
mod grpc;
mod health;
mod limits_on_sockets;
mod multiply;
mod nested;
mod observe;
mod pieces;
mod pool;
mod pool_turns;
mod rate_limit;
mod reopen;
mod resume;
mod retry;
mod review_limits;
mod server;
mod shared_limit;
mod shutdown;
mod storms;
mod support;
mod timeout;
#[cfg(feature = "tls")]
mod tls;
