//! Any nesting of limits, in any odd task or combinator: the call ends at the earliest of them or with the answer, and
//! the innermost limit that ran out is the one that speaks.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use http_body_util::Empty;
use proptest::prelude::*;
use stonework::Error;
use stonework::base::{Asked, BoxError, Refuse};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

use crate::kit::{MS, virtually};

type Answer = Response<Empty<Bytes>>;
type Boxed = BoxCloneSyncService<Request<()>, Answer, BoxError>;
type Work = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

/// Refuses in the name of its level.
#[derive(Clone, Debug)]
struct Speaker(usize);

impl Refuse for Speaker {
    fn refuse(&self, _: Asked, _: &Error) -> Response<Bytes> {
        Response::builder().header("speaker", self.0).body(Bytes::new()).expect("a response")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Nothing,
    NoopFirst,
    PolledThenSpawned,
    Select,
    /// Made and called in a task of its own, which knows no deadline.
    Spawned,
    Unordered,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    attempt: bool,
    limit: u32,
    /// What is done to the limit's future by the one above it.
    around: Around,
}

fn level() -> impl Strategy<Value = Level> {
    use Around::{NoopFirst, Nothing, PolledThenSpawned, Select, Spawned, Unordered};
    let around = vec![Nothing, NoopFirst, PolledThenSpawned, Select, Spawned, Unordered];
    (any::<bool>(), 1_u32..60, prop::sample::select(around)).prop_map(|(attempt, limit, around)| Level {
        attempt,
        limit,
        around,
    })
}

fn limited(level: Level, number: usize, inner: Boxed) -> Boxed {
    let (limit, speaker) = (level.limit * MS, Speaker(number));
    if level.attempt {
        let layer = AttemptTimeoutLayer::new(limit).answer_with(speaker);
        BoxCloneSyncService::new(layer.layer(inner).map_response(|answer| answer.map(|_| Empty::new())))
    } else {
        let layer = TimeoutLayer::new(limit).answer_with(speaker);
        BoxCloneSyncService::new(layer.layer(inner).map_response(|answer| answer.map(|_| Empty::new())))
    }
}

fn treated(around: Around, inner: Boxed) -> Boxed {
    BoxCloneSyncService::new(service_fn(move |request| {
        treat(around, Box::pin(inner.clone().oneshot(request)))
    }))
}

fn treat(around: Around, mut work: Work) -> Work {
    Box::pin(async move {
        match around {
            Around::Nothing => work.await,
            Around::NoopFirst => {
                let polled = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                match polled {
                    std::task::Poll::Ready(answer) => answer,
                    std::task::Poll::Pending => work.await,
                }
            }
            Around::PolledThenSpawned => {
                match std::future::poll_fn(|cx| std::task::Poll::Ready(work.as_mut().poll(cx))).await {
                    std::task::Poll::Ready(answer) => answer,
                    std::task::Poll::Pending => tokio::spawn(work).await?,
                }
            }
            Around::Select => tokio::select! {
                answer = work => answer,
                () = pending() => unreachable!("it never ends"),
            },
            Around::Spawned => tokio::spawn(work).await?,
            Around::Unordered => {
                let mut all: FuturesUnordered<_> = [work].into_iter().collect();
                all.next().await.expect("one")
            }
        }
    })
}

/// Who ended it, and when.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Answered,
    Limit(usize),
}

fn observe(levels: &[Level], answers: Option<u32>) -> (End, u32) {
    virtually(async {
        let bottom = service_fn(move |_: Request<()>| async move {
            match answers {
                Some(ms) => tokio::time::sleep(ms * MS).await,
                None => pending().await,
            }
            Ok::<_, BoxError>(Response::new(Empty::new()))
        });
        // Level 0 is the outermost.
        let stack = levels
            .iter()
            .enumerate()
            .rev()
            .fold(BoxCloneSyncService::new(bottom), |inner, (number, level)| {
                treated(level.around, limited(*level, number, inner))
            });
        let start = Instant::now();
        let answer = stack.oneshot(Request::new(())).await.expect("limits answer here");
        let speaker = answer.headers().get("speaker").map(|name| name.to_str().expect("a number"));
        let end = speaker.map_or(End::Answered, |name| End::Limit(name.parse().expect("a number")));
        (end, u32::try_from(start.elapsed().as_millis()).expect("short"))
    })
}

/// When it has to end, and who may speak: the innermost first. An inner limit is cut to what the outer ones leave,
/// unless it began in a task of its own.
fn expect(levels: &[Level], answers: Option<u32>) -> (u32, Vec<End>) {
    let mut cut = u32::MAX;
    let mut at = Vec::new();
    for level in levels {
        if level.around == Around::Spawned {
            cut = u32::MAX;
        }
        cut = cut.min(level.limit);
        at.push(cut);
    }
    let end = at.iter().copied().chain(answers).min().expect("a limit");
    let answered = (answers == Some(end)).then_some(End::Answered);
    let limits = (0..levels.len()).rev().filter(|&number| at[number] == end).map(End::Limit);
    (end, answered.into_iter().chain(limits).collect())
}

proptest! {
    #[test]
    fn a_call_ends_at_the_earliest_limit_or_with_the_answer_and_the_innermost_speaks(
        levels in prop::collection::vec(level(), 1..5),
        answers in prop::option::weighted(0.7, 1_u32..60),
    ) {
        let (end, elapsed) = observe(&levels, answers);
        let (expected, mut speakers) = expect(&levels, answers);
        prop_assert_eq!(elapsed, expected, "{:?} spoke", end);
        // Two tasks that are woken in the same millisecond run in any order: there, any of those that ran out speaks.
        let tasks = [Around::PolledThenSpawned, Around::Spawned];
        if !levels.iter().any(|level| tasks.contains(&level.around)) {
            speakers.truncate(1);
        }
        prop_assert!(speakers.contains(&end), "{:?} spoke, and not one of {:?}", end, speakers);
    }
}
