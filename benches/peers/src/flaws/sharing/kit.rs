//! A backend, and callers who wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content};

/// What it does with each call.
#[derive(Clone, Copy)]
pub(super) enum Does {
    Takes(Duration),
    Fails,
}

/// Counts what it did.
#[derive(Clone)]
pub(super) struct Backend {
    does: Does,
    done: Arc<AtomicU32>,
}

impl Backend {
    pub(super) fn new(does: Does) -> Self {
        Self { does, done: Arc::default() }
    }

    pub(super) fn done(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Service<Request<Content>> for Backend {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        let Self { does, done } = self.clone();
        Box::pin(async move {
            done.fetch_add(1, Ordering::Relaxed);
            match does {
                Does::Takes(time) => {
                    sleep(time).await;
                    Ok(Response::default())
                }
                Does::Fails => Err(Broken),
            }
        })
    }
}

pub(super) const TAKES: Duration = Duration::from_millis(200);

pub(super) trait Caller:
    Service<Request<Content>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static
{
}

impl<S> Caller for S where
    S: Service<Request<Content>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static
{
}

pub(super) fn request(method: Method) -> Request<Content> {
    Request::builder().method(method).uri("http://example.test/").body(Content::default()).expect("valid")
}

/// How often a call is polled until it is answered.
pub(super) async fn polls(service: impl Caller) -> u32 {
    let (mut polls, mut call) = (0, Box::pin(service.oneshot(request(Method::GET))));
    let answer = std::future::poll_fn(|cx| {
        polls += 1;
        call.as_mut().poll(cx)
    });
    assert!(answer.await.is_ok(), "there is an answer in the end");
    polls
}

/// How often one who waits for the call of another is polled.
pub(super) async fn polls_beside(service: impl Caller, backend: &Backend) -> u32 {
    let first = tokio::spawn(service.clone().oneshot(request(Method::GET)));
    has_done(backend, 1).await;
    let polls = polls(service).await;
    assert!(first.await.expect("no panic").is_ok() && backend.done() == 1, "they share one call");
    polls
}

async fn has_done(backend: &Backend, calls: u32) {
    while backend.done() < calls {
        yield_now().await;
    }
}

/// Five share a call, and the one who began it goes: how many of the others are answered.
pub(super) async fn without_the_first(service: impl Caller, backend: &Backend) -> usize {
    let first = tokio::spawn(service.clone().oneshot(request(Method::GET)));
    has_done(backend, 1).await;
    let (mut others, began) = (JoinSet::new(), Arc::new(AtomicU32::new(0)));
    for _ in 0..4 {
        let (mut call, began) = (Box::pin(service.clone().oneshot(request(Method::GET))), Arc::clone(&began));
        others.spawn(async move {
            let mut polled = false;
            let answer = std::future::poll_fn(|cx| {
                let polled_before = std::mem::replace(&mut polled, true);
                began.fetch_add(u32::from(!polled_before), Ordering::Relaxed);
                call.as_mut().poll(cx)
            });
            timeout(5 * TAKES, answer).await.is_ok_and(|answer| answer.is_ok())
        });
    }
    // On one thread each has been polled to its end when it is counted.
    while began.load(Ordering::Relaxed) < 4 {
        yield_now().await;
    }
    first.abort();
    others.join_all().await.into_iter().filter(|answered| *answered).count()
}

/// How often a POST is done that fails.
pub(super) async fn posts(service: impl Caller, backend: &Backend) -> u32 {
    let _ = timeout(Duration::from_millis(300), service.oneshot(request(Method::POST))).await;
    backend.done()
}

pub(super) const CONNECTS: Duration = Duration::from_millis(100);

/// Two wait at once for what this gets: how many have it within a second.
pub(super) async fn served<F: Future<Output = bool> + Send + 'static>(get: impl Fn() -> F) -> usize {
    let mut both = JoinSet::new();
    for _ in 0..2 {
        both.spawn(timeout(10 * CONNECTS, get()));
    }
    both.join_all().await.into_iter().filter(|served| matches!(served, Ok(true))).count()
}

/// Fails once to become ready, and is well from then on. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct FailsOnce(Arc<AtomicU32>);

impl Service<Request<Content>> for FailsOnce {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let is_first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        Poll::Ready(if is_first { Err(Broken) } else { Ok(()) })
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        Box::pin(async { Ok(Response::default()) })
    }
}

/// Twenty calls, each by a task of its own, one after the other: how many are answered.
pub(super) async fn answered(service: impl Caller) -> usize {
    let mut answered = 0;
    for _ in 0..20 {
        let call = tokio::spawn(service.clone().oneshot(request(Method::GET)));
        answered += usize::from(call.await.expect("no panic").is_ok());
    }
    answered
}

/// A rate that is not met.
pub(super) const RATE: u32 = 1_000;

/// Two clones become ready, and then nothing comes of it: whether another one is answered within a minute.
pub(super) async fn beside_two_idle(service: impl Caller) -> bool {
    let (mut one, mut other) = (service.clone(), service.clone());
    assert!(one.ready().await.is_ok() && other.ready().await.is_ok(), "there is room for two");
    let answer = timeout(Duration::from_secs(60), service.oneshot(request(Method::GET))).await;
    drop((one, other));
    matches!(answer, Ok(Ok(_)))
}

pub(super) fn said(answered: bool) -> &'static str {
    if answered { "yes" } else { "no" }
}
