//! The script. A case that fails says what it saw; the runner says of which stack.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stonework::base::BoxError;
use stonework::testing::Step;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use crate::kit::{Boxed, Case, Seen, Stack, Wire, call, polled, seen};
use crate::rows::{HEDGE, PAUSE};

const MS: Duration = Duration::from_millis(1);

/// Every case, by the name that a complaint will carry.
macro_rules! cases {
    ($list:ident: $($case:ident),* $(,)?) => {
        pub(crate) fn $list<W: Wire>() -> Vec<(&'static str, Case<W>)> {
            vec![$((stringify!($case), |stack| Box::pin($case::<W>(stack)))),*]
        }
    };
}

cases! {
    all:
    the_first_polls_are_pending,
    readiness_is_asked_again_and_again,
    clones_are_made_and_called_at_every_moment,
    dropped_between_ready_and_call,
    dropped_in_the_middle_of_a_call,
    dropped_before_the_first_poll_of_a_call,
    dropped_while_it_waits_to_become_ready,
    dropped_in_a_pause,
    tried_again_until_it_succeeds,
    asked_a_second_time_beside_the_first,
    readiness_fails,
    readiness_fails_before_the_second_attempt,
    one_place_and_many_users,
    moved_to_another_task_while_it_waits_to_become_ready,
    moved_to_another_task_in_the_middle_of_a_call,
    a_limit_runs_out_in_the_call,
    a_limit_runs_out_before_it_is_ready,
}

// Those in which no call is given up.
cases! {
    without_dropped_calls:
    the_first_polls_are_pending,
    readiness_is_asked_again_and_again,
    clones_are_made_and_called_at_every_moment,
    dropped_between_ready_and_call,
    tried_again_until_it_succeeds,
    readiness_fails,
    readiness_fails_before_the_second_attempt,
    one_place_and_many_users,
    moved_to_another_task_while_it_waits_to_become_ready,
    moved_to_another_task_in_the_middle_of_a_call,
    a_limit_runs_out_before_it_is_ready,
}

cases! {
    detached:
    a_call_goes_on_that_is_dropped_in_the_middle,
    a_call_goes_on_whose_caller_waits_no_longer,
}

fn good<W: Wire>(_: usize) -> Step<W::Bottom> {
    Step::Answer(W::good())
}

/// Polls readiness with a waker that wakes nobody.
fn asked_in_passing<W: Wire>(service: &mut Boxed<W>) -> bool {
    service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready()
}

async fn the_first_polls_are_pending<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.pending_first(2));
    let ready = polled(&mut pin!(std::future::poll_fn(|cx| service.poll_ready(cx)))).await.is_ready();
    assert_eq!(ready, stack.always_ready(), "ready at the first poll");
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good);
    assert_eq!((ledger.calls(), ledger.polls()), (1, 3), "calls and polls of readiness");
    drop(service);
    ledger.assert_settled();
}

async fn readiness_is_asked_again_and_again<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.capacity(1));
    for _ in 0..3 {
        service.ready().await.expect("ready");
        assert_eq!(ledger.reservations_out(), usize::from(!stack.always_ready()), "reservations");
    }
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good);
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good, "the second call");
    drop(service);
    ledger.assert_settled();
}

async fn clones_are_made_and_called_at_every_moment<W: Wire>(stack: Stack<W>) {
    let slow = |_| Step::AnswerAfter(MS, W::good());
    let (mut service, ledger) = stack.over(slow, |strict| strict.pending_first(1));
    let mut never_used = service.clone();
    service.ready().await.expect("ready");
    let mut between = service.clone();
    let first = service.call(W::request());
    let mut after = service.clone();
    let of_clone = between.ready().await.expect("ready").call(W::request());
    let of_clone_of_clone = between.clone().oneshot(W::request());
    let of_later = after.ready().await.expect("ready").call(W::request());
    never_used.ready().await.expect("ready");
    drop(never_used);
    let again = service.ready().await.expect("ready").call(W::request());
    let answers = futures_util::future::join_all([first, of_clone, of_later, again]);
    for answer in answers.await {
        assert_eq!(seen::<W>(answer), Seen::Good);
    }
    assert_eq!(seen::<W>(of_clone_of_clone.await), Seen::Good, "the clone of a clone");
    assert_eq!(ledger.answered(), 5);
    drop((service, between, after));
    ledger.assert_settled();
}

