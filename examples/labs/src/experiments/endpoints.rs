//! A balancer of endpoints that have numbers.

use std::time::Duration;

use stonework::Error;
use stonework::balance::{Balancer, BalancerSettings, Member, Pick};
use stonework::base::{EndpointId, Outcome, Rng};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MS: Duration = Duration::from_millis(1);

/// So many, each with what is made for its number.
pub(super) fn balancer<S: Clone + Send + Sync + 'static>(
    count: usize,
    settings: BalancerSettings,
    seed: u64,
    make: impl Fn(usize) -> S + Send + Sync + 'static,
) -> Balancer<S> {
    Balancer::builder(move |id: &EndpointId| make(id.as_str().parse().expect("a number")))
        .members((0..count).map(|at| Member::new(at.to_string())))
        .settings(settings)
        .rng(Rng::seeded(seed + 1_000_000))
        .build()
        .expect("these settings are possible")
}

/// With nothing but the pick: all of them are known to be there, and none is left out.
pub(super) fn bare(pick: Pick) -> BalancerSettings {
    BalancerSettings::new().pick(pick).without_slow_start().without_outliers()
}

/// An error is a failure.
pub(super) fn judge(result: Result<&(), &Error>) -> Outcome {
    if result.is_ok() { Outcome::Success } else { Outcome::Failure }
}
