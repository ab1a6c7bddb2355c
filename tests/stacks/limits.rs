//! An outer limit and an inner one, and between them what people do to futures. Whatever it is, both hold, to the
//! millisecond, and nobody sleeps for ever.

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use http_body_util::Empty;
use stonework::Error;
use stonework::base::{BoxError, Delivery, Elapsed, Phase};
use stonework::testing::{Scripted, Step};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::Instant;
use tower::buffer::Buffer;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::kit::{MS, Never, retry, virtually};

type Boxed = BoxCloneSyncService<(), &'static str, BoxError>;
type Work = Pin<Box<dyn Future<Output = Result<&'static str, BoxError>> + Send>>;

#[derive(Clone, Copy, Debug)]
enum Limit {
    Attempt,
    Call,
}

impl Limit {
    fn over<S>(self, limit: Duration, inner: S) -> Boxed
    where
        S: Service<(), Response = &'static str> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + Send,
        S::Future: Send,
    {
        match self {
            Self::Attempt => {
                BoxCloneSyncService::new(AttemptTimeoutLayer::new(limit).layer(inner).map_err(Into::into))
            }
            Self::Call => BoxCloneSyncService::new(TimeoutLayer::new(limit).layer(inner).map_err(Into::into)),
        }
    }
}

/// Every pair of limits, over a service that is never ready and over one that never answers, with the inner limit
/// earlier than the outer one and later: `check` says how long it takes.
fn for_all(
    between: impl Fn(Boxed) -> Boxed + Clone + Send + 'static,
    ends: impl Fn(Duration, Duration) -> (Duration, Duration),
) {
    for (inner, outer) in [(30 * MS, 100 * MS), (100 * MS, 30 * MS), (50 * MS, 50 * MS)] {
        for (inner_limit, outer_limit) in [
            (Limit::Attempt, Limit::Attempt),
            (Limit::Attempt, Limit::Call),
            (Limit::Call, Limit::Attempt),
            (Limit::Call, Limit::Call),
        ] {
            for bottom in [Never::Ready, Never::Answers] {
                let between = between.clone();
                let (error, elapsed) = virtually(async move {
                    let stack = outer_limit.over(outer, between(inner_limit.over(inner, bottom)));
                    let start = Instant::now();
                    let error = stack.oneshot(()).await.expect_err("nothing answers");
                    (Error::wrap(error), start.elapsed())
                });
                let what =
                    format!("{outer:?} {outer_limit:?} over {inner:?} {inner_limit:?} over {bottom:?}");
                assert!(error.is_timeout(), "{what}: {error:#}");
                let granted = error.cause::<Elapsed>().and_then(Elapsed::granted);
                assert_eq!((elapsed, granted), (ends(inner, outer).0, Some(ends(inner, outer).1)), "{what}");
            }
        }
    }
}

/// What a caller does with the future of a call, as a service.
fn odd(treat: fn(Work) -> Work) -> impl Fn(Boxed) -> Boxed + Clone + Send + 'static {
    move |inner| BoxCloneSyncService::new(service_fn(move |()| treat(Box::pin(inner.clone().oneshot(())))))
}

fn earlier(inner: Duration, outer: Duration) -> (Duration, Duration) {
    (inner.min(outer), inner.min(outer))
}

#[test]
fn limits_hold_with_nothing_between() {
    for_all(|inner| inner, earlier);
    for_all(odd(|work| work), earlier);
}

/// Dropped by `select!` in the very poll in which it was first pending.
fn dropped_at_once(work: Work) -> Work {
    Box::pin(async move {
        tokio::select! {
            biased;
            answer = work => return answer,
            () = ready(()) => {}
        }
        pending().await
    })
}

#[test]
fn limits_hold_when_select_drops_the_inner_one_in_the_poll_that_armed_it() {
    for_all(odd(dropped_at_once), |_, outer| (outer, outer));
}

#[test]
fn limits_hold_when_the_inner_one_is_dropped_later_and_the_work_goes_on() {
    // At 10 ms the inner limit is dropped; what replaces it takes 10 ms more.
    let replaced = |work: Work| -> Work {
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = work => answer,
                () = tokio::time::sleep(10 * MS) => {
                    tokio::time::sleep(10 * MS).await;
                    Err(Elapsed::new(Phase::Response, 20 * MS).into())
                }
            }
        })
    };
    for_all(odd(replaced), |_, _| (20 * MS, 20 * MS));
}

