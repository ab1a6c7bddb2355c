//! A backend that does as each request says, and what calls it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;
use tower::{Service, ServiceExt};

use crate::rows::Broken;

/// What the backend is to do with a call.
#[derive(Debug)]
pub(crate) enum Ask {
    Succeed,
    Fail,
    /// Succeed after so long.
    Take(Duration),
    Hang,
    /// End as it is told.
    Wait(oneshot::Receiver<Result<(), Broken>>),
}

/// Counts the calls that reach it.
#[derive(Clone, Default)]
pub(crate) struct Backend {
    reached: Arc<AtomicU32>,
}

impl Backend {
    pub(crate) fn reached(&self) -> u32 {
        self.reached.load(Ordering::Relaxed)
    }

    /// Waits until so many calls have reached it.
    pub(crate) async fn has_reached(&self, calls: u32) {
        for _ in 0..10_000 {
            if self.reached() >= calls {
                return;
            }
            yield_now().await;
        }
        panic!("{} calls reached the backend, and not {calls}", self.reached());
    }
}

impl Service<Ask> for Backend {
    type Response = ();
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<(), Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let reached = Arc::clone(&self.reached);
        Box::pin(async move {
            // Counted when it is polled: a breaker may make the future and then refuse the call.
            reached.fetch_add(1, Ordering::Relaxed);
            match ask {
                Ask::Succeed => Ok(()),
                Ask::Fail => Err(Broken),
                Ask::Take(time) => {
                    sleep(time).await;
                    Ok(())
                }
                Ask::Hang => std::future::pending().await,
                Ask::Wait(told) => told.await.expect("it is told how to end"),
            }
        })
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Good,
    Failed,
    /// By the breaker.
    Refused,
}

/// Tells a breaker's own refusal from the backend's error.
pub(crate) trait Refusal {
    fn refused(&self) -> bool;
}

impl<E> Refusal for tower_resilience_circuitbreaker::CircuitBreakerError<E> {
    fn refused(&self) -> bool {
        self.is_circuit_open()
    }
}

impl<E: Refusal> Refusal for tower_resilience_timelimiter::TimeLimiterError<E> {
    fn refused(&self) -> bool {
        matches!(self, Self::Inner(error) if error.refused())
    }
}

impl Refusal for stonework::Error {
    fn refused(&self) -> bool {
        self.is_circuit_open()
    }
}

impl<E> Refusal for failsafe::Error<E> {
    fn refused(&self) -> bool {
        matches!(self, Self::Rejected)
    }
}

impl<E> Refusal for recloser::Error<E> {
    fn refused(&self) -> bool {
        matches!(self, Self::Rejected)
    }
}

/// A backend behind some breaker: clones share it.
pub(crate) trait Guarded:
    Service<Ask, Response = (), Error: Refusal + Send, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Guarded for S where
    S: Service<Ask, Response = (), Error: Refusal + Send, Future: Send> + Clone + Send + Sync + 'static
{
}

pub(crate) async fn call(service: &impl Guarded, ask: Ask) -> Ended {
    match service.clone().oneshot(ask).await {
        Ok(()) => Ended::Good,
        Err(error) if error.refused() => Ended::Refused,
        Err(_) => Ended::Failed,
    }
}

/// How often a call is polled until it has ended.
pub(crate) async fn polls(service: &impl Guarded, ask: Ask) -> u32 {
    let (mut polls, mut call) = (0, Box::pin(call(service, ask)));
    let ended = std::future::poll_fn(|cx| {
        polls += 1;
        call.as_mut().poll(cx)
    });
    assert_eq!(ended.await, Ended::Good, "the service is well");
    polls
}
