//! tower.

use std::time::Duration;

use tower::Layer;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShed;

use super::kit::{self, Backend, CALLS, Does, PERIOD};
use crate::flaws::{Found, block_on};

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) fn two_rates() -> Found {
    block_on(async {
        let (layer, backend) = (RateLimitLayer::new(10, HOUR), Backend::new(Does::Answers));
        let answered = kit::answered([(); 2].map(|()| layer.layer(backend.clone())));
        Found::new(answered == 20, format!("{answered} (there is no clone of a service either)"))
    })
}

pub(super) fn two_concurrencies() -> Found {
    block_on(async {
        let backend = Backend::new(Does::Hangs);
        let layer = ConcurrencyLimitLayer::new(2);
        let reached = kit::in_flight([(); 2].map(|()| layer.layer(backend.clone())), &backend);
        let backend = Backend::new(Does::Hangs);
        let layer = GlobalConcurrencyLimitLayer::new(2);
        let global = kit::in_flight([(); 2].map(|()| layer.layer(backend.clone())), &backend);
        Found::new((reached, global) == (4, 2), format!("{reached} (GlobalConcurrencyLimitLayer: {global})"))
    })
}

pub(super) fn stream() -> Found {
    block_on(async {
        let answered = kit::streams(ConcurrencyLimitLayer::new(2).layer(Backend::new(Does::Answers)));
        Found::new(answered == 3, answered.to_string())
    })
}

pub(super) fn budget() -> Found {
    block_on(async {
        let limit = || ConcurrencyLimitLayer::new(1).layer(Backend::new(Does::Answers));
        let shed = kit::shed(LoadShed::new(limit())).await;
        // The control: nobody has been refused before, so that the budget is not asked.
        let mut fresh = LoadShed::new(limit());
        let unasked = (0..10_000).filter(|_| kit::ask(&mut fresh).is_none()).count();
        Found::new(shed > 9_000 && unasked == 0, format!("{shed} (if it has never been full: {unasked})"))
    })
}

pub(super) fn idle() -> Found {
    block_on(async {
        let limited = ConcurrencyLimitLayer::new(1).layer(Backend::new(Does::Answers));
        let [beside, without] = kit::beside_an_idle_one(LoadShed::new(limited)).await;
        Found::new([beside, without] == [0, 100], format!("{beside} (when the idle one is gone: {without})"))
    })
}

pub(super) fn boundary() -> Found {
    block_on(async {
        let layer = RateLimitLayer::new(CALLS.into(), PERIOD);
        let (calls, took) = kit::around_the_boundary(layer.layer(Backend::new(Does::Answers))).await;
        Found::new(calls > 15, format!("{calls} in {} ms", took.as_millis()))
    })
}
