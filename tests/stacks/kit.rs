//! What several of these tests need.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use stonework::base::BoxError;
use stonework::retry::{RetryLayer, RetrySettings};
use tower::Service;

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Runs it on one thread with the clock paused. A virtual day later it panics: then somebody sleeps for ever.
///
/// Tokio's timers count whole milliseconds. All durations in these tests are whole, so that elapsed time is exact.
pub(crate) fn virtually<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let day = Duration::from_secs(24 * 3600);
    runtime.block_on(async { tokio::time::timeout(day, work).await.expect("somebody sleeps for ever") })
}

/// Three attempts, a pause of this length before each but the first.
pub(crate) fn retry(pause: Duration) -> RetryLayer {
    let backoff = stonework::base::Backoff::constant(pause).expect("more than zero");
    RetryLayer::from(RetrySettings::new().backoff(backoff))
}

/// The type of a service, for all the world: what axum and a shared client ask of it.
pub(crate) fn assert_shareable<S, R>(service: S) -> S
where
    S: Service<R> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    service
}

/// Never becomes ready, or never answers; and keeps no waker, so that whatever wakes the task is a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Never {
    Ready,
    Answers,
}

impl<R> Service<R> for Never {
    type Response = &'static str;
    type Error = BoxError;
    type Future = std::future::Pending<Result<&'static str, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Ready => Poll::Pending,
            Self::Answers => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: R) -> Self::Future {
        std::future::pending()
    }
}