/// Does something to a future that goes on afterwards.
type Handling = fn(Work) -> Work;

const KEPT: [(&str, Handling); 6] = [
    ("nothing", |work| work),
    ("polled once and then spawned", spawned_after_a_poll),
    ("spawned at once", spawned),
    ("in FuturesUnordered", unordered),
    ("polled with a waker first that wakes nobody", in_passing),
    ("polled with a waker afterwards that wakes nobody", in_passing_afterwards),
];

async fn poll_once(work: &mut Work) {
    std::future::poll_fn(|cx| {
        polled_once_with(work, cx);
        Poll::Ready(())
    })
    .await;
}

fn spawned_after_a_poll(mut work: Work) -> Work {
    Box::pin(async move {
        poll_once(&mut work).await;
        tokio::spawn(work).await?
    })
}

fn spawned(work: Work) -> Work {
    Box::pin(async move { tokio::spawn(work).await? })
}

fn unordered(work: Work) -> Work {
    Box::pin(async move {
        let mut all: FuturesUnordered<_> = [work].into_iter().collect();
        all.next().await.expect("one")
    })
}

fn in_passing(mut work: Work) -> Work {
    Box::pin(async move {
        polled_once_with(&mut work, &mut Context::from_waker(Waker::noop()));
        work.await
    })
}

fn in_passing_afterwards(mut work: Work) -> Work {
    Box::pin(async move {
        poll_once(&mut work).await;
        polled_once_with(&mut work, &mut Context::from_waker(Waker::noop()));
        work.await
    })
}

fn polled_once_with(work: &mut Work, cx: &mut Context<'_>) {
    assert!(work.as_mut().poll(cx).is_pending());
}

#[test]
fn limits_hold_when_the_inner_one_is_polled_once_and_then_spawned() {
    for_all(odd(spawned_after_a_poll), earlier);
}

#[test]
fn limits_hold_when_the_inner_one_is_spawned_at_once() {
    for_all(odd(spawned), earlier);
}

#[test]
fn limits_hold_inside_futures_unordered() {
    for_all(odd(unordered), earlier);
}

#[test]
fn limits_hold_when_the_inner_one_is_polled_with_a_waker_that_wakes_nobody() {
    for_all(odd(in_passing), earlier);
    for_all(odd(in_passing_afterwards), earlier);
}

#[test]
fn limits_hold_behind_towers_buffer() {
    for_all(|inner| BoxCloneSyncService::new(Buffer::new(inner, 4)), earlier);
}

#[expect(clippy::async_yields_async, reason = "the unfinished work is what each task hands on")]
#[test]
fn limits_hold_when_the_whole_call_wanders_from_task_to_task() {
    for (inner, outer) in [(30 * MS, 100 * MS), (100 * MS, 30 * MS)] {
        for bottom in [Never::Ready, Never::Answers] {
            let elapsed = virtually(async {
                let stack = Limit::Call.over(outer, Limit::Attempt.over(inner, bottom));
                let start = Instant::now();
                let mut work: Work = Box::pin(stack.oneshot(()));
                for _ in 0..3 {
                    let rest = tokio::spawn(async move {
                        let bounded = tokio::time::timeout(7 * MS, &mut work).await;
                        assert!(bounded.is_err());
                        work
                    });
                    work = rest.await.expect("no panic");
                }
                let error = tokio::spawn(work).await.expect("no panic").expect_err("nothing answers");
                assert!(Error::wrap(error).is_timeout());
                start.elapsed()
            });
            assert_eq!(elapsed, inner.min(outer), "{inner:?} in {outer:?}, never {bottom:?}");
        }
    }
}

#[test]
fn limits_hold_when_several_are_joined_under_one() {
    for outer in [25 * MS, 100 * MS] {
        for limit in [Limit::Attempt, Limit::Call] {
            let ends = virtually(async move {
                let start = Instant::now();
                let joined = service_fn(move |()| async move {
                    let one = |limited: Duration| async move {
                        let error = limit.over(limited, Never::Answers).oneshot(()).await.unwrap_err();
                        assert!(Error::wrap(error).is_timeout());
                        start.elapsed()
                    };
                    Ok::<_, BoxError>(tokio::join!(one(10 * MS), one(30 * MS), one(20 * MS)))
                });
                // The inner limits are cut to the outer one and speak first, so that the join is answered.
                TimeoutLayer::new(outer).layer(joined).oneshot(()).await.expect("the inner ones spoke")
            });
            assert_eq!(ends, (10 * MS, outer.min(30 * MS), 20 * MS), "{limit:?} in {outer:?}");
        }
    }
}

