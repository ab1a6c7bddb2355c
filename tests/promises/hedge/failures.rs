//! What fails, and what servers say about coming back.

use http::{Method, Request, Response};
use stonework::Call;
use stonework::base::{Attempts, Budget, ClassifyGrpc, Delivery, Error, Kind};
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::testing::Step;
use tower::{Layer, ServiceExt, service_fn};

use super::{MS, after, fixed, get, over, status};
use crate::support::{Backend, Content, answer, answered, request, timed, with_header};

#[tokio::test(start_paused = true)]
async fn a_fast_failure_does_not_win_while_another_attempt_may_still_succeed() {
    for failure in [after(10, 503), Step::FailAfter(10 * MS, "connection lost".into())] {
        let backend = Backend::steps([after(300, 200), failure]);
        let (seen, service) = (backend.seen(), over(&backend, fixed()));
        let (answer, took) = timed(status(&service)).await;
        assert_eq!((answer, took, seen.count()), (200, 300 * MS, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_fires_the_next_at_once() {
    let backend = Backend::steps([after(10, 503), after(10, 200)]);
    let (answer, took) = timed(get(&over(&backend, fixed()))).await;
    assert_eq!((answer.as_ref().unwrap().status().as_u16(), took), (200, 20 * MS));
    assert_eq!(Attempts::of(answer.unwrap().extensions()), Some(2));
    // Also one that is not waited for.
    let backend = Backend::steps([Step::fail("connection lost"), answered(200)]);
    assert_eq!(status(&over(&backend, fixed())).await, 200);
    // Nor does it matter that nothing is known yet of how long calls take.
    let backend = Backend::steps([answered(503), answered(200)]);
    assert_eq!(status(&over(&backend, HedgeSettings::new())).await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_processed_is_sent_again_and_what_must_not_be_tried_again_is_not() {
    let refused = |kind| Error::new(kind, "no");
    for (first, expected) in [
        (answered(425), Some(200)),
        (Step::fail(refused(Kind::CircuitOpen)), Some(200)),
        (Step::fail(refused(Kind::Overload)), Some(200)),
        (Step::fail(refused(Kind::Overload).without_retry()), None),
    ] {
        let backend = Backend::steps([first, answered(200)]);
        let (seen, service) = (backend.seen(), over(&backend, HedgeSettings::new()));
        let status = get(&service).await.ok().map(|answer| answer.status().as_u16());
        assert_eq!((status, seen.count()), (expected, if expected.is_some() { 2 } else { 1 }));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_final_ends_all() {
    for code in [404, 400, 501, 301] {
        let backend = Backend::steps([Step::Hang, after(10, code), answered(200)]);
        let (seen, service) = (backend.seen(), over(&backend, fixed().attempts(3)));
        let (answer, took) = timed(status(&service)).await;
        assert_eq!((answer, took, seen.count(), seen.in_flight()), (code, 110 * MS, 2, 0));
    }
    let invalid = Error::new(Kind::Invalid, "no such method");
    let backend = Backend::steps([Step::fail(invalid), answered(200)]);
    assert_eq!(get(&over(&backend, fixed())).await.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn when_all_have_failed_the_last_failure_is_the_result_and_says_how_many_there_were() {
    let backend = Backend::steps([Step::FailAfter(150 * MS, "first".into()), after(10, 503)]);
    let (result, took) = timed(get(&over(&backend, fixed()))).await;
    let error = result.unwrap_err();
    assert_eq!((error.attempts(), error.delivery(), took), (2, Delivery::Unknown, 150 * MS));
    assert!(format!("{error:#}").contains("first"));
    let backend = Backend::steps([after(150, 502), Step::FailAfter(10 * MS, "second".into())]);
    let result = get(&over(&backend, fixed())).await.unwrap();
    assert_eq!((result.status().as_u16(), Attempts::of(result.extensions())), (502, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_not_sent_is_so_only_if_no_attempt_was() {
    let unsent = || Step::Fail(Error::new(Kind::Connect, "refused").into());
    let backend = Backend::steps([unsent(), unsent()]);
    let error = get(&over(&backend, fixed())).await.unwrap_err();
    assert_eq!((error.delivery(), error.attempts()), (Delivery::NotSent, 2));
    let backend = Backend::steps([Step::FailAfter(120 * MS, "lost".into()), unsent()]);
    let error = get(&over(&backend, fixed())).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    // One that a circuit refused was none, but the one before it was.
    let open = || Step::Fail(Error::new(Kind::CircuitOpen, "open").without_retry().into());
    let backend = Backend::steps([Step::Fail("lost".into()), open()]);
    let mut error = get(&over(&backend, fixed())).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::CircuitOpen, Delivery::Unknown, 1));
    assert!(error.take_request::<Request<Content>>().is_none());
    // One that is dropped may have been received.
    let invalid = Step::FailAfter(10 * MS, Error::new(Kind::Invalid, "no").into());
    let backend = Backend::steps([Step::Hang, invalid]);
    let error = get(&over(&backend, fixed())).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
}

/// gRFC A6 with a hedging policy of three attempts and a delay of 100 ms: what the first answers after 20 ms, and when the others
/// begin. The others hang.
#[tokio::test(start_paused = true)]
async fn the_next_attempt_begins_when_grpc_says_it_does() {
    let unavailable = |pushback: Option<&str>| {
        let failed = with_header(answer(200), "grpc-status", "14");
        match pushback {
            Some(value) => with_header(failed, "grpc-retry-pushback-ms", value),
            None => failed,
        }
    };
    let http = |status, header: Option<&'static str>, value| match header {
        Some(header) => with_header(answer(status), header, value),
        None => answer(status),
    };
    let none: &[u64] = &[];
    let table = [
        ("a status that is not fatal", unavailable(None), &[20, 120][..]),
        ("a pushback", unavailable(Some("50")), &[70, 170]),
        ("a long pushback", unavailable(Some("500")), &[520, 620]),
        ("a pushback of nothing", unavailable(Some("0")), &[20, 120]),
        ("a negative pushback", unavailable(Some("-1")), none),
        ("a pushback that cannot be read", unavailable(Some("soon")), none),
        ("a fatal status", with_header(answer(200), "grpc-status", "3"), none),
        ("success", with_header(answer(200), "grpc-status", "0"), none),
        ("a failure of HTTP", http(503, None, ""), &[20, 120]),
        ("a failure that says when", http(503, Some("retry-after"), "1"), &[1_020, 1_120]),
        ("one that says too late", http(503, Some("retry-after"), "61"), none),
        ("one that forbids it", http(503, Some("stonework-do-not-retry"), "1"), none),
    ];
    for (what, first, expected) in table {
        let mut first = Some(first);
        let backend = Backend::script(move |_, _| match first.take() {
            Some(first) => Step::AnswerAfter(20 * MS, first),
            None => Step::Hang,
        });
        let seen = backend.seen();
        let service = HedgeLayer::from(fixed().attempts(3)).classify(ClassifyGrpc).layer(backend);
        let call = service.oneshot(request(Method::GET));
        let _ = tokio::time::timeout(100_000 * MS, call).await;
        let times = seen.times();
        let begun: Vec<_> = times.iter().skip(1).map(|at| (*at - times[0]).as_millis() as u64).collect();
        assert_eq!(begun, expected, "{what}");
    }
}

/// The second attempt waits for the service from 100 ms on, for 200 ms, and the first one is answered at 150.
#[tokio::test(start_paused = true)]
async fn what_a_server_says_of_the_next_attempt_holds_for_one_that_waits_for_the_service() {
    for (header, value, sent, refunded, took) in [
        (None, "", Some(300), 0, 310),
        (Some("grpc-retry-pushback-ms"), "-1", None, 1, 150),
        (Some("stonework-do-not-retry"), "1", None, 1, 150),
        (Some("retry-after"), "61", None, 1, 150),
        (Some("grpc-retry-pushback-ms"), "500", Some(650), 0, 660),
    ] {
        let first = match header {
            Some(header) => with_header(answer(503), header, value),
            None => answer(503),
        };
        let backend = Backend::steps([Step::AnswerAfter(150 * MS, first), after(10, 200)]);
        let backend = backend.stall_ready(2, 200 * MS);
        let (seen, budget) = (backend.seen(), Budget::default());
        let service = HedgeLayer::from(fixed()).budget(budget.clone()).layer(backend);
        let (answer, all) = timed(status(&service)).await;
        let times = seen.times();
        let second = times.get(1).map(|at| (*at - times[0]).as_millis());
        assert_eq!((second, all), (sent, took * MS), "{header:?}: {value}");
        assert_eq!(answer, if sent.is_some() { 200 } else { 503 }, "{header:?}: {value}");
        let stats = budget.stats();
        assert_eq!((stats.granted, stats.refunded), (1, refunded), "{header:?}: {value}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_back_from_the_only_attempt_is_there_whoever_counts_attempts() {
    for (counts, further) in [(false, false), (true, false), (true, true)] {
        let unsent = |_: usize, request: &Request<Content>| {
            let mut back = Request::put("/").body(request.body().clone()).unwrap();
            *back.extensions_mut() = request.extensions().clone();
            Step::Fail(Error::new(Kind::Connect, "refused").with_request(back).into())
        };
        let mut sent = Request::put("/").body(Content::from("content")).unwrap();
        if counts {
            Call::edit(sent.extensions_mut(), Call::tell_attempts);
        }
        let service = over(&Backend::script(unsent), fixed().replay_cap(if further { 100 } else { 1 }));
        let mut error = service.oneshot(sent).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Connect, Delivery::NotSent));
        assert_eq!(error.take_request::<Request<Content>>().is_some(), !further, "{counts}, {further}");
    }
    // And it says what it said: what was written for the layers below is gone.
    let handing_back = service_fn(|request: Request<Content>| async move {
        Err::<Response<Content>, _>(
            Error::new(Kind::Connect, "refused").with_request(request).without_retry(),
        )
    });
    let mut sent = request(Method::GET);
    Call::edit(sent.extensions_mut(), |call| call.attempts(3));
    let mut error = HedgeLayer::from(fixed()).layer(handing_back).oneshot(sent).await.unwrap_err();
    let back = error.take_request::<Request<Content>>().expect("it never left");
    assert_eq!(*Call::of(back.extensions()), Call::new().attempts(3));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_to_become_ready_for_the_second_does_not_fail_the_first() {
    let backend = Backend::steps([after(150, 200)]).fail_ready(2, "out of handles".into());
    let (answer, took) = timed(status(&over(&backend, fixed()))).await;
    assert_eq!((answer, took), (200, 150 * MS));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_at_first_costs_nothing_to_be_sent() {
    use stonework::base::{BudgetSettings, Ratio};
    let none = BudgetSettings::default().reserve(0).floor_per_second(0).ratio(Ratio::ZERO);
    let unsent = Step::Fail(Error::new(Kind::Connect, "refused").into());
    let service =
        HedgeLayer::from(fixed()).budget(Budget::new(none)).layer(Backend::steps([unsent, answered(200)]));
    assert_eq!(status(&service).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_a_longer_pause_than_is_allowed_gets_no_further_attempt() {
    let slow_down = |seconds| move || Step::Answer(with_header(answer(503), "retry-after", seconds));
    let longest = || fixed().max_retry_after(2_000 * MS);
    let backend = Backend::steps([slow_down("2")(), answered(200)]);
    let (answer, took) = timed(status(&over(&backend, longest()))).await;
    assert_eq!((answer, took), (200, 2_000 * MS));
    let backend = Backend::steps([slow_down("3")(), answered(200)]);
    let seen = backend.seen();
    assert_eq!((status(&over(&backend, longest())).await, seen.count()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn the_next_hop_is_told_which_attempt_it_is_in_the_header_that_was_named_or_not_at_all() {
    let named = || fixed().attempt_header(http::HeaderName::from_static("x-try"));
    for (settings, told) in [(named(), Some("2")), (named().without_attempt_header(), None)] {
        let backend = Backend::steps([Step::Hang, answered(200)]);
        let seen = backend.seen();
        assert_eq!(status(&over(&backend, settings)).await, 200);
        let second = &seen.requests()[1];
        assert_eq!(second.headers().get("x-try").map(|value| value.to_str().unwrap()), told);
        assert_eq!(second.headers().len(), usize::from(told.is_some()));
    }
}
