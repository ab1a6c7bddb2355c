//! Promises that hold for every input, checked on many random ones.

mod backoff;
mod balance;
mod body;
mod breaker;
mod budget;
mod connect;
mod forwarded;
mod hedge;
mod idempotency;
mod key;
mod keyed_parsers;
mod limits;
mod mutations;
mod oauth_parsers;
mod parsers;
mod pool;
mod quota_parsers;
mod ratio;
mod resume;
mod retry;
mod retry_after;
mod rng;
mod settings;
mod sse_parsers;
mod token_parsers;
mod wire;
