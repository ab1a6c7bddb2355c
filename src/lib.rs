//! Composable tower layers for clients and servers that know HTTP and keep their promises.
//!
//! An existing client that gains a limit on the whole call, retries that repeat only what may be repeated, and a limit
//! on each attempt:
//!
//! ```
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use stonework::retry::RetryLayer;
//! use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
//! use tower::ServiceBuilder;
//!
//! let client = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(10)))
//!     .layer(RetryLayer::new())
//!     .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
//!     .service(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>());
//! # let _ = client;
//! ```
//!
//! # Three ideas
//!
//! * **Whether a request may be repeated is decided from the request, before anything fails.** Every failure says how
//!   far the request got ([`base::Delivery`]), every request how much a repetition could harm ([`base::Safety`]), and a
//!   small table decides. See [`retry`].
//! * **A deadline belongs to the work.** It reaches everything that is called on behalf of a call, it can only be
//!   shortened, and nothing begins that cannot end before it. See [`base::deadline`] and [`timeout`].
//! * **There is one [`Error`]**, which says what went wrong, how far the request got, how many attempts were made and
//!   when to come back, whichever layer it comes from and however many it passes through.
//!
//! # The map
//!
//! The `guide` leads through it, with pages on a client, a server, tests and more; it is part of the documentation where the feature `full`
//! is on.
//!
//! In the order in which a request meets them; each module says what it is for, where it stands in a stack, when not to
//! use it, and what its defaults are:
//!
//! | question | module | feature |
//! |---|---|---|
//! | once more? | [`retry`] | `retry`, on by default |
//! | ask a second one? | `hedge` | `hedge` |
//! | does somebody ask for this already? | `coalesce` | `coalesce` |
//! | how long may it take? | [`timeout`] | `timeout`, on by default |
//! | and if it fails? | `fallback` | `fallback` |
//! | to whom? | `balance` | `balance` |
//! | is this one broken? | `breaker` | `breaker` |
//! | is it well? | `health` | `health` |
//! | over which wire? | `pool` | `pool` |
//! | how do we get there? | `connect` | `connect` |
//! | may it come in? | `limit` | `limit` |
//! | who sends it? | `jwt` | `jwt`, or `jwt-rust-crypto` |
//! | with whose authority? | `oauth` | `oauth` |
//! | have we done it already? | `idempotency` | `idempotency` |
//! | what happened? | `observe` | `observe` |
//! | what does the server tell, for as long as it lasts? | `sse` | `sse` |
//! | all of it, as a client | `client` | `client` |
//! | all of it, as a server | `server` | `server` |
//! | the layers over reqwest? | `reqwest` | `reqwest` |
//! | do my own layers keep the rules? | `testing` | `testing` |
//! | what they all share | [`base`] | |
//!
//! # Order
//!
//! A client, outermost first: [`TimeoutLayer`](timeout::TimeoutLayer), `FallbackLayer`, [`RetryLayer`](retry::RetryLayer),
//! `HedgeLayer`, `BearerLayer`, [`AttemptTimeoutLayer`](timeout::AttemptTimeoutLayer), `BreakersLayer`, transport. The limit on the call stands outside, so that
//! pauses and readiness count too; the limit on an attempt stands inside, so that a slow attempt leaves time for another. The token
//! stands inside of retry, so that each attempt has one that is good then. A hedge stands inside of retry too, which sees one result, and
//! outside of the limit on an attempt, so that each of those that are under way has its own. What is
//! fallen back to is asked when no retry can help; the circuit stands where every attempt passes. Where a service has several endpoints,
//! a `BalancerService` stands in its place, and each endpoint has a circuit of its own below that.
//!
//! # Cancel safety
//!
//! Dropping any future at any point is an ordinary event: the call inside is dropped with it, a retry that was charged
//! but not begun goes back to its budget, and no task is left running. But what is to come to its end does so: a request with an
//! `idempotency` key, and a call inside of a `DetachLayer`. Each module says more.
//!
//! # Crate features
//!
//! Features only add: enabling one changes nothing in another's behaviour. `full` is all but `backoff`, `dns`, `jwt-rust-crypto`,
//! `postgres`, `prometheus`, `redis`, `reqwest` and `sqlite`.
//!
//! * `retry`, `timeout` (default), `balance`, `breaker`, `coalesce`, `fallback`, `health`, `hedge`, `idempotency`, `pool`, `connect`, `limit`, `oauth`, `observe`, `client`, `server`, `sse`, `testing`: the
//!   modules of that name.
//! * `jwt`: tokens, whose signatures AWS-LC checks, which is C code. `jwt-rust-crypto`: the same with the crates of RustCrypto, alone or
//!   beside it; that brings `rsa`, which has an advisory about the use of private keys (RUSTSEC-2023-0071), and here there are none.
//! * `axum`: handlers of axum take what a token says as an argument, and routes are known by what a router of axum has matched.
//! * `dns`: a resolver that asks name servers itself.
//! * `redis`: one rate limit for several machines, which share a Redis server; and, with `idempotency`, keys that they share.
//! * `sqlite`, `postgres`: idempotency keys in a file of SQLite, which builds C code, its own; or in a PostgreSQL database.
//! * `reqwest`: the layers over a [`reqwest::Client`](https://docs.rs/reqwest).
//! * `decompression`: responses that servers have compressed, decoded where a setting asks for it. Builds C code: zstd's.
//! * `tls`: TLS with rustls, for `connect` and `server`. Builds C code: AWS-LC.
//! * `metrics`: an observer and a layer that count with the [`metrics`](https://docs.rs/metrics) facade.
//! * `prometheus`: a service that Prometheus scrapes.
//! * `serde`: settings can be read from a file, with durations such as `"250ms"`.
//! * `backoff`: any [`backoff::backoff::Backoff`](https://docs.rs/backoff) serves as a retry schedule. That crate is
//!   unmaintained (RUSTSEC-2025-0012) and brings `instant` (RUSTSEC-2024-0384): a landing place for those who leave it.
//!
//! # What is not promised
//!
//! Default values, the text of errors, and the foreign errors in their chains may change in a minor version; the
//! changelog says so.
// Whether all layers of a client may go to another thread is asked of a type that is nested deeper than the usual limit; nobody outside has to
// ask it.
#![recursion_limit = "256"]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "coalesce")]
#[cfg_attr(docsrs, doc(cfg(feature = "coalesce")))]
pub mod coalesce;
#[cfg(feature = "hedge")]
#[cfg_attr(docsrs, doc(cfg(feature = "hedge")))]
pub mod hedge;
#[cfg(feature = "retry")]
#[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
pub mod retry;
#[cfg(feature = "timeout")]
#[cfg_attr(docsrs, doc(cfg(feature = "timeout")))]
pub mod timeout;

