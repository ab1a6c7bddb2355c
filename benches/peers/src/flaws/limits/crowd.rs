//! Callers who ask again and again, and services that change.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content};

pub(super) const SLOW: Duration = Duration::from_millis(150);

/// Ten callers, each with one call after the other, for three seconds: how many are answered.
pub(super) async fn callers<S>(service: S) -> usize
where
    S: Service<Request<()>, Error: Send, Future: Send, Response: Send> + Clone + Send + 'static,
{
    let (start, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..10 {
        let service = service.clone();
        callers.spawn(async move {
            let mut answered = 0;
            while start.elapsed() < 20 * SLOW {
                let call = service.clone().oneshot(Request::new(()));
                let rest = (20 * SLOW).saturating_sub(start.elapsed());
                answered += usize::from(matches!(timeout(rest, call).await, Ok(Ok(_))));
                // Who is refused at once asks again, and not without end.
                yield_now().await;
            }
            answered
        });
    }
    callers.join_all().await.into_iter().sum()
}

/// Answers after so many milliseconds, which change; or never.
#[derive(Clone)]
pub(super) struct Turns(Arc<AtomicU64>);

const NEVER: u64 = u64::MAX;

impl Turns {
    pub(super) fn new(takes: Duration) -> Self {
        let turns = Self(Arc::default());
        turns.take(takes);
        turns
    }

    fn take(&self, time: Duration) {
        self.0.store(time.as_millis().try_into().expect("a short time"), Ordering::Relaxed);
    }
}

impl Service<Request<()>> for Turns {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let takes = self.0.load(Ordering::Relaxed);
        Box::pin(async move {
            if takes == NEVER {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(takes)).await;
            Ok(Response::default())
        })
    }
}

/// One of them, which is asked for one thing after the other.
pub(super) const ALONE: usize = 500;

pub(super) async fn one_by_one<S: Service<Request<()>> + Clone>(service: &S, calls: usize) {
    for _ in 0..calls {
        assert!(service.clone().oneshot(Request::new(())).await.is_ok(), "it is well");
    }
}

/// It is well for a while, and then hangs: ten callers, each of whom gives up after 50 ms and asks again, for three seconds.
pub(super) async fn given_up<S>(service: S, turns: &Turns)
where
    S: Service<Request<()>, Error: Send, Future: Send, Response: Send> + Clone + Send + 'static,
{
    one_by_one(&service, ALONE).await;
    turns.0.store(NEVER, Ordering::Relaxed);
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let service = service.clone();
        callers.spawn(async move {
            for _ in 0..60 {
                let given_up = timeout(SLOW / 3, service.clone().oneshot(Request::new(()))).await;
                if given_up.is_ok() {
                    // It was refused at once: it comes back when the others do.
                    sleep(SLOW / 3).await;
                }
            }
        });
    }
    callers.join_all().await;
}

pub(super) const BEFORE: Duration = Duration::from_millis(2);
pub(super) const AFTER: Duration = Duration::from_millis(20);

/// What took 2 ms takes 20 ms from then on, however few ask: ten callers for so long.
pub(super) async fn shifted<S>(service: S, turns: &Turns, length: Duration)
where
    S: Service<Request<()>, Error: Send, Future: Send, Response: Send> + Clone + Send + 'static,
{
    one_by_one(&service, 100).await;
    turns.take(AFTER);
    let (start, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..10 {
        let service = service.clone();
        callers.spawn(async move {
            while start.elapsed() < length {
                if service.clone().oneshot(Request::new(())).await.is_err() {
                    sleep(AFTER).await;
                }
            }
        });
    }
    callers.join_all().await;
}