#[test]
fn the_outer_limit_holds_when_those_joined_under_it_never_end() {
    let elapsed = virtually(async {
        let joined = service_fn(|()| async {
            let limited = Limit::Attempt.over(10 * MS, Never::Answers);
            let (_, never) = tokio::join!(limited.oneshot(()), pending::<()>());
            Ok::<_, BoxError>(never)
        });
        let start = Instant::now();
        let error = TimeoutLayer::new(50 * MS).layer(joined).oneshot(()).await.unwrap_err();
        assert_eq!((error.is_timeout(), error.delivery()), (true, Delivery::Unknown));
        start.elapsed()
    });
    assert_eq!(elapsed, 50 * MS);
}

#[test]
fn a_limit_that_ran_out_in_the_answer_names_all_of_its_time_also_what_readiness_took() {
    let (error, elapsed) = virtually(async {
        let bottom: Scripted<(), &'static str> = Scripted::script(|_, ()| Step::Hang).stall_ready(1, 20 * MS);
        let start = Instant::now();
        let error = AttemptTimeoutLayer::new(50 * MS).layer(bottom).oneshot(()).await.unwrap_err();
        (error, start.elapsed())
    });
    let cause = error.cause::<Elapsed>().expect("a limit");
    assert_eq!((elapsed, cause.granted(), cause.phase()), (50 * MS, Some(50 * MS), Phase::Response));
}

/// Fails at once, and succeeds after a pause of 30 ms.
fn after_a_pause() -> Boxed {
    let bottom: Scripted<Request<Empty<Bytes>>, Response<Empty<Bytes>>> =
        Scripted::script(|call, _| match call {
            1 => Step::fail("broken"),
            _ => Step::Answer(Response::new(Empty::new())),
        });
    let client = retry(30 * MS).layer(bottom).map_response(|_| "done").map_err(BoxError::from);
    BoxCloneSyncService::new(client.map_request(|()| Request::new(Empty::new())))
}

#[test]
fn a_pause_between_attempts_ends_on_time_whatever_is_done_to_its_future() {
    for (name, treat) in KEPT {
        for limit in [Limit::Attempt, Limit::Call] {
            let (answer, elapsed) = virtually(async move {
                let start = Instant::now();
                let answer = limit.over(100 * MS, odd(treat)(after_a_pause())).oneshot(()).await;
                (answer.expect("the second attempt"), start.elapsed())
            });
            assert_eq!((answer, elapsed), ("done", 30 * MS), "{name}, {limit:?}");
        }
    }
}

#[test]
fn a_pause_behind_towers_buffer_ends_on_time() {
    let elapsed = virtually(async {
        let start = Instant::now();
        let stack = Limit::Call.over(100 * MS, Buffer::new(after_a_pause(), 4));
        assert_eq!(stack.oneshot(()).await.expect("the second attempt"), "done");
        start.elapsed()
    });
    assert_eq!(elapsed, 30 * MS);
}

#[test]
fn a_limit_holds_when_select_drops_a_pause_in_the_poll_that_armed_it() {
    let elapsed = virtually(async move {
        let start = Instant::now();
        let error =
            Limit::Call.over(100 * MS, odd(dropped_at_once)(after_a_pause())).oneshot(()).await.unwrap_err();
        assert!(Error::wrap(error).is_timeout());
        start.elapsed()
    });
    assert_eq!(elapsed, 100 * MS);
}

#[test]
fn a_limit_holds_beside_work_that_uses_up_all_that_tokio_lets_a_task_do_at_a_time() {
    virtually(async {
        for bottom in [Never::Ready, Never::Answers] {
            let stack = Limit::Call.over(50 * MS, Limit::Attempt.over(30 * MS, bottom));
            let mut call = std::pin::pin!(stack.oneshot(()));
            let mut greedy = std::pin::pin!(async {
                loop {
                    tokio::task::coop::consume_budget().await;
                }
            });
            // Each poll of the task begins with the greedy one, so that no budget is left for the limit.
            let mut both = async || {
                std::future::poll_fn(|cx| {
                    assert!(greedy.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(call.as_mut().poll(cx))
                })
                .await
            };
            assert!(both().await.is_pending());
            tokio::time::advance(30 * MS).await;
            assert!(matches!(both().await, std::task::Poll::Ready(Err(_))), "never {bottom:?}");
        }
    });
}
