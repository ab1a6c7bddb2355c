//! stonework's, to which the same is done.

use stonework::timeout::{BodyLimits, ResponseBodyTimeoutLayer, TimeoutLayer};
use tower::Layer;

use super::kit::{self, FRAME, LIMIT, NeverReady, READY, Streams, Told};
use crate::flaws::{Found, block_on};

pub(super) fn ready() -> Found {
    block_on(async {
        let told = kit::told(TimeoutLayer::new(READY).layer(NeverReady)).await;
        Found::new(told.is_some_and(|told| told < 5 * READY), kit::when(told))
    })
}

pub(super) fn done() -> Found {
    block_on(async {
        let (tell, told) = Told::new();
        let seen = kit::looks_late(&mut TimeoutLayer::new(LIMIT).layer(told), tell).await;
        Found::new(seen == "200 OK", seen)
    })
}

pub(super) fn away() -> Found {
    block_on(async {
        let (streams, limits) = (Streams::default(), BodyLimits::none().idle(LIMIT));
        let service = ResponseBodyTimeoutLayer::new(limits).layer(streams.clone());
        let read = kit::reads_late(service, &streams).await;
        Found::new(read == FRAME, read)
    })
}
