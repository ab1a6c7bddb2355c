//! Who waits for the call of another, and what is kept for them meanwhile.

use http::Request;
use stonework::coalesce::CoalesceLayer;
use tokio::time::timeout;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt};
use tower_resilience_coalesce::CoalesceLayer as Theirs;

use super::kit::{Backend, Caller, Does, TAKES};
use crate::flaws::{Found, block_on};
use crate::rows::Content;

pub(super) fn theirs() -> Found {
    block_on(async {
        let (backend, limited) = limited();
        let layer = Theirs::new(|request: &Request<Content>| request.uri().to_string());
        let begin = begin(layer.layer(limited), &backend).await;
        Found::new(begin == 1, begin.to_string())
    })
}

pub(super) fn ours() -> Found {
    block_on(async {
        let (backend, limited) = limited();
        let begin = begin(CoalesceLayer::new().layer(limited), &backend).await;
        Found::new(begin == 2, begin.to_string())
    })
}

fn limited() -> (Backend, ConcurrencyLimit<Backend>) {
    let backend = Backend::new(Does::Takes(TAKES));
    (backend.clone(), ConcurrencyLimit::new(backend, 2))
}

fn of(path: &str) -> Request<Content> {
    let uri = format!("http://example.test{path}");
    Request::builder().uri(uri).body(Content::default()).expect("valid")
}

/// Two share a call, and have their services still when both are answered. How many of two others begin.
async fn begin(service: impl Caller, backend: &Backend) -> u32 {
    let (mut one, mut other) = (service.clone(), service.clone());
    assert!(one.ready().await.is_ok() && other.ready().await.is_ok(), "there is room for two");
    let (first, second) = tokio::join!(one.call(of("/same")), other.call(of("/same")));
    assert!(first.is_ok() && second.is_ok() && backend.done() == 1, "they share one call");
    let ask = |path| timeout(TAKES / 2, service.clone().oneshot(of(path)));
    let _ = tokio::join!(ask("/this"), ask("/that"));
    let begun = backend.done() - 1;
    drop((one, other));
    begun
}