async fn dropped_between_ready_and_call<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.capacity(1));
    let mut other = service.clone();
    service.ready().await.expect("ready");
    let waiting = tokio::spawn(async move { call::<W>(&mut other, W::request()).await });
    sleep(MS).await;
    drop(service);
    assert_eq!(waiting.await.expect("no panic"), Seen::Good, "who waited for the place");
    ledger.assert_settled();
}

async fn dropped_in_the_middle_of_a_call<W: Wire>(stack: Stack<W>) {
    let script = |call| if call == 1 { Step::Hang } else { Step::Answer(W::good()) };
    let (mut service, ledger) = stack.over(script, |strict| strict.capacity(1));
    let mut answer = service.ready().await.expect("ready").call(W::request());
    assert!(polled(&mut answer).await.is_pending());
    assert_eq!(ledger.in_flight(), 1);
    drop(answer);
    assert_eq!((ledger.in_flight(), ledger.dropped()), (0, 1), "in flight, dropped");
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good, "the next call");
    drop(service);
    ledger.assert_settled();
}

async fn dropped_before_the_first_poll_of_a_call<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.capacity(1));
    drop(service.ready().await.expect("ready").call(W::request()));
    assert_eq!((ledger.in_flight(), ledger.reservations_out()), (0, 0), "in flight, reserved");
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good, "the next call");
    drop(service);
    ledger.assert_settled();
}

async fn dropped_while_it_waits_to_become_ready<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.capacity(1).held());
    let mut other = service.clone();
    {
        let mut waits = Box::pin(call::<W>(&mut service, W::request()));
        assert!(polled(&mut waits).await.is_pending());
        assert_eq!(ledger.waiting(), 1);
    }
    drop(service);
    assert_eq!(ledger.waiting(), 0);
    ledger.release();
    assert_eq!(call::<W>(&mut other, W::request()).await, Seen::Good, "another user");
    drop(other);
    ledger.assert_settled();
}

async fn dropped_in_a_pause<W: Wire>(stack: Stack<W>) {
    let script = |call| Step::Answer(if call == 1 { W::bad() } else { W::good() });
    let (mut service, ledger) = stack.over(script, |strict| strict.capacity(1));
    let mut answer = service.ready().await.expect("ready").call(W::request());
    match polled(&mut answer).await {
        Poll::Ready(answer) => {
            assert!(!stack.retries(), "no pause");
            let expected = if stack.hedges() { Seen::Good } else { Seen::Bad };
            assert_eq!(seen::<W>(answer), expected);
        }
        Poll::Pending => {
            assert!(stack.retries(), "pending although the answer was there");
            assert_eq!((ledger.reservations_out(), ledger.in_flight()), (0, 0), "held in a pause");
            // The place is free for others meanwhile.
            assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good, "another call");
        }
    }
    drop(answer);
    let calls = ledger.calls();
    sleep(10 * PAUSE).await;
    assert_eq!(ledger.calls(), calls, "calls after the drop");
    drop(service);
    ledger.assert_settled();
}

async fn tried_again_until_it_succeeds<W: Wire>(stack: Stack<W>) {
    let script = |call| match call {
        1 => Step::Answer(W::bad()),
        2 => Step::fail("connection lost"),
        _ => Step::Answer(W::good()),
    };
    let (mut service, ledger) = stack.over(script, |strict| strict.capacity(1).pending_first(2));
    let start = Instant::now();
    let answer = call::<W>(&mut service, W::request()).await;
    let expected = match (stack.retries(), stack.hedges()) {
        // Where there are both, the pauses are those of the retry.
        (true, _) => (Seen::Good, 3, 2 * PAUSE),
        (false, true) => (Seen::Good, 3, Duration::ZERO),
        (false, false) => (Seen::Bad, 1, Duration::ZERO),
    };
    assert_eq!((answer, ledger.calls(), start.elapsed()), expected, "answer, calls, time");
    assert_eq!(ledger.polls(), 3 * ledger.calls(), "readiness is driven anew before each attempt");
    drop(service);
    ledger.assert_settled();
}

