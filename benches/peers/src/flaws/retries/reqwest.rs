//! reqwest-retry, over what answers without a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Response, StatusCode};
use reqwest_middleware::{ClientBuilder, Middleware, Next};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;

use super::kit::CALLS;
use crate::flaws::{Found, block_on};

/// Answers 503 each time, and counts.
#[derive(Clone, Default)]
struct Busy(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl Middleware for Busy {
    async fn handle(
        &self,
        _: reqwest::Request,
        _: &mut Extensions,
        _: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok(answer.into())
    }
}

pub(super) fn unlimited() -> Found {
    block_on(async {
        let (busy, pause) = (Busy::default(), Duration::from_millis(1));
        let policy = ExponentialBackoff::builder().retry_bounds(pause, pause).build_with_max_retries(2);
        let client = ClientBuilder::new(reqwest::Client::new());
        let client =
            client.with(RetryTransientMiddleware::new_with_policy(policy)).with(busy.clone()).build();
        for _ in 0..CALLS {
            // Whether it is answered is not what is asked here.
            let _ = client.get("http://orders.test/").send().await;
        }
        let requests = busy.0.load(Ordering::Relaxed);
        Found::new(requests == 3_000, requests.to_string())
    })
}
