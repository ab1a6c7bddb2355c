//! A service that becomes slow for everybody, and calls to it that are sent twice where one is slow.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content, plain};

/// Answers after 10 ms, and when it has become slow after 100 ms; counts its requests.
#[derive(Clone, Default)]
pub(super) struct Slows {
    is_slow: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
}

impl Service<Request<Content>> for Slows {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let takes = if self.is_slow.load(Ordering::Relaxed) { 10 * EACH } else { EACH };
        Box::pin(async move {
            sleep(takes).await;
            Ok(Response::default())
        })
    }
}

const EACH: Duration = Duration::from_millis(10);
/// For so long it is remembered how long calls took.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
pub(super) const CALLS: usize = 500;
/// Those of a window and a half.
const QUICK: usize = 1_500;

/// Calls for a window and a half, while they take 10 ms, and then so many that take ten times as long: how many requests these are.
pub(super) async fn slower<S>(mut hedge: S, below: &Slows) -> usize
where
    S: Service<Request<Content>, Response: Send + 'static, Error: Send + 'static, Future: Send + 'static>,
{
    paced(&mut hedge, QUICK).await;
    below.is_slow.store(true, Ordering::Relaxed);
    let before = below.requests.load(Ordering::Relaxed);
    paced(&mut hedge, CALLS).await;
    below.requests.load(Ordering::Relaxed) - before
}

/// The same, but there is an hour without a call before one comes that is slow: how many requests that one is.
pub(super) async fn after_a_quiet_hour<S>(mut hedge: S, below: &Slows) -> usize
where
    S: Service<Request<Content>, Response: Send + 'static, Error: Send + 'static, Future: Send + 'static>,
{
    paced(&mut hedge, QUICK).await;
    below.is_slow.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(60 * 60)).await;
    let before = below.requests.load(Ordering::Relaxed);
    paced(&mut hedge, 1).await;
    below.requests.load(Ordering::Relaxed) - before
}

/// So many calls, one each 10 ms, whether the one before has ended or not.
async fn paced<S>(hedge: &mut S, calls: usize)
where
    S: Service<Request<Content>, Response: Send + 'static, Error: Send + 'static, Future: Send + 'static>,
{
    let mut under_way = JoinSet::new();
    for _ in 0..calls {
        under_way.spawn(begun(hedge).await);
        sleep(EACH).await;
    }
    assert!(under_way.join_all().await.into_iter().all(|ended| ended.is_ok()), "each is answered");
}

async fn begun<S: Service<Request<Content>>>(hedge: &mut S) -> S::Future {
    match hedge.ready().await {
        Ok(hedge) => hedge.call(plain()),
        Err(_) => panic!("it is always ready"),
    }
}
