//! The server, judged by clients that others wrote, in other languages: curl, Python's h2 and gRPC, `h2load`, `wrk`.
//!
//! The client, judged by servers: nginx, haproxy, Python's h2, Node. And the rate limit that machines share, with the server that it shares
//! through, Redis, which also keeps what was done; and who is asking, with a proxy that says so, nginx. And tokens, with those that
//! others make, a provider of them, and those who read ours.
//!
//! And the page of an example, as a browser shows it: Chromium.
//!
//! Each is a process that talks to ours on the loopback interface, and has a limit on its time. A program that is
//! not there is named and its tests are skipped; with `STONEWORK_JUDGES=1` they fail. `.ci/run` installs all of them.

#[cfg(all(feature = "redis", feature = "idempotency"))]
#[path = "../promises/idempotency/agreement.rs"]
mod agreement;
#[cfg(feature = "tls")]
#[cfg(unix)]
mod client;
mod curl;
#[cfg(feature = "prometheus")]
mod dashboard;
mod grpc;
mod h2;
mod issuer;
mod jwt;
mod kit;
#[cfg(feature = "prometheus")]
#[expect(dead_code, reason = "it runs by itself, too")]
#[path = "../../examples/live_dashboard/main.rs"]
mod live_dashboard;
mod load;
#[cfg(target_os = "linux")]
mod nginx;
mod overload;
mod provider;
#[cfg(feature = "redis")]
mod redis;
#[cfg(all(feature = "redis", feature = "idempotency"))]
mod redis_keys;
#[cfg(feature = "tls")]
mod tls;
#[expect(dead_code, reason = "the promises need more of it")]
#[path = "../promises/jwt/tokens.rs"]
mod tokens;
mod traces;
