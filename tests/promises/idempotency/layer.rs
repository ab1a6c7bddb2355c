use std::error::Error as _;
use std::future::poll_fn;
use std::panic;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use stonework::base::{BoxError, Kind, Principal};
use stonework::idempotency::{
    AfterCrash, Disposition, IdempotencyLayer, IdempotencySettings, InvalidIdempotency, MemoryStore,
};
use stonework::testing::Step;
use stonework::{Body, Error};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::kit::{Said, ask, data, fails, keyed, over, pieces, response, said, shop, slow, with};
use crate::support::{SECOND, timed};

const MS: Duration = Duration::from_millis(1);

fn settings() -> IdempotencySettings {
    IdempotencySettings::new()
}

/// Some things to say, by turns.
fn counting() -> super::kit::Shop {
    shop(|number| Step::Answer(response(200, format!("number {number}"))))
}

// ───────────────────────────────────────────────────────────────────────────── once

#[tokio::test(start_paused = true)]
async fn a_keyed_request_is_done_once_and_answered_as_it_was() {
    let shop = shop(|_| {
        let mut charged = response(201, "charged");
        let headers = charged.headers_mut();
        headers.insert("location", HeaderValue::from_static("/charges/7"));
        headers.append("x-two", HeaderValue::from_static("b"));
        headers.append("x-two", HeaderValue::from_static("a"));
        headers.insert("set-cookie", HeaderValue::from_static("session=1"));
        headers.insert("date", HeaderValue::from_static("Sat, 21 Nov 2026 12:00:00 GMT"));
        headers.insert("connection", HeaderValue::from_static("x-hop"));
        headers.insert("x-hop", HeaderValue::from_static("1"));
        Step::Answer(charged)
    });
    let service = over(&shop, MemoryStore::new());
    let first = ask(&service, keyed("a")).await;
    assert_eq!((first.status, &first.body[..], first.headers.len()), (201, &b"charged"[..], 7));
    assert!(!first.replayed() && first.headers.contains_key("set-cookie"));
    for _ in 0..3 {
        sleep(3600 * SECOND).await;
        let again = ask(&service, keyed("a")).await;
        assert!(again.replayed());
        let mut expected = HeaderMap::new();
        expected.insert("location", HeaderValue::from_static("/charges/7"));
        expected.append("x-two", HeaderValue::from_static("b"));
        expected.append("x-two", HeaderValue::from_static("a"));
        expected.insert("idempotency-replayed", HeaderValue::from_static("true"));
        assert_eq!(again, Said { status: 201, headers: expected, body: first.body.clone(), trailers: None });
    }
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn any_body_and_its_trailers_come_back_byte_for_byte() {
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let trailers = || HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let bodies: [fn() -> Body; 4] = [
        Body::empty,
        || Body::from((0..=u8::MAX).collect::<Vec<u8>>()),
        || pieces(vec![data("in "), data(""), data("pieces")]),
        || {
            let end = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            pieces(vec![data("before"), Ok(Frame::trailers(end))])
        },
    ];
    let expected: [(&[u8], _); 4] =
        [(b"", None), (&every, None), (b"in pieces", None), (b"before", Some(trailers()))];
    for (body, (bytes, trailers)) in bodies.into_iter().zip(expected) {
        let shop = shop(move |_| Step::Answer(response(200, body())));
        let service = over(&shop, MemoryStore::new());
        for replayed in [false, true] {
            let said = ask(&service, keyed("a")).await;
            assert_eq!((&said.body[..], &said.trailers, said.replayed()), (bytes, &trailers, replayed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_gets_the_whole_request_with_its_trailers() {
    let echo = service_fn(|request: Request<Body>| async move {
        let collected = request.into_body().collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let said = format!("{:?} and {trailers:?}", collected.to_bytes());
        Ok::<_, BoxError>(Response::new(Body::from(said)))
    });
    let service = IdempotencyLayer::new(MemoryStore::new()).layer(echo);
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    let body = pieces(vec![data("one "), data("two"), Ok(Frame::trailers(trailers))]);
    let said = ask(&service, keyed("a").map(|_| body)).await;
    assert_eq!(said.body, "b\"one two\" and {\"x-sum\": \"7\"}");
}

#[tokio::test(start_paused = true)]
async fn a_record_is_forgotten_when_it_is_time_and_not_before() {
    let shop = counting();
    let service = with(&shop, MemoryStore::new(), settings().record(60 * SECOND));
    ask(&service, keyed("a")).await;
    sleep(59 * SECOND).await;
    assert!(ask(&service, keyed("a")).await.replayed());
    sleep(SECOND).await;
    assert_eq!(ask(&service, keyed("a")).await.body, "number 2");
}

#[tokio::test(start_paused = true)]
async fn a_key_with_and_without_quotes_is_one() {
    let shop = counting();
    let service = over(&shop, MemoryStore::new());
    ask(&service, keyed("8e03978e")).await;
    assert!(ask(&service, keyed("\"8e03978e\"")).await.replayed());
    assert!(!ask(&service, keyed("\"8E03978e\"")).await.replayed());
}

#[tokio::test(start_paused = true)]
async fn requests_are_told_apart_by_the_fields_that_were_named_and_by_no_others() {
    let named = settings().fingerprint_headers([HeaderName::from_static("x-tenant")]);
    let service = with(&counting(), MemoryStore::new(), named);
    let asks = |tenant: &'static str, kind: &'static str| {
        let mut request = keyed("a");
        request.headers_mut().insert("x-tenant", HeaderValue::from_static(tenant));
        request.headers_mut().insert("content-type", HeaderValue::from_static(kind));
        request
    };
    assert_eq!(ask(&service, asks("one", "text/plain")).await.status, 200);
    assert!(ask(&service, asks("one", "text/html")).await.replayed());
    let other = ask(&service, asks("two", "text/plain")).await;
    assert_eq!((other.status, other.problem().as_str()), (422, "Mismatch"));
}

// ───────────────────────────────────────────────────────────────────────────── what it is about

#[tokio::test(start_paused = true)]
async fn a_key_belongs_to_its_sender_method_and_route() {
    let shop = counting();
    let service = IdempotencyLayer::new(MemoryStore::new())
        .settings(settings().methods([Method::POST, Method::PUT]))
        .unwrap()
        .layer(shop.clone());
    let by = |name: Option<&str>, issuer: Option<&str>| {
        let mut request = keyed("a");
        if let Some(name) = name {
            request.extensions_mut().insert(Principal::named(name, issuer));
        }
        request
    };
    let at = |method: Method, path: &str| {
        let mut request = keyed("a");
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let all: [&dyn Fn() -> Request<Body>; 6] = [
        &|| by(None, None),
        &|| by(Some("alice"), Some("one")),
        &|| by(Some("alice"), Some("two")),
        &|| by(Some("bob"), Some("one")),
        &|| at(Method::PUT, "/charges"),
        &|| at(Method::POST, "/refunds"),
    ];
    for replayed in [false, true] {
        for (number, request) in all.iter().enumerate() {
            let said = ask(&service, request()).await;
            assert_eq!(said.replayed(), replayed, "{number}");
            assert_eq!(said.body, format!("number {}", number + 1));
        }
    }
    // It is said otherwise what a route is.
    let service = IdempotencyLayer::new(MemoryStore::new())
        .route(|request: &Request<Body>| request.headers().get("x-route").is_some())
        .layer(shop);
    assert!(!ask(&service, at(Method::POST, "/a")).await.replayed());
    assert_eq!(ask(&service, at(Method::POST, "/b")).await.status, 422);
    let mut other = at(Method::POST, "/b");
    other.headers_mut().insert("x-route", HeaderValue::from_static("1"));
    assert_eq!(ask(&service, other).await.status, 200);
}

/// Makes another request of one.
type Change = fn(&mut Request<Body>);

#[tokio::test(start_paused = true)]
async fn a_key_with_another_request_is_refused_whatever_became_of_the_first() {
    let change: [Change; 4] = [
        |request| *request.body_mut() = Body::from("500 EUR"),
        |request| *request.body_mut() = Body::empty(),
        |request| *request.uri_mut() = "/charges?twice".parse().unwrap(),
        |request| _ = request.headers_mut().insert("content-type", HeaderValue::from_static("text/html")),
    ];
    let shop = shop(|number| match number {
        1 => Step::AnswerAfter(SECOND, response(200, "done")),
        _ => fails("an accident"),
    });
    let service = over(&shop, MemoryStore::new());
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    service.clone().oneshot(keyed("b")).await.unwrap_err();
    for key in ["a", "b"] {
        for change in change {
            let mut request = keyed(key);
            change(&mut request);
            let said = ask(&service, request).await;
            assert_eq!((said.status, said.problem().as_str()), (422, "Mismatch"), "{key}");
            assert!(!said.headers.contains_key("retry-after"));
        }
    }
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
    for change in change {
        let mut request = keyed("a");
        change(&mut request);
        assert_eq!(ask(&service, request).await.status, 422);
    }
    // What was not chosen does not matter.
    let mut same = keyed("a");
    same.headers_mut().insert("user-agent", HeaderValue::from_static("another one"));
    assert!(ask(&service, same).await.replayed());
    assert_eq!(shop.seen().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_methods_and_requests_without_a_key_pass_as_they_are() {
    let shop = counting();
    let service = over(&shop, MemoryStore::new());
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let mut request = keyed("a");
        *request.method_mut() = method;
        for _ in 0..2 {
            let said = ask(&service, Request::from_parts(request.clone_head(), Body::from("x"))).await;
            assert!(!said.replayed());
        }
    }
    for _ in 0..2 {
        assert!(!ask(&service, Request::post("/charges").body(Body::from("x")).unwrap()).await.replayed());
    }
    assert_eq!(shop.seen().count(), 10);
    let seen = shop.seen().take().pop().unwrap();
    assert!(stonework::idempotency::Claim::of(seen.extensions()).is_none());
}

trait CloneHead {
    fn clone_head(&self) -> http::request::Parts;
}

impl CloneHead for Request<Body> {
    fn clone_head(&self) -> http::request::Parts {
        let mut request = Request::new(());
        *request.method_mut() = self.method().clone();
        *request.uri_mut() = self.uri().clone();
        *request.headers_mut() = self.headers().clone();
        request.into_parts().0
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_missing_or_cannot_be_read_is_refused_by_the_name_of_its_field() {
    let shop = counting();
    let service = with(&shop, MemoryStore::new(), settings().required(true));
    let missing = ask(&service, Request::post("/").body(Body::empty()).unwrap()).await;
    assert_eq!((missing.status, missing.problem().as_str()), (400, "Missing"));
    assert!(std::str::from_utf8(&missing.body).unwrap().contains("`Idempotency-Key` is missing"));
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "a b", "a,b", &long] {
        let said = ask(&service, keyed(key)).await;
        assert_eq!((said.status, said.problem().as_str()), (400, "Invalid"), "{key:?}");
        assert!(std::str::from_utf8(&said.body).unwrap().contains("`Idempotency-Key`"));
    }
    let mut two = keyed("a");
    two.headers_mut().append("idempotency-key", HeaderValue::from_static("b"));
    assert_eq!(ask(&service, two).await.status, 400);
    // No other method has to have one.
    assert_eq!(ask(&service, Request::get("/").body(Body::empty()).unwrap()).await.status, 200);
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_or_breaks_off_is_refused_and_nothing_is_claimed() {
    let shop = counting();
    let store = MemoryStore::new();
    let service = with(&shop, store.clone(), settings().max_request_body(10));
    let bodies: [fn() -> Body; 2] =
        [|| Body::from("eleven byte"), || pieces(vec![data("eleven"), data(" byte")])];
    for body in bodies {
        let said = ask(&service, keyed("a").map(|_| body())).await;
        assert_eq!(said.status, 413);
    }
    let broken = || pieces(vec![data("half"), Err("connection reset".into())]);
    assert_eq!(ask(&service, keyed("a").map(|_| broken())).await.status, 400);
    assert_eq!((shop.seen().count(), store.len()), (0, 0));
    assert_eq!(ask(&service, keyed("a").map(|_| Body::from("ten bytes!"))).await.status, 200);
}

// ───────────────────────────────────────────────────────────────────────────── in flight

#[tokio::test(start_paused = true)]
async fn while_it_is_done_others_are_told_when_to_come_back() {
    let shop = slow(10 * SECOND);
    let service = with(&shop, MemoryStore::new(), settings().retry_after(1_500 * MS));
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(SECOND).await;
    let said = ask(&service, keyed("a")).await;
    assert_eq!((said.status, said.problem().as_str()), (409, "InFlight"));
    assert_eq!(said.headers["retry-after"], "2");
    assert_eq!(running.await.unwrap().unwrap().status(), 200);
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_answered_as_soon_as_it_is_done() {
    let shop = slow(10 * SECOND);
    let service = with(&shop, MemoryStore::new(), settings().wait_up_to(30 * SECOND));
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(3 * SECOND).await;
    let asking = (0..20).map(|_| timed(ask(&service, keyed("a"))));
    for (said, took) in futures_util::future::join_all(asking).await {
        assert!(said.replayed());
        assert_eq!((said.body, took), ("number 1".into(), 7 * SECOND));
    }
    running.await.unwrap().unwrap();
    assert_eq!(shop.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_store_that_says_nothing_looks_again_by_itself() {
    let shop = slow(10 * SECOND);
    let store = super::kit::Moody::default();
    let service = with(&shop, store.clone(), settings().wait_up_to(30 * SECOND));
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    let (said, took) = timed(ask(&service, keyed("a"))).await;
    assert!(said.replayed() && took < 11 * SECOND, "{took:?}");
    assert!(store.asked() < 40, "{} questions", store.asked());
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_it_was_said() {
    let shop = slow(100 * SECOND);
    let service = with(&shop, MemoryStore::new(), settings().wait_up_to(30 * SECOND));
    let running = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    let (said, took) = timed(ask(&service, keyed("a"))).await;
    assert_eq!((said.status, said.problem().as_str(), took), (409, "InFlight", 30 * SECOND));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn when_the_first_gives_up_its_key_one_of_those_who_wait_does_it() {
    let shop = shop(|number| match number {
        1 => Step::AnswerAfter(SECOND, response(429, "not now")),
        _ => Step::AnswerAfter(SECOND, response(200, "done")),
    });
    let service = with(&shop, MemoryStore::new(), settings().wait_up_to(30 * SECOND));
    let first = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    let others = futures_util::future::join_all((0..10).map(|_| ask(&service, keyed("a")))).await;
    assert_eq!(first.await.unwrap().unwrap().status(), 429);
    assert_eq!(others.iter().filter(|said| !said.replayed()).count(), 1);
    assert!(others.iter().all(|said| said.body == "done"));
    assert_eq!(shop.seen().count(), 2);
}

// ───────────────────────────────────────────────────────────────────────────── what an answer means

#[tokio::test(start_paused = true)]
async fn an_answer_is_final_or_not_now_or_nobody_knows() {
    let told = [None, Some(Disposition::Store), Some(Disposition::Release), Some(Disposition::Indeterminate)];
    for after_crash in [AfterCrash::FailClosed, AfterCrash::Rerun] {
        for status in [200, 204, 302, 400, 404, 408, 409, 422, 425, 429, 500, 501, 502, 503, 504] {
            for told in told {
                let shop = shop(move |_| {
                    let mut answer = response(status, "");
                    answer.extensions_mut().extend(
                        told.map(|told| {
                            let mut extensions = http::Extensions::new();
                            extensions.insert(told);
                            extensions
                        })
                        .unwrap_or_default(),
                    );
                    Step::Answer(answer)
                });
                let service = with(&shop, MemoryStore::new(), settings().after_crash(after_crash));
                assert_eq!(ask(&service, keyed("a")).await.status, status);
                let again = ask(&service, keyed("a")).await;
                let expected = told.unwrap_or(match status {
                    409 | 425 | 429 => Disposition::Release,
                    200..=407 | 409..=499 => Disposition::Store,
                    _ if after_crash == AfterCrash::Rerun => Disposition::Release,
                    _ => Disposition::Indeterminate,
                });
                let (ran, replayed) = match expected {
                    Disposition::Store => (1, true),
                    Disposition::Release => (2, false),
                    Disposition::Indeterminate => (1, false),
                };
                assert_eq!((shop.seen().count(), again.replayed()), (ran, replayed), "{status} {told:?}");
                if expected == Disposition::Indeterminate {
                    assert_eq!((again.status, again.problem().as_str()), (409, "Indeterminate"));
                    assert!(!again.headers.contains_key("retry-after"));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unavailable_with_a_time_to_come_back_is_not_now() {
    let shop = shop(|_| {
        let mut later = response(503, "");
        later.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
        Step::Answer(later)
    });
    let service = over(&shop, MemoryStore::new());
    for _ in 0..2 {
        assert_eq!(ask(&service, keyed("a")).await.status, 503);
    }
    assert_eq!(shop.seen().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_handler_comes_out_as_it_is_and_nobody_knows_what_was_done() {
    for (after_crash, ran) in [(AfterCrash::FailClosed, 1), (AfterCrash::Rerun, 2)] {
        let shop = shop(|number| match number {
            1 => fails("the database is gone"),
            _ => Step::Answer(response(200, "done")),
        });
        let service = with(&shop, MemoryStore::new(), settings().after_crash(after_crash));
        let error = service.clone().oneshot(keyed("a")).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "the database is gone");
        let again = ask(&service, keyed("a")).await;
        assert_eq!(again.status, if ran == 1 { 409 } else { 200 });
        assert_eq!(shop.seen().count(), ran);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_500_and_nobody_knows_what_was_done() {
    for attached in [false, true] {
        let panics = service_fn(|_: Request<Body>| async move {
            if true {
                panic::panic_any("on purpose");
            }
            Ok::<_, BoxError>(Response::new(Body::empty()))
        });
        let layer = IdempotencyLayer::new(MemoryStore::new());
        let layer = if attached { layer.attached() } else { layer };
        let service = layer.layer(panics);
        assert_eq!(ask(&service, keyed("a")).await.status, 500);
        assert_eq!(ask(&service, keyed("a")).await.problem(), "Indeterminate");
        assert_eq!(layer.detached().running(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_breaks_off_there_and_nobody_knows_what_was_done() {
    let shop = shop(|_| {
        Step::Answer(response(
            200,
            pieces(vec![data("half "), data("of it"), Err("the disk is full".into())]),
        ))
    });
    let service = over(&shop, MemoryStore::new());
    let mut body = service.clone().oneshot(keyed("a")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half ");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "of it");
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "the disk is full");
    assert!(body.frame().await.is_none());
    assert_eq!(ask(&service, keyed("a")).await.problem(), "Indeterminate");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_large_passes_while_it_comes_and_is_said_to_be_done() {
    let shop = shop(|_| {
        let parts = futures_util::stream::unfold(0_u32, |number| async move {
            sleep(SECOND).await;
            (number < 100).then(|| (Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; 100]))), number + 1))
        });
        Step::Answer(response(200, Body::new(http_body_util::StreamBody::new(parts))))
    });
    let service = with(&shop, MemoryStore::new(), settings().max_response_body(250));
    let (answer, took) = timed(service.clone().oneshot(keyed("a"))).await;
    assert_eq!(took, 3 * SECOND, "as soon as it is known to be too large");
    let again = ask(&service, keyed("a")).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "NotKept"), "it is done, and not kept");
    assert_eq!(said(answer.unwrap()).await.body.len(), 10_000);
    // One that says so is not waited for at all.
    let shop = counting();
    let service = with(&shop, MemoryStore::new(), settings().max_response_body(3));
    assert_eq!(ask(&service, keyed("a")).await.body, "number 1");
    assert_eq!(ask(&service, keyed("a")).await.problem(), "NotKept");
}

// ───────────────────────────────────────────────────────────────────────────── what is inside

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_was_not_called_so_its_key_is_free() {
    let shop = shop(|number| match number {
        1 => Step::AnswerAfter(SECOND, response(429, "not now")),
        _ => Step::Answer(response(200, "done")),
    });
    let shop = shop.fail_ready(2, Error::new(Kind::Other, "warming up"));
    let service = with(&shop, MemoryStore::new(), settings().wait_up_to(10 * SECOND));
    let mut waits = service.clone();
    poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut waits, cx)).await.unwrap();
    let first = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    // What was made ready for it was given back while it waited, so it is made ready once more.
    let error = waits.call(keyed("a")).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "warming up");
    assert_eq!(first.await.unwrap().unwrap().status(), 429);
    assert_eq!(ask(&service, keyed("a")).await.body, "done");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_does_not_keep_the_place_that_it_was_given() {
    use stonework::limit::{Admission, ConcurrencyLimitLayer};

    let shop = slow(SECOND);
    let limit = ConcurrencyLimitLayer::new(2).unwrap().admission(Admission::Backpressure);
    let layer =
        IdempotencyLayer::new(MemoryStore::new()).settings(settings().wait_up_to(10 * SECOND)).unwrap();
    let service = layer.layer(limit.layer(shop.clone()));
    let first = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    let waits = tokio::spawn(service.clone().oneshot(keyed("a")));
    sleep(MS).await;
    let (other, took) = timed(service.oneshot(keyed("b"))).await;
    assert_eq!(
        (other.unwrap().status().as_u16(), took),
        (200, SECOND),
        "it need not wait for the one that waits"
    );
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert!(said(waits.await.unwrap().unwrap()).await.replayed());
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_lets_everything_pass() {
    let shop = counting();
    let service = IdempotencyLayer::new(MemoryStore::new()).when(false).layer(shop.clone());
    for _ in 0..2 {
        assert!(!ask(&service, keyed("")).await.replayed());
    }
    assert_eq!(shop.seen().count(), 2);
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let layer = |settings| IdempotencyLayer::new(MemoryStore::new()).settings(settings).map(|_| ());
    for (settings, field) in [
        (settings().lease(Duration::ZERO), "lease"),
        (settings().record(Duration::ZERO), "record"),
        (settings().retry_after(Duration::ZERO), "retry_after"),
        (settings().store_timeout(Duration::ZERO), "store_timeout"),
    ] {
        let refused = layer(settings).unwrap_err();
        assert!(refused.to_string().contains(&format!("`{field}`")), "{refused}");
    }
    assert_eq!(layer(settings().record(SECOND)).unwrap_err(), InvalidIdempotency::RecordBeforeLease);
    assert_eq!(layer(settings().methods([])).unwrap_err(), InvalidIdempotency::NoMethod);
    let safe = layer(settings().methods([Method::POST, Method::HEAD])).unwrap_err();
    assert_eq!(safe, InvalidIdempotency::SafeMethod(Method::HEAD));
    for (file, named) in [
        (r#"{ "leese": "1s" }"#, "leese"),
        (r#"{ "lease": "0s" }"#, "`lease`"),
        (r#"{ "methods": ["PO ST"] }"#, "`methods`"),
        (r#"{ "methods": ["GET"] }"#, "`methods`"),
        (r#"{ "fingerprint_headers": [":"] }"#, "`fingerprint_headers`"),
        (r#"{ "after_crash": "hope" }"#, "hope"),
    ] {
        let error = serde_json::from_str::<IdempotencySettings>(file).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let written = serde_json::to_string(&settings()).unwrap();
    assert_eq!(serde_json::from_str::<IdempotencySettings>(&written).unwrap(), settings());
}
