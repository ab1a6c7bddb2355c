//! The task that fetches keys when it is time. It ends with the last handle.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::NotKeys;
use super::core::Core;
use super::fetch::{Fetched, Fetcher};
use crate::base::body::Body;
use crate::base::{BoxError, Error, scope};

/// About thirty years, as tokio's own far future.
const LONGEST: Duration = Duration::from_secs(86_400 * 365 * 30);

pub(super) async fn refresh<S, B>(core: Arc<Core>, mut fetcher: Fetcher<S>)
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Error: Into<BoxError>>,
{
    loop {
        let now = Instant::now();
        let next = core.next(now);
        if now < next {
            // Whichever is first.
            let _ = timeout_at(next, core.news.notified()).await;
        }
        if core.begin(Instant::now()) {
            let fetched = within(&core, &mut fetcher).await;
            // What panics is somebody else's code, who watches: keys are still fetched, and those who wait are told.
            let _ = catch_unwind(AssertUnwindSafe(|| core.end(Instant::now(), fetched)));
            core.tell_ended();
        }
    }
}

/// One fetch, in the time that it has: clients of this crate know it, and any other is dropped. A client that panics has failed.
async fn within<S, B>(core: &Core, fetcher: &mut Fetcher<S>) -> Result<Fetched, Error>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Error: Into<BoxError>>,
{
    let until = Instant::now() + core.settings.timeout.min(LONGEST);
    let mut fetch = pin!(fetcher.fetch());
    let guarded = poll_fn(|cx| {
        let poll = || scope::poll(Some(until), || fetch.as_mut().poll(cx));
        let polled = catch_unwind(AssertUnwindSafe(poll));
        polled.unwrap_or_else(|_| std::task::Poll::Ready(Err(NotKeys::Panicked.into())))
    });
    timeout_at(until, guarded).await.unwrap_or_else(|_| Err(NotKeys::TimedOut.into()))
}
