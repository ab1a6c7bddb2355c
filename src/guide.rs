//! The guide: what the modules are together, and how to work with them.
//!
//! Each page stands in the folder `docs` as well, where it reads the same. Every snippet is compiled, and run unless it would go on for
//! ever or needs what is not there; every test that a page names exists, which a test checks.
//!
//! * [`journey`]: a request on its way out and in, and which module answers for each step.
//! * [`ordering`]: which layer stands outside of which, and what goes wrong if two are swapped.
//! * [`scope`]: what is not here, why, and what to do instead.
//! * [`guarantees`]: each promise, with the tests that hold the crate to it.
//! * [`client`]: from twenty lines to a client of several services.
//! * [`server`]: an axum router with limits, tokens, keys, probes and a shutdown.
//! * [`testing`]: the kit: layers, clients and servers under test.
//! * [`observing`]: events, lines, spans, metrics, and what can be asked.
//! * [`configuring`]: files, what is wrong with them, and what cannot stand in one.
//! * [`coming_from`]: what corresponds to what, and what becomes different.
//!
//! The module pages say of each part what it does, when not to use it, and what its defaults are; the guide leads through them.

/// Where the pages of the guide, and modules, are found from here. In a file of the folder `docs` the same names lead to files, and stand at
/// its end: of two definitions of a name, the first one counts.
macro_rules! links {
    () => {
        "
[client]: crate::guide::client
[guarantees]: crate::guide::guarantees
[journey]: crate::guide::journey
[ordering]: crate::guide::ordering
[scope]: crate::guide::scope
[server]: crate::guide::server
[testing]: crate::guide::testing
[observing]: crate::guide::observing
[configuring]: crate::guide::configuring
[coming-from]: crate::guide::coming_from
[`balance`]: crate::balance
[`base`]: crate::base
[`breaker`]: crate::breaker
[`client`]: crate::client
[`coalesce`]: crate::coalesce
[`connect`]: crate::connect
[`fallback`]: crate::fallback
[`health`]: crate::health
[`hedge`]: crate::hedge
[`idempotency`]: crate::idempotency
[`jwt`]: crate::jwt
[`limit`]: crate::limit
[`oauth`]: crate::oauth
[`observe`]: crate::observe
[`pool`]: crate::pool
[`retry`]: crate::retry
[`server`]: crate::server
[`sse`]: crate::sse
[`testing`]: crate::testing
[`timeout`]: crate::timeout
"
    };
}

// What it is as a whole.

#[doc = links!()]
#[doc = include_str!("../docs/journey.md")]
pub mod journey {}

#[doc = links!()]
#[doc = include_str!("../docs/ordering.md")]
pub mod ordering {}

#[doc = links!()]
#[doc = include_str!("../docs/scope.md")]
pub mod scope {}

#[doc = links!()]
#[doc = include_str!("../docs/GUARANTEES.md")]
pub mod guarantees {}

// How to work with it.

#[doc = links!()]
#[doc = include_str!("../docs/client.md")]
pub mod client {}

#[doc = links!()]
#[doc = include_str!("../docs/server.md")]
pub mod server {}

#[doc = links!()]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

#[doc = links!()]
#[doc = include_str!("../docs/observing.md")]
pub mod observing {}

#[doc = links!()]
#[doc = include_str!("../docs/configuring.md")]
pub mod configuring {}

#[doc = links!()]
#[doc = include_str!("../docs/coming-from.md")]
pub mod coming_from {}
