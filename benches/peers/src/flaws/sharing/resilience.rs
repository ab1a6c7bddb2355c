//! tower-resilience: coalesce, outlier, reconnect.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_resilience_coalesce::CoalesceLayer;
use tower_resilience_outlier::{OutlierDetectionLayer, OutlierDetector};
use tower_resilience_reconnect::{ReconnectConfig, ReconnectLayer, ReconnectPolicy};

use super::kit::{self, Backend, CONNECTS, Caller, Does, TAKES};
use crate::flaws::{Found, block_on};
use crate::rows::{Broken, Content};

fn coalesced(backend: Backend) -> impl Caller {
    CoalesceLayer::new(|request: &Request<Content>| request.uri().to_string()).layer(backend)
}

pub(super) fn spin_coalesce() -> Found {
    block_on(async {
        let backend = Backend::new(Does::Takes(TAKES));
        let polls = kit::polls_beside(coalesced(backend.clone()), &backend).await;
        Found::new(polls > 1_000, polls.to_string())
    })
}

pub(super) fn leader() -> Found {
    block_on(async {
        let backend = Backend::new(Does::Takes(TAKES));
        let answered = kit::without_the_first(coalesced(backend.clone()), &backend).await;
        Found::new(answered == 0, answered.to_string())
    })
}

pub(super) fn spin_outlier() -> Found {
    block_on(async {
        let detector = OutlierDetector::new().base_ejection_duration(TAKES).max_ejection_percent(100);
        detector.register("one", 5);
        let layer = OutlierDetectionLayer::builder().detector(detector.clone()).instance_name("one").build();
        let service = layer.expect("valid settings").layer(Backend::new(Does::Takes(Duration::ZERO)));
        for _ in 0..5 {
            detector.record_failure("one");
        }
        assert!(detector.is_ejected("one"), "five failures in a row");
        let polls = kit::polls(service).await;
        Found::new(polls > 1_000, polls.to_string())
    })
}

pub(super) fn forgotten() -> Found {
    block_on(async {
        let connects = service_fn(|(): ()| {
            Box::pin(async {
                sleep(CONNECTS).await;
                Ok::<_, Broken>(Backend::new(Does::Takes(Duration::ZERO)))
            })
        });
        let service = ReconnectLayer::with_defaults().layer(connects);
        let get = || {
            let asked = service.clone().oneshot(kit::request(Method::GET));
            async { asked.await.is_ok() }
        };
        let served = kit::served(get).await;
        Found::new(served == 1, served.to_string())
    })
}

pub(super) fn again() -> Found {
    block_on(async {
        let backend = Backend::new(Does::Fails);
        let connected = backend.clone();
        let connects = service_fn(move |(): ()| std::future::ready(Ok::<_, Broken>(connected.clone())));
        let policy = ReconnectPolicy::fixed(Duration::from_millis(1));
        let service = ReconnectLayer::new(ReconnectConfig::builder().policy(policy).build()).layer(connects);
        let done = kit::posts(service, &backend).await;
        Found::new(done > 10, done.to_string())
    })
}
