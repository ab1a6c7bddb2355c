//! stonework's, to which the same is done.

use std::sync::Mutex;
use std::time::Duration;

use stonework::balance::{Balancer, BalancerService, BalancerSettings, Pick};
use stonework::base::Backoff;

use super::kit::{self, Endpoint};
use crate::flaws::{Found, block_on};

fn over(endpoints: impl Iterator<Item = Endpoint>, settings: BalancerSettings) -> BalancerService<Endpoint> {
    let all: Vec<Endpoint> = endpoints.collect();
    let members: Vec<_> = (0..all.len()).map(|at| format!("10.0.0.{at}:80")).collect();
    let rest = Mutex::new(all);
    let next = move |_: &_| rest.lock().expect("nobody panics with it").pop().expect("one for each member");
    let balancer = Balancer::builder(next).members(members).settings(settings);
    balancer.build().expect("valid settings").service()
}

pub(super) fn empty() -> Found {
    block_on(async {
        // How long one is left alone that was not ready: half of the time until the next call, and no longer for each failure.
        let soon = Backoff::constant(Duration::from_millis(50)).expect("a valid pause");
        let settings = BalancerSettings::new().backoff(soon);
        let answered = kit::answered(over((0..3).map(|_| Endpoint::fails_once()), settings)).await;
        Found::new(answered >= 16, answered.to_string())
    })
}

pub(super) fn black_hole() -> Found {
    block_on(async {
        let by_cost = BalancerSettings::new().pick(Pick::PeakEwma).without_slow_start();
        let failed = kit::failed(over(kit::ten(), by_cost.clone())).await;
        // Without what leaves outliers out, too: by the cost alone.
        let alone = kit::failed(over(kit::ten(), by_cost.without_outliers())).await;
        Found::new(failed <= 20 && alone <= 20, format!("{failed} (if no outlier is left out: {alone})"))
    })
}

pub(super) fn stalled() -> Found {
    block_on(async {
        let by_turns = BalancerSettings::new().pick(Pick::WeightedRoundRobin);
        let answered = kit::answered(over(kit::three(), by_turns)).await;
        Found::new(answered == 20, answered.to_string())
    })
}
