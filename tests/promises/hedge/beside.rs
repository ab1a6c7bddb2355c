//! A second attempt beside the first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use stonework::Call;
use stonework::base::body::{Body, ReplayBody};
use stonework::base::{Attempts, Budget, BudgetSettings, Error, Event, Ratio, Skip};
use stonework::hedge::{Hedge, HedgeLayer};
use stonework::testing::{Recorder, Step, Strict};
use stonework::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{MS, after, fixed, get, over, status};
use crate::support::{Backend, Content, Counted, answer, polled, request, timed, with_request_header};

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_sent_a_second_time_and_the_first_answer_wins() {
    let backend = Backend::steps([Step::Hang, after(10, 200)]);
    let seen = backend.seen();
    let (answer, took) = timed(get(&over(&backend, fixed()))).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status().as_u16(), took, seen.count()), (200, 110 * MS, 2));
    assert_eq!(Attempts::of(answer.extensions()), Some(2));
    assert_eq!((seen.abandoned(), seen.in_flight()), (1, 0), "the loser is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_in_time_clones_no_service_and_each_further_attempt_one() {
    let steps = [after(99, 200), after(99, 200), Step::Hang, after(10, 200), after(99, 200)];
    let (inner, clones) = Counted::of(Backend::steps(steps));
    let mut service = HedgeLayer::from(fixed()).layer(inner);
    let mut counted = Vec::new();
    for _ in 0..4 {
        service.ready().await.unwrap().call(request(Method::GET)).await.unwrap();
        counted.push(clones.load(Ordering::Relaxed));
    }
    // The first call keeps one, of which the second attempt of the third call is made with a clone.
    assert_eq!(counted, [1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_first_may_still_win_and_one_that_is_in_time_is_sent_once() {
    let backend = Backend::steps([after(120, 200), Step::Hang, after(99, 200)]);
    let (seen, service) = (backend.seen(), over(&backend, fixed()));
    let (answer, took) = timed(status(&service)).await;
    assert_eq!((answer, took, seen.count(), seen.in_flight()), (200, 120 * MS, 2, 0));
    let (answer, took) = timed(get(&service)).await;
    assert_eq!((took, seen.count()), (99 * MS, 3));
    assert_eq!(Attempts::of(answer.unwrap().extensions()), None);
}

#[tokio::test(start_paused = true)]
async fn of_several_each_begins_a_delay_after_the_one_before_and_there_are_no_more_than_allowed() {
    let backend = Backend::script(|_, _| Step::Hang);
    let (seen, service) = (backend.seen(), over(&backend, fixed().attempts(4)));
    let mut call = Box::pin(get(&service));
    assert!(tokio::time::timeout(10_000 * MS, &mut call).await.is_err());
    assert_eq!((seen.gaps(), seen.in_flight()), (vec![100 * MS; 3], 4));
    drop(call);
    assert_eq!((seen.in_flight(), seen.abandoned()), (0, 4), "all go with the call");
}

#[tokio::test(start_paused = true)]
async fn with_no_delay_all_go_out_at_once() {
    let backend = Backend::steps([after(30, 200), after(20, 200), after(10, 200)]);
    let (seen, service) = (backend.seen(), over(&backend, fixed().fixed_delay(Duration::ZERO).attempts(3)));
    let (answer, took) = timed(status(&service)).await;
    assert_eq!((answer, took, seen.count()), (200, 10 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn what_may_do_harm_twice_is_sent_once_and_what_has_a_key_is_sent_with_the_same() {
    let backend = Backend::script(|_, _| after(1_000, 200));
    let (seen, service) = (backend.seen(), over(&backend, fixed()));
    for (outgoing, times) in [
        (request(Method::POST), 1),
        (request(Method::PATCH), 1),
        (with_request_header(request(Method::POST), "idempotency-key", "not a string"), 1),
        (with_request_header(request(Method::POST), "idempotency-key", "\"k1\""), 2),
        (request(Method::GET), 2),
        (request(Method::PUT), 2),
    ] {
        let method = outgoing.method().clone();
        assert_eq!(service.clone().oneshot(outgoing).await.unwrap().status(), 200);
        let sent = seen.take();
        assert_eq!(sent.len(), times, "{method}");
        let first = sent[0].headers().get("idempotency-key");
        assert!(sent.iter().all(|one| one.headers().get("idempotency-key") == first), "the same key");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_or_a_setting_may_say_otherwise() {
    let backend = Backend::script(|_, _| after(1_000, 200));
    let (seen, service) = (backend.seen(), over(&backend, fixed().attempts(3).repeatable_paths(["/shop/*"])));
    let with = |method, change: fn(Call) -> Call| {
        let mut outgoing = request(method);
        Call::edit(outgoing.extensions_mut(), change);
        outgoing
    };
    let mut path = request(Method::POST);
    *path.uri_mut() = "/shop/Get".parse().unwrap();
    for (outgoing, times) in [
        (with(Method::GET, Call::never_retry), 1),
        (with(Method::GET, |call| call.attempts(2)), 2),
        (with(Method::POST, Call::dangerously_assume_idempotent), 3),
        (path, 3),
    ] {
        service.clone().oneshot(outgoing).await.unwrap();
        assert_eq!(seen.take().len(), times);
    }
    let off = HedgeLayer::from(fixed()).when(false).layer(backend.clone());
    off.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(seen.take().len(), 1, "switched off");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spent_never_fails_the_call() {
    let none = BudgetSettings::default().reserve(1).floor_per_second(0).ratio(Ratio::ZERO);
    let (budget, events) = (Budget::new(none), Recorder::new());
    let hedge = Hedge::new(fixed());
    let backend = Backend::script(|_, _| after(150, 200));
    let seen = backend.seen();
    let layer = HedgeLayer::from(hedge.clone()).budget(budget.clone()).observer(events.clone());
    let service = layer.layer(backend);
    assert_eq!((status(&service).await, seen.take().len()), (200, 2));
    let (answer, took) = timed(status(&service)).await;
    assert_eq!((answer, took, seen.take().len()), (200, 150 * MS, 1));
    assert_eq!((hedge.stats().fired, hedge.stats().refused, hedge.stats().won), (1, 1, 0));
    let skips = |event: &Event| matches!(event, Event::HedgeSkipped { why: Skip::Budget, .. });
    assert_eq!(events.events().iter().filter(|event| skips(event)).count(), 1);
    assert_eq!(budget.stats().granted - budget.stats().refunded, 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_cancelled_unsent_goes_back_to_the_budget() {
    let budget = Budget::default();
    // The second attempt waits for the service, and the first one is answered meanwhile.
    let backend = Backend::steps([after(150, 200)]).stall_ready(2, 1_000 * MS);
    let seen = backend.seen();
    let service = HedgeLayer::from(fixed()).budget(budget.clone()).layer(backend);
    let (answer, took) = timed(status(&service)).await;
    assert_eq!((answer, took, seen.count()), (200, 150 * MS, 1));
    assert_eq!((budget.stats().granted, budget.stats().refunded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_service_that_was_made_ready_is_the_one_that_is_called_in_every_attempt() {
    let backend = Strict::new(Backend::steps([Step::Hang, Step::Hang, after(10, 200)])).pending_first(2);
    let ledger = backend.ledger();
    let service = HedgeLayer::from(fixed().attempts(3)).layer(backend);
    assert_eq!(service.oneshot(request(Method::GET)).await.unwrap().status(), 200);
    assert_eq!((ledger.calls(), ledger.polls(), ledger.dropped()), (3, 9, 2));
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_that_the_deadline_makes_pointless() {
    let backend = Backend::script(|_, _| Step::Hang);
    let (seen, events) = (backend.seen(), Recorder::new());
    let layer = HedgeLayer::from(fixed()).observer(events.clone());
    for (limit, times) in [(100, 1), (101, 2)] {
        let service = TimeoutLayer::new(limit * MS).layer(layer.layer(backend.clone()));
        let (error, took) = timed(service.oneshot(request(Method::GET))).await;
        let error = error.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!((took, seen.take().len()), (limit * MS, times as usize));
        if times == 2 {
            assert_eq!(error.attempts(), 2, "only here it is known how many there were");
        }
    }
    let skips = |event: &Event| matches!(event, Event::HedgeSkipped { why: Skip::Deadline, .. });
    assert_eq!(events.events().iter().filter(|event| skips(event)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_an_attempt_is_told_to_the_next_hop() {
    let backend = Backend::script(|_, _| after(1_000, 200));
    let (seen, service) = (backend.seen(), over(&backend, fixed().attempts(3)));
    let plain = request(Method::GET);
    let grpc = with_request_header(request(Method::GET), "content-type", "application/grpc");
    for (outgoing, header, expected) in [
        (plain, "stonework-attempt", [None, Some("2"), Some("3")]),
        (grpc, "grpc-previous-rpc-attempts", [None, Some("1"), Some("2")]),
    ] {
        service.clone().oneshot(outgoing).await.unwrap();
        let sent = seen.take();
        let told = sent.iter().map(|one| one.headers().get(header).map(|value| value.to_str().unwrap()));
        assert_eq!(told.collect::<Vec<_>>(), expected);
        let numbers = sent.iter().map(|one| Call::of(one.extensions()).attempt());
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_the_winner_stays_whole_and_both_attempts_send_the_whole_request() {
    let heard = Arc::new(AtomicUsize::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let backend = service_fn({
        let heard = Arc::clone(&heard);
        move |request: Request<ReplayBody<Body>>| {
            let (heard, number) = (Arc::clone(&heard), calls.fetch_add(1, Ordering::Relaxed));
            async move {
                let sent = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(sent, "first, second");
                heard.fetch_add(1, Ordering::Relaxed);
                if number == 0 {
                    std::future::pending::<()>().await;
                }
                let frames = futures_util::stream::unfold(0, |at| async move {
                    tokio::time::sleep(1_000 * MS).await;
                    let frame = http_body::Frame::data(bytes::Bytes::from_static(b"piece "));
                    (at < 3).then_some((Ok::<_, Error>(frame), at + 1))
                });
                Ok::<_, Error>(Response::new(http_body_util::StreamBody::new(Box::pin(frames))))
            }
        }
    });
    let service = HedgeLayer::from(fixed()).layer(backend);
    let slowly = futures_util::stream::unfold(["first, ", "second"].into_iter(), |mut pieces| async move {
        let piece = pieces.next()?;
        tokio::time::sleep(40 * MS).await;
        Some((Ok::<_, Error>(http_body::Frame::data(bytes::Bytes::from_static(piece.as_bytes()))), pieces))
    });
    let body = Body::new(http_body_util::StreamBody::new(Box::pin(slowly)));
    let response = service.oneshot(Request::put("/").body(ReplayBody::new(body)).unwrap()).await.unwrap();
    assert_eq!(heard.load(Ordering::Relaxed), 2);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "piece piece piece ");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_is_over_the_cap_is_sent_once() {
    let backend = Backend::script(|_, _| after(1_000, 200));
    let (seen, service) = (backend.seen(), over(&backend, fixed().replay_cap(6)));
    assert_eq!((status(&service).await, seen.count()), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn losers_are_dropped_with_the_head_of_the_winner_even_if_the_future_is_kept() {
    let backend = Backend::steps([Step::Hang, after(10, 200)]);
    let (seen, mut service) = (backend.seen(), over(&backend, fixed()));
    let mut call = Box::pin(service.ready().await.unwrap().call(request(Method::GET)));
    assert!(polled(&mut call).await.is_pending());
    tokio::time::sleep(100 * MS).await;
    assert!(polled(&mut call).await.is_pending());
    tokio::time::sleep(10 * MS).await;
    assert!(polled(&mut call).await.is_ready());
    assert_eq!((seen.in_flight(), seen.abandoned()), (0, 1));
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn the_copy_is_let_go_of_with_the_answer_even_if_the_future_is_kept() {
    let held = Arc::new(());
    let mut asked = request(Method::GET);
    asked.extensions_mut().insert(Arc::clone(&held));
    let answers = service_fn(|_: Request<Content>| async { Ok::<_, Error>(answer(200)) });
    let mut call = Box::pin(HedgeLayer::from(fixed()).layer(answers).call(asked));
    assert_eq!(Arc::strong_count(&held), 2, "a copy was kept");
    assert!(polled(&mut call).await.is_ready());
    assert_eq!(Arc::strong_count(&held), 1);
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told() {
    let events = Recorder::new();
    let backend = Backend::steps([Step::Hang, after(10, 200)]);
    let service = HedgeLayer::from(fixed()).observer(events.clone()).layer(backend);
    status(&service).await;
    let told = "at 0ns: attempt 2 beside the first, after 100ms\nat 10ms: attempt 2 has the answer\n";
    assert_eq!(events.timeline(), told);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_the_other_attempt_of_the_same_key_is_not_the_answer() {
    let keyed = || with_request_header(request(Method::POST), "idempotency-key", "\"k1\"");
    // Whoever keeps the promise of a key says that the first is being worked on.
    let backend = Backend::steps([after(150, 201), after(10, 409)]);
    let (answer, took) = timed(over(&backend, fixed()).oneshot(keyed())).await;
    assert_eq!((answer.unwrap().status().as_u16(), took), (201, 150 * MS));
    // With nothing beside it, it is what it is.
    let backend = Backend::steps([after(50, 409)]);
    let (answer, took) = timed(over(&backend, fixed()).oneshot(keyed())).await;
    assert_eq!((answer.unwrap().status().as_u16(), took), (409, 50 * MS));
    // A failure says more to whoever tries again.
    let broken = Step::FailAfter(150 * MS, "connection lost".into());
    let backend = Backend::steps([broken, after(10, 409)]);
    assert!(over(&backend, fixed()).oneshot(keyed()).await.is_err());
    let backend = Backend::steps([after(150, 200), after(10, 409)]);
    let got = over(&backend, fixed()).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(got.status(), 409, "without a key it is an answer like any other");
}
