//! A client that is told that a request with its key is being done comes back for the answer by itself.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use stonework::base::{
    Attempts, Budget, BudgetSettings, Call, CircuitState, Classify, ClassifyHttp, Ending, Event, Outcome,
    Ratio, Skip,
};
use stonework::breaker::{BreakerSettings, Breakers};
use stonework::client::Client;
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::idempotency::{IdempotencyLayer, MemoryStore};
use stonework::retry::{HopLayer, RetryLayer, RetrySettings};
use stonework::testing::{Recorder, Scripted, ScriptedServer, Step, in_order, respond};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use stonework::{Body, Error};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{
    Backend, Content, SECOND, answer, answered, request, skips, timed, with_header, with_request_header,
};

fn keyed(method: Method) -> Request<Content> {
    with_request_header(request(method), "idempotency-key", "\"8e03978e\"")
}

fn under_way(retry_after: &str) -> Step<Response<Content>, stonework::base::BoxError> {
    Step::Answer(with_header(answer(409), "retry-after", retry_after))
}

/// How often a request was sent to a backend that says this until the last time, what was answered in the end, and why no more was sent.
async fn sent(request: Request<Content>, first: Response<Content>) -> (usize, u16, Vec<Skip>) {
    let mut first = Some(first);
    let backend = Backend::script(move |_, _| first.take().map_or_else(|| answered(200), Step::Answer));
    let seen = backend.seen();
    let events = Recorder::new();
    let service = RetryLayer::new().observer(events.clone()).layer(backend);
    let response = service.oneshot(request).await.unwrap();
    (seen.count(), response.status().as_u16(), skips(&events))
}

