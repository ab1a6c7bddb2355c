//! Programs that show what others keep of an error from below, and what ours does.

mod kit;
mod ours;
mod resilience;

use super::Case;

pub(super) const CASES: &[Case] = &[Case {
    name: "chain-resilience",
    peer: "tower-resilience-timelimiter",
    did: "a call fails below a layer; time limiter (ours: timeout), rate limiter, adaptive limiter, circuit breaker, coalesce, hedge and bulkhead (ours: concurrency), each alone: \
          above how many the cause is found by `source()`",
    theirs: resilience::chain,
    ours: ours::chain,
}];