#[cfg(feature = "fallback")]
#[cfg_attr(docsrs, doc(cfg(feature = "fallback")))]
pub mod fallback;

#[cfg(feature = "balance")]
#[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
pub mod balance;

#[cfg(feature = "breaker")]
#[cfg_attr(docsrs, doc(cfg(feature = "breaker")))]
pub mod breaker;

#[cfg(feature = "health")]
#[cfg_attr(docsrs, doc(cfg(feature = "health")))]
pub mod health;
#[cfg(feature = "pool")]
#[cfg_attr(docsrs, doc(cfg(feature = "pool")))]
pub mod pool;

#[cfg(feature = "idempotency")]
#[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
pub mod idempotency;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
pub mod jwt;
#[cfg(feature = "limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "limit")))]
pub mod limit;
#[cfg(feature = "oauth")]
#[cfg_attr(docsrs, doc(cfg(feature = "oauth")))]
pub mod oauth;

#[cfg(feature = "observe")]
#[cfg_attr(docsrs, doc(cfg(feature = "observe")))]
pub mod observe;

#[cfg(feature = "connect")]
#[cfg_attr(docsrs, doc(cfg(feature = "connect")))]
pub mod connect;

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub mod server;

#[cfg(feature = "sse")]
#[cfg_attr(docsrs, doc(cfg(feature = "sse")))]
pub mod sse;

#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub mod reqwest;

#[cfg(any(feature = "client", feature = "reqwest"))]
mod exchange;

pub mod base;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

pub use base::body::Body;
pub use base::{Call, Deadline, Error};

// Only for reading: a program has nothing of it.
#[cfg(all(any(doc, doctest), feature = "full"))]
#[cfg_attr(docsrs, doc(cfg(feature = "full")))]
pub mod guide;

/// The examples of the front page, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Those of the changelog.
#[cfg(doctest)]
#[doc = include_str!("../CHANGELOG.md")]
struct Changelog;
