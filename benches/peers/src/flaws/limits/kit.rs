//! A backend whose answers stay open, and ways to ask once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use crate::rows::Broken;

/// A body that never ends, unless it has ended already.
pub(super) struct Open {
    ended: bool,
}

impl Body for Open {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended { Poll::Ready(None) } else { Poll::Pending }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// What it does with a call.
#[derive(Clone, Copy)]
pub(super) enum Does {
    /// Answers at once, with a body that does not end.
    Answers,
    Hangs,
    /// Answers after so long, with a body that has ended.
    Takes(Duration),
}

/// Counts the calls that reach it.
#[derive(Clone)]
pub(super) struct Backend {
    does: Does,
    reached: Arc<AtomicU32>,
}

impl Backend {
    pub(super) fn new(does: Does) -> Self {
        Self { does, reached: Arc::default() }
    }

    pub(super) fn reached(&self) -> u32 {
        self.reached.load(Ordering::Relaxed)
    }
}

impl Service<Request<()>> for Backend {
    type Response = Response<Open>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Open>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let Self { does, reached } = self.clone();
        Box::pin(async move {
            reached.fetch_add(1, Ordering::Relaxed);
            match does {
                Does::Answers => Ok(Response::new(Open { ended: false })),
                Does::Hangs => std::future::pending().await,
                Does::Takes(time) => {
                    sleep(time).await;
                    Ok(Response::new(Open { ended: true }))
                }
            }
        })
    }
}

/// Polls it once. It is dropped if it is not ready.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The answer, if there is one at once.
pub(super) fn ask<S: Service<Request<()>>>(service: &mut S) -> Option<S::Response> {
    now(async { service.ready().await.ok()?.call(Request::new(())).await.ok() }).flatten()
}

/// 20 calls to each of two services, in turn: how many are answered.
pub(super) fn answered<S: Service<Request<()>>>(mut services: [S; 2]) -> usize {
    (0..20)
        .flat_map(|_| services.each_mut().map(|service| ask(service).is_some()))
        .filter(|answered| *answered)
        .count()
}

/// 5 calls to each of two services, in turn, none of which ends: how many reach the backend.
pub(super) fn in_flight<S: Service<Request<()>>>(mut services: [S; 2], backend: &Backend) -> u32 {
    let mut calls: Vec<_> = Vec::new();
    for _ in 0..5 {
        for service in &mut services {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) {
                let mut call = Box::pin(service.call(Request::new(())));
                let _ = call.as_mut().poll(&mut cx);
                calls.push(call);
            }
        }
    }
    backend.reached()
}

/// Three calls, whose answers are kept open: how many are answered.
pub(super) fn streams<S: Service<Request<()>>>(mut service: S) -> usize {
    let answers: Vec<_> = (0..3).filter_map(|_| ask(&mut service)).collect();
    answers.len()
}

/// A call that has begun, and is not polled.
async fn begun<S: Service<Request<()>>>(service: &mut S) -> S::Future {
    match service.ready().await {
        Ok(service) => service.call(Request::new(())),
        Err(_) => panic!("it does not fail"),
    }
}

/// One at a time. While there is one call, the service is asked in vain; when that has ended, 10000 times by a task that does not yield,
/// one after the other: how many are not answered.
pub(super) async fn shed<S: Service<Request<()>> + Clone>(mut service: S) -> usize {
    let held = begun(&mut service.clone()).await;
    assert!(ask(&mut service).is_none(), "there is no room");
    drop(held);
    let mut shed = 0;
    for _ in 0..10_000 {
        let ready = service.ready().await;
        let Ok(ready) = ready else { panic!("it does not fail") };
        shed += usize::from(ready.call(Request::new(())).await.is_err());
    }
    shed
}

/// One at a time. While there is one call, a clone is asked in vain, and is then idle. When that call has ended, another clone is asked
/// 100 times: how many are answered while the idle one is there, and when it is not.
pub(super) async fn beside_an_idle_one<S: Service<Request<()>> + Clone>(service: S) -> [usize; 2] {
    let held = begun(&mut service.clone()).await;
    let (mut idle, mut busy) = (service.clone(), service);
    assert!(ask(&mut idle).is_none(), "there is no room");
    drop(held);
    let mut answered = || (0..100).filter(|_| ask(&mut busy).is_some()).count();
    let beside = answered();
    drop(idle);
    [beside, answered()]
}

/// A call, four fifths of a period of 500 ms without one, and then as many as are answered, for another two fifths. The most that
/// were answered in less than one period, as the caller sees it.
pub(super) async fn around_the_boundary<S: Service<Request<()>>>(mut service: S) -> (usize, Duration) {
    let start = Instant::now();
    let mut answered = Vec::new();
    while start.elapsed() < PERIOD * 6 / 5 {
        let before = Instant::now();
        if ask(&mut service).is_some() {
            answered.push((before, Instant::now()));
        } else {
            sleep(Duration::from_millis(1)).await;
        }
        if answered.len() == 1 {
            sleep(PERIOD * 4 / 5).await;
        }
    }
    let mut most = (0, Duration::ZERO);
    for (from, (before, _)) in answered.iter().enumerate() {
        let within =
            answered[from..].iter().map(|(_, after)| *after - *before).take_while(|took| *took < PERIOD);
        let (calls, took) = within.fold((0, Duration::ZERO), |(calls, _), took| (calls + 1, took));
        most = most.max((calls, took));
    }
    most
}

pub(super) const PERIOD: Duration = Duration::from_millis(500);
/// In each [`PERIOD`].
pub(super) const CALLS: u32 = 10;

/// One call waits for the quota of one each 20 ms; others ask again and again, and give up at once. When the one is answered, how many
/// of the others were before it.
pub(super) async fn overtaken<S>(service: S) -> (Option<Duration>, u32)
where
    S: Service<Request<()>, Error: Send, Future: Send, Response: Send> + Clone + Send + 'static,
{
    let mut hasty = service.clone();
    assert!(ask(&mut hasty).is_some(), "the first is let in");
    let start = Instant::now();
    let waiting = tokio::spawn(service.oneshot(Request::new(())));
    tokio::task::yield_now().await;
    let mut overtook = 0;
    while !waiting.is_finished() {
        overtook += u32::from(ask(&mut hasty).is_some());
        tokio::task::yield_now().await;
    }
    let answer = waiting.await.expect("no panic");
    (answer.is_ok().then(|| start.elapsed()), overtook)
}

/// 30 calls at once wait for a quota of one each 10 ms: how often they are polled, and how many are answered after one that came later.
pub(super) async fn queued<S>(service: S) -> (u32, usize)
where
    S: Service<Request<()>, Error: Send, Future: Send, Response: Send> + Clone + Send + 'static,
{
    let (polls, mut waiting) = (Arc::new(AtomicU32::new(0)), tokio::task::JoinSet::new());
    for number in 0..30_usize {
        let (polls, mut call) = (Arc::clone(&polls), Box::pin(service.clone().oneshot(Request::new(()))));
        waiting.spawn(async move {
            let answer = std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                call.as_mut().poll(cx)
            });
            (number, answer.await.is_ok())
        });
        tokio::task::yield_now().await;
    }
    let (mut latest, mut late) = (0, 0);
    while let Some(ended) = waiting.join_next().await {
        let (number, answered) = ended.expect("no panic");
        assert!(answered, "there is time enough");
        late += usize::from(number < latest);
        latest = latest.max(number);
    }
    (polls.load(Ordering::Relaxed), late)
}