#[tokio::test(start_paused = true)]
async fn what_has_a_key_and_is_told_when_comes_back_then_and_nothing_else_does() {
    for method in [Method::POST, Method::PATCH, Method::PUT] {
        for when in ["2", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            let (count, status, _) =
                sent(keyed(method.clone()), with_header(answer(409), "retry-after", when)).await;
            assert_eq!((count, status), (2, 200), "{method}, {when}");
        }
    }
    for (request, first) in [
        // Nobody knows what became of it, or its answer was not kept.
        (keyed(Method::POST), answer(409)),
        (keyed(Method::POST), with_header(answer(409), "retry-after", "soon")),
        (keyed(Method::POST), with_header(answer(422), "retry-after", "1")),
        // No key, or none that a server could read.
        (request(Method::POST), with_header(answer(409), "retry-after", "1")),
        (request(Method::PUT), with_header(answer(409), "retry-after", "1")),
        (request(Method::GET), with_header(answer(409), "retry-after", "1")),
        (
            with_request_header(request(Method::POST), "idempotency-key", "not one"),
            with_header(answer(409), "retry-after", "1"),
        ),
    ] {
        let status = first.status().as_u16();
        assert_eq!(sent(request, first).await, (1, status, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_not_before_the_server_said_with_the_same_key() {
    let backend = Backend::steps([under_way("7"), under_way("1"), answered(200)]);
    let seen = backend.seen();
    let mut made = request(Method::POST);
    Call::edit(made.extensions_mut(), Call::keyed);
    let (response, took) = timed(RetryLayer::new().layer(backend).oneshot(made)).await;
    let response = response.unwrap();
    assert_eq!((response.status().as_u16(), Attempts::of(response.extensions())), (200, Some(3)));
    assert!(took >= SECOND * 8 && took < SECOND * 10, "{took:?}");
    let keys: Vec<_> = seen.take().iter().map(|seen| seen.headers()["idempotency-key"].clone()).collect();
    assert!(keys.windows(2).all(|keys| keys[0] == keys[1]) && keys.len() == 3);
}

#[tokio::test(start_paused = true)]
async fn it_keeps_within_the_bounds_of_any_other_retry() {
    let empty = Budget::new(BudgetSettings::default().reserve(0).floor_per_second(0).ratio(Ratio::ZERO));
    let one = RetrySettings::new().attempts(1);
    for (layer, when, why) in [
        (RetryLayer::new(), "1", vec![Skip::Attempts]),
        (RetryLayer::from(one), "1", vec![]),
        (RetryLayer::new().budget(empty), "1", vec![Skip::Budget]),
        (RetryLayer::new(), "3600", vec![Skip::RetryAfter]),
        (RetryLayer::new(), "10", vec![Skip::Deadline]),
    ] {
        let events = Recorder::new();
        let when = when.to_owned();
        let backend = Backend::script(move |_, _| under_way(&when));
        let limit = TimeoutLayer::new(SECOND * 9);
        let service = limit.layer(layer.observer(events.clone()).layer(backend));
        let response = service.oneshot(keyed(Method::POST)).await.unwrap();
        assert_eq!((response.status().as_u16(), skips(&events)), (409, why));
    }
    // Whoever wants to be told, and the server that wants no more, are obeyed.
    let mut once = keyed(Method::POST);
    Call::edit(once.extensions_mut(), Call::never_retry);
    assert_eq!(sent(once, with_header(answer(409), "retry-after", "1")).await, (1, 409, vec![]));
    let forbids = with_header(with_header(answer(409), "retry-after", "1"), "stonework-do-not-retry", "1");
    assert_eq!(sent(keyed(Method::POST), forbids).await, (1, 409, vec![Skip::Pushback]));
}

#[tokio::test(start_paused = true)]
async fn to_circuits_and_to_whoever_listens_it_is_no_failure() {
    let conflict = with_header(answer(409), "retry-after", "1");
    assert_eq!(ClassifyHttp.classify(Ok(&conflict)), Outcome::Success);
    let events = Recorder::new();
    let backend = Backend::steps([under_way("1"), answered(200)]);
    let service = RetryLayer::new().observer(events.clone()).layer(backend);
    service.oneshot(keyed(Method::POST)).await.unwrap();
    let ended: Vec<_> = events
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::AttemptEnded { ending: Ending::Status(status), outcome, .. } => {
                Some((status.as_u16(), *outcome))
            }
            _ => None,
        })
        .collect();
    assert_eq!(ended, [(409, Outcome::Success), (200, Outcome::Success)]);
}

#[tokio::test(start_paused = true)]
async fn a_hop_further_out_is_told_when_somebody_has_come_back_in_vain() {
    let backend = Backend::script(|_, _| under_way("1"));
    let seen = backend.seen();
    let behind = HopLayer::new().layer(RetryLayer::new().layer(backend));
    // As if over a wire: in a task of its own.
    let hop = service_fn(move |request: Request<Content>| {
        let behind = tokio::spawn(behind.clone().oneshot(request));
        async move { behind.await.expect("it ends") }
    });
    let response = RetryLayer::new().layer(hop).oneshot(keyed(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), seen.count()), (409, 3), "three in all, not nine");
    assert!(response.headers().contains_key(stonework::base::DO_NOT_RETRY));
}

/// Does what it is asked once, in two seconds, and says which time that was.
fn shop() -> Scripted<Request<Body>, Response<Body>, Error> {
    Scripted::script(|number, _| {
        Step::AnswerAfter(SECOND * 2, Response::new(Body::from(format!("number {number}"))))
    })
}

#[tokio::test(start_paused = true)]
async fn over_a_server_that_does_a_key_once_a_client_that_lost_patience_is_given_the_answer() {
    let shop = shop();
    let done = shop.seen();
    let server = IdempotencyLayer::new(MemoryStore::new()).layer(shop);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new())
        // Less than the work takes: the first attempt is left, and its work goes on.
        .layer(AttemptTimeoutLayer::new(SECOND))
        .map_request(|request: Request<Full<Bytes>>| request.map(Body::new))
        .service(server);
    let response = client.oneshot(keyed(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), Attempts::of(response.extensions())), (200, Some(3)));
    assert_eq!(response.headers()["idempotency-replayed"], "true");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "number 1");
    assert_eq!(done.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_clients_with_one_key_are_both_given_the_answer_of_the_one_that_was_done() {
    let shop = shop();
    let done = shop.seen();
    let server = IdempotencyLayer::new(MemoryStore::new()).layer(shop);
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new())
        .map_request(|request: Request<Full<Bytes>>| request.map(Body::new))
        .service(server);
    let texts = futures_util::future::join_all((0..2).map(|_| async {
        let response = client.clone().oneshot(keyed(Method::POST)).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    }));
    assert_eq!(texts.await, ["number 1", "number 1"]);
    assert_eq!(done.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_answered_so_by_all_leaves_it_to_the_retry() {
    let backend = Backend::steps([
        Step::AnswerAfter(Duration::from_millis(200), with_header(answer(409), "retry-after", "1")),
        under_way("1"),
        answered(200),
    ]);
    let seen = backend.seen();
    let hedge = HedgeLayer::from(HedgeSettings::new().fixed_delay(Duration::from_millis(100)));
    let service = RetryLayer::new().layer(hedge.layer(backend));
    let response = service.oneshot(keyed(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), seen.count()), (200, 3));
}

#[tokio::test]
async fn the_assembled_client_comes_back_over_a_socket_and_its_circuit_stays_as_it_was() {
    let conflict = || respond(409).header("retry-after", "0").keep_alive();
    let server = ScriptedServer::start(in_order([conflict(), conflict(), respond(201).keep_alive()])).await;
    let breakers = Breakers::new(BreakerSettings::new().consecutive_failures(1)).unwrap();
    let client = Client::builder().breakers(breakers.clone()).build().unwrap();
    let answer = client.post(server.uri("/orders")).keyed().body("work").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.attempts()), (201, 3));
    assert_eq!(
        breakers.states().into_iter().map(|(_, state)| state).collect::<Vec<_>>(),
        [CircuitState::Closed]
    );
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key")).collect();
    assert!(
        keys.len() == 3 && keys[0].is_some() && keys.windows(2).all(|keys| keys[0] == keys[1]),
        "{keys:?}"
    );
}
