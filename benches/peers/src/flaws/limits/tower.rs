//! tower.

use std::time::Duration;

use http::Request;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShed;
use tower::{Layer, Service, ServiceExt};

use super::kit::{self, Backend, CALLS, Does, PERIOD};
use crate::flaws::Found;
use crate::flaws::kit::block_on;

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
        let limited = ConcurrencyLimitLayer::new(1_000).layer(Backend::new(Does::Answers));
        let mut service = LoadShed::new(limited);
        let (mut shed, mut first) = (0, None);
        for call in 0..10_000 {
            let ready = service.ready().await.expect("it is always ready");
            if ready.call(Request::new(())).await.is_err() {
                shed += 1;
                first.get_or_insert(call);
            }
        }
        Found::new(shed > 9_000, format!("{shed}, from call {first:?} on"))
    })
}

pub(super) fn boundary() -> Found {
    block_on(async {
        let layer = RateLimitLayer::new(CALLS.into(), PERIOD);
        let (calls, took) = kit::around_the_boundary(layer.layer(Backend::new(Does::Answers))).await;
        Found::new(calls > 15, format!("{calls} in {} ms", took.as_millis()))
    })
}