async fn asked_a_second_time_beside_the_first<W: Wire>(stack: Stack<W>) {
    let script = |call| if call == 1 { Step::Hang } else { Step::Answer(W::good()) };
    let (mut service, ledger) = stack.over(script, |strict| strict.capacity(2).pending_first(2));
    let start = Instant::now();
    let made = tokio::time::timeout(2 * HEDGE, call::<W>(&mut service, W::request())).await;
    let (answer, calls) = if stack.hedges() { (Some(Seen::Good), 2) } else { (None, 1) };
    assert_eq!((made.ok(), ledger.calls()), (answer, calls), "answer, calls");
    // Of two that hedge, the other one asks, too.
    assert!(ledger.polls() >= 3 * calls, "readiness is driven anew before the second");
    if stack.hedges() {
        assert_eq!((start.elapsed(), ledger.peak_in_flight()), (HEDGE, 2), "time, in flight");
    }
    assert_eq!((ledger.dropped(), ledger.in_flight(), ledger.reservations_out()), (1, 0, 0), "the loser");
    drop(service);
    ledger.assert_settled();
}

async fn readiness_fails<W: Wire>(stack: Stack<W>) {
    enum At {
        Readiness,
        Call,
        Repaired,
    }
    let (mut service, ledger) =
        stack.over(good::<W>, |strict| strict.fail_readiness_at(1, || BoxError::from("out of handles")));
    let mut told = At::Readiness;
    for layer in stack.upwards() {
        told = match told {
            At::Readiness if layer.always_ready => At::Call,
            At::Call if layer.retries || layer.hedges => At::Repaired,
            told => told,
        };
    }
    match told {
        At::Readiness => {
            let error = service.ready().await.expect_err("what the inner service said");
            assert!(format!("{:#}", stonework::Error::wrap(error)).contains("out of handles"));
        }
        At::Call => assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Failed),
        At::Repaired => assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good),
    }
    assert_eq!(ledger.calls(), u64::from(matches!(told, At::Repaired)));
    drop(service);
    ledger.assert_settled();
}

async fn readiness_fails_before_the_second_attempt<W: Wire>(stack: Stack<W>) {
    let script = |call| Step::Answer(if call == 1 { W::bad() } else { W::good() });
    let (mut service, ledger) =
        stack.over(script, |strict| strict.fail_readiness_at(2, || BoxError::from("out of handles")));
    let answer = call::<W>(&mut service, W::request()).await;
    let again = stack.retries() || stack.hedges();
    let expected = if again { (Seen::Good, 2, 3) } else { (Seen::Bad, 1, 1) };
    assert_eq!((answer, ledger.calls(), ledger.polls()), expected, "answer, calls, polls of readiness");
    drop(service);
    ledger.assert_settled();
}

async fn one_place_and_many_users<W: Wire>(stack: Stack<W>) {
    let script = |call| match call % 3 {
        0 => Step::AnswerAfter(10 * MS, W::bad()),
        _ => Step::AnswerAfter(10 * MS, W::good()),
    };
    let (service, ledger) = stack.over(script, |strict| strict.capacity(1).pending_first(1));
    let users: Vec<_> = (0..9)
        .map(|user| {
            let mut service = service.clone();
            tokio::spawn(async move {
                let made = call::<W>(&mut service, W::request());
                match user {
                    // Some give up: in the queue, in a call.
                    3 => tokio::time::timeout(3 * MS, made).await.ok(),
                    4 => tokio::time::timeout(35 * MS, made).await.ok(),
                    _ => Some(made.await),
                }
            })
        })
        .collect();
    drop(service);
    for (user, task) in users.into_iter().enumerate() {
        match task.await.expect("no panic") {
            Some(Seen::Good) => {}
            Some(Seen::Bad) => assert!(!stack.retries() && !stack.hedges(), "user {user} was not helped"),
            Some(other) => panic!("user {user} met {other:?}"),
            None => assert!(user == 3 || user == 4, "user {user} gave up"),
        }
    }
    assert_eq!(ledger.peak_in_flight(), 1);
    ledger.assert_settled();
}

