//! backon, which is no layer: a service of a few lines calls it, as a user of its would.

use std::pin::Pin;
use std::task::{Context, Poll};

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use http::{Request, Response};
use tower::{Service, ServiceExt};

use super::kit::{self, CAP, Down, FIRST_PAUSE};
use crate::flaws::{Found, block_on_paused};
use crate::rows::{Broken, Content};

#[derive(Clone)]
struct ByBackon {
    inner: Down,
    pauses: ExponentialBuilder,
}

impl Service<Request<Content>> for ByBackon {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        let Self { inner, pauses } = self.clone();
        Box::pin(async move { (|| inner.clone().oneshot(request.clone())).retry(pauses).await })
    }
}

pub(super) fn together() -> Found {
    block_on_paused(async {
        let down = Down::default();
        let pauses = ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_times(1);
        let (busiest, all) = kit::together(ByBackon { inner: down.clone(), pauses }, &down).await;
        let down = Down::default();
        let (spread, _) =
            kit::together(ByBackon { inner: down.clone(), pauses: pauses.with_jitter() }, &down).await;
        let figures = format!("{busiest} of {all} (with_jitter: {spread})");
        Found::new(all == 200 && busiest > 180 && spread < 100, figures)
    })
}

pub(super) fn above_cap() -> Found {
    let pauses = ExponentialBuilder::new().with_min_delay(CAP / 10).with_max_delay(CAP).with_jitter();
    let (longer, longest) = kit::above_cap(pauses.without_max_times().build().take(1_000));
    Found::new(longer > 300, format!("{longer}, up to {longest:.0?}"))
}
