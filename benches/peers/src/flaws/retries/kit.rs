//! Services that fail, and what is counted of those who come back.

use std::collections::HashSet;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content, plain};

/// Fails each call at once, and notes which it was, and when it came again.
#[derive(Clone, Default)]
pub(super) struct Down(Arc<Mutex<Came>>);

impl Down {
    /// It fails each call at first only.
    pub(super) fn at_first() -> Self {
        Self(Arc::new(Mutex::new(Came { answers_again: true, ..Came::default() })))
    }
}

/// One call that fails each time: the longest time from one of its repetitions to the next.
pub(super) async fn longest_pause(service: impl Client, down: &Down) -> Duration {
    assert!(service.oneshot(numbered(0)).await.is_err(), "it is down");
    let again = &down.0.lock().expect("nobody panics with it").again;
    again.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
}

#[derive(Default)]
struct Came {
    answers_again: bool,
    calls: HashSet<u32>,
    again: Vec<Instant>,
}

#[derive(Clone, Copy)]
struct Number(u32);

impl Service<Request<Content>> for Down {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Ready<Result<Response<Content>, Broken>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        let mut came = self.0.lock().expect("nobody panics with it");
        let Number(call) = request.extensions().get().copied().expect("calls are numbered");
        let is_again = !came.calls.insert(call);
        if is_again {
            came.again.push(Instant::now());
        }
        ready(if is_again && came.answers_again { Ok(Response::default()) } else { Err(Broken) })
    }
}

/// What is asked of: clones share what there is to share.
pub(super) trait Client:
    Service<Request<Content>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static
{
}

impl<S> Client for S where
    S: Service<Request<Content>, Response: Send, Error: Send, Future: Send> + Clone + Send + 'static
{
}

fn numbered(call: u32) -> Request<Content> {
    let mut request = plain();
    request.extensions_mut().insert(Number(call));
    request
}

const AT_ONCE: u32 = 200;
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);
const BUSIEST: Duration = Duration::from_millis(50);

/// So many calls at once, each repeated once: how many come back within the busiest time, and how many at all.
pub(super) async fn together(service: impl Client, down: &Down) -> (usize, usize) {
    let mut calls = JoinSet::new();
    for call in 0..AT_ONCE {
        calls.spawn(service.clone().oneshot(numbered(call)));
    }
    while let Some(ended) = calls.join_next().await {
        assert!(ended.expect("no panic").is_err(), "it is down");
    }
    let came = &mut down.0.lock().expect("nobody panics with it").again;
    came.sort();
    let within = |(from, first): (usize, &Instant)| {
        came[from..].iter().take_while(|time| **time - *first < BUSIEST).count()
    };
    (came.iter().enumerate().map(within).max().unwrap_or_default(), came.len())
}

pub(super) const CALLS: u32 = 1_000;

/// So many calls, one after the other: how many requests it gets, and how long that took.
pub(super) async fn down(service: impl Client, down: &Down) -> (usize, Duration) {
    let start = Instant::now();
    for call in 0..CALLS {
        // Whether it is answered is not what is asked here.
        let _ = service.clone().oneshot(numbered(call)).await;
    }
    let came = down.0.lock().expect("nobody panics with it");
    (came.calls.len() + came.again.len(), start.elapsed())
}

/// Its first call is answered after a while, and all others fail at once.
#[derive(Clone, Default)]
pub(super) struct SlowThenBroken(Arc<AtomicU32>);

impl Service<Request<Content>> for SlowThenBroken {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        let is_first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            if !is_first {
                return Err(Broken);
            }
            sleep(Duration::from_millis(100)).await;
            Ok(Response::default())
        })
    }
}

/// Whether the caller is answered, and how many attempts there were.
pub(super) async fn answered(service: impl Service<Request<Content>>, below: &SlowThenBroken) -> (bool, u32) {
    let is_answered = service.oneshot(plain()).await.is_ok();
    (is_answered, below.0.load(Ordering::Relaxed))
}

pub(super) fn told(is_answered: bool, attempts: u32) -> String {
    format!("{}, after {attempts} attempts", if is_answered { "the answer" } else { "an error" })
}

/// The longest that a pause is to be.
pub(super) const CAP: Duration = Duration::from_millis(100);

/// How many pauses are longer, and how long the longest of all is.
pub(super) fn above_cap(pauses: impl Iterator<Item = Duration>) -> (usize, Duration) {
    pauses.fold((0, Duration::ZERO), |(longer, longest), pause| {
        (longer + usize::from(pause > CAP), longest.max(pause))
    })
}