async fn moved_to_another_task_while_it_waits_to_become_ready<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.held());
    asked_in_passing::<W>(&mut service);
    let task = tokio::spawn(async move { call::<W>(&mut service, W::request()).await });
    sleep(MS).await;
    ledger.release();
    assert_eq!(task.await.expect("no panic"), Seen::Good);
    ledger.assert_settled();
}

async fn moved_to_another_task_in_the_middle_of_a_call<W: Wire>(stack: Stack<W>) {
    let slow = |_| Step::AnswerAfter(10 * MS, W::good());
    let (mut service, ledger) = stack.over(slow, |strict| strict.capacity(1));
    let start = Instant::now();
    let mut answer = service.ready().await.expect("ready").call(W::request());
    drop(service);
    assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let task = tokio::spawn(answer);
    assert_eq!(seen::<W>(task.await.expect("no panic")), Seen::Good);
    assert_eq!(start.elapsed(), 10 * MS);
    ledger.assert_settled();
}

async fn a_limit_runs_out_in_the_call<W: Wire>(stack: Stack<W>) {
    let script = |call| if call == 1 { Step::Hang } else { Step::Answer(W::good()) };
    let (mut service, ledger) = stack.over(script, |strict| strict.capacity(1));
    let start = Instant::now();
    let made = tokio::time::timeout(Duration::from_secs(3600), call::<W>(&mut service, W::once()));
    match (made.await, stack.limit()) {
        (Ok(answer), Some(limit)) => assert_eq!((answer, start.elapsed()), (Seen::Late, limit)),
        (answer, limit) => assert!(answer.is_err() && limit.is_none(), "{answer:?} with {limit:?}"),
    }
    assert_eq!(
        (ledger.calls(), ledger.dropped(), ledger.in_flight()),
        (1, 1, 0),
        "calls, dropped, in flight"
    );
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good, "the next call");
    drop(service);
    ledger.assert_settled();
}

async fn a_limit_runs_out_before_it_is_ready<W: Wire>(stack: Stack<W>) {
    let (mut service, ledger) = stack.over(good::<W>, |strict| strict.capacity(1).held());
    let start = Instant::now();
    let made = tokio::time::timeout(Duration::from_secs(3600), call::<W>(&mut service, W::once()));
    match (made.await, stack.limit()) {
        (Ok(answer), Some(limit)) => assert_eq!((answer, start.elapsed()), (Seen::Late, limit)),
        (answer, limit) => assert!(answer.is_err() && limit.is_none(), "{answer:?} with {limit:?}"),
    }
    assert_eq!(ledger.calls(), 0);
    ledger.release();
    assert_eq!(call::<W>(&mut service, W::request()).await, Seen::Good, "the next call");
    drop(service);
    ledger.assert_settled();
}

async fn a_call_goes_on_that_is_dropped_in_the_middle<W: Wire>(stack: Stack<W>) {
    let slow = |_| Step::AnswerAfter(MS, W::good());
    let (mut service, ledger) = stack.over(slow, |strict| strict.capacity(1));
    let mut answer = service.ready().await.expect("ready").call(W::once());
    assert!(polled(&mut answer).await.is_pending());
    // What is detached is begun by the runtime.
    tokio::task::yield_now().await;
    drop(answer);
    assert_eq!((ledger.in_flight(), ledger.dropped()), (1, 0), "in flight, dropped");
    assert_eq!(call::<W>(&mut service, W::once()).await, Seen::Good, "who waited for the place");
    assert_eq!((ledger.answered(), ledger.dropped()), (2, 0), "answered, dropped");
    drop(service);
    ledger.assert_settled();
}

async fn a_call_goes_on_whose_caller_waits_no_longer<W: Wire>(stack: Stack<W>) {
    let slow = |_| Step::AnswerAfter(2 * MS, W::good());
    let (mut service, ledger) = stack.over(slow, |strict| strict.capacity(1));
    let answer = tokio::time::timeout(MS, call::<W>(&mut service, W::once())).await;
    assert!(answer.is_err() && ledger.in_flight() == 1, "it takes longer than its caller waits");
    drop(service);
    sleep(10 * MS).await;
    assert_eq!((ledger.answered(), ledger.dropped()), (1, 0), "answered, dropped");
    ledger.assert_settled();
}
