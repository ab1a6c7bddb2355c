//! What becomes of an answer that is a failure.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use stonework::base::{Budget, BudgetSettings, Error, Event, Ratio, Skip};
use stonework::hedge::HedgeLayer;
use stonework::limit::{Admission, ConcurrencyLimitLayer, ConcurrencyLimiter};
use stonework::testing::{Recorder, Step};
use stonework::timeout::TimeoutLayer;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{MS, after, fixed, status};
use crate::pieces::{Piece, Pieces, data, pieces};
use crate::support::{Backend, Content, SECOND, answer, answered, request, timed, with_header};

const WAITS: Admission = Admission::WaitUpTo(Duration::from_secs(60));

type Answers = Vec<(Duration, Response<Pieces>)>;

/// Answers one call after another with these, each so long after it came; and hangs when there is none left. So many are in flight at
/// once, and the others wait.
fn limited(
    most: usize,
    admission: Admission,
    answers: Answers,
) -> (
    impl Service<
        Request<Content>,
        Response = Response<impl http_body::Body<Error: std::fmt::Debug> + Send>,
        Error = Error,
        Future: Send,
    > + Clone
    + Send
    + 'static,
    ConcurrencyLimiter,
) {
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = service_fn(move |_: Request<Content>| {
        let next = answers.lock().unwrap().next();
        async move {
            let Some((pause, answer)) = next else { return std::future::pending().await };
            sleep(pause).await;
            Ok::<_, Error>(answer)
        }
    });
    let limiter = ConcurrencyLimiter::new(most).unwrap();
    let layer = ConcurrencyLimitLayer::from(limiter.clone()).admission(admission);
    (layer.layer(service), limiter)
}

/// An answer whose body does not end.
fn open(status: u16) -> Response<Pieces> {
    pieces([data("why"), Piece::Hang]).with(status, [])
}

fn good() -> Response<Pieces> {
    pieces([]).with(200, [])
}

fn nothing_to_spend() -> Budget {
    Budget::new(BudgetSettings::default().reserve(0).floor_per_second(0).ratio(Ratio::ZERO))
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_gives_back_what_it_holds_before_the_next_attempt_begins() {
    let later = || pieces([data("why"), Piece::Hang]).with(503, [("retry-after", "2")]);
    for admission in [Admission::Reject, WAITS, Admission::Backpressure] {
        for (failed, expected) in [(open(503), 20 * MS), (later(), 2_020 * MS)] {
            let (inner, limiter) = limited(1, admission, vec![(10 * MS, failed), (10 * MS, good())]);
            let service = HedgeLayer::from(fixed()).layer(inner);
            let (answer, took) = timed(timeout(60 * SECOND, service.oneshot(request(Method::GET)))).await;
            assert_eq!((answer.expect("not blocked").unwrap().status().as_u16(), took), (200, expected));
            assert_eq!(limiter.in_flight(), 0, "{admission:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_holds_nothing_while_another_attempt_goes_on_and_a_third_begins() {
    // The first hangs, and one place is left for the two others.
    let hangs = (3_600 * SECOND, good());
    let (inner, limiter) = limited(2, WAITS, vec![hangs, (10 * MS, open(503)), (10 * MS, good())]);
    let service = HedgeLayer::from(fixed().attempts(3)).layer(inner);
    let (answer, took) = timed(timeout(60 * SECOND, service.oneshot(request(Method::GET)))).await;
    assert_eq!((answer.expect("not blocked").unwrap().status().as_u16(), took), (200, 120 * MS));
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_is_given_up_while_an_attempt_waits_for_its_place() {
    // The second waits for the place that the first has, as long as its answer is held.
    let (inner, _) = limited(1, Admission::Backpressure, vec![(150 * MS, open(503)), (10 * MS, good())]);
    let service = HedgeLayer::from(fixed()).layer(inner);
    let (answer, took) = timed(timeout(60 * SECOND, service.oneshot(request(Method::GET)))).await;
    assert_eq!((answer.expect("not blocked").unwrap().status().as_u16(), took), (200, 160 * MS));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_failed_answer_is_read_for_a_second_while_another_attempt_goes_on() {
    let ends = pieces([data("why"), Piece::Wait(500 * MS), data("not")]).with(503, []);
    for (failed, begins, ended) in [(ends, 600 * MS, 620 * MS), (open(503), 1_100 * MS, 1_120 * MS)] {
        let (inner, limiter) = limited(2, WAITS, vec![(10 * SECOND, good()), (10 * MS, failed)]);
        let call = tokio::spawn(HedgeLayer::from(fixed()).layer(inner).oneshot(request(Method::GET)));
        sleep(begins).await;
        assert_eq!(limiter.in_flight(), 2, "it is being read");
        sleep(ended - begins).await;
        assert_eq!(limiter.in_flight(), 1, "it is over, or was given up");
        assert!(timeout(60 * SECOND, call).await.unwrap().unwrap().is_ok());
        assert_eq!(limiter.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_the_result_after_all_is_whole() {
    let budget = HedgeLayer::from(fixed()).budget(nothing_to_spend());
    let stop = ("stonework-do-not-retry", "1");
    for (layer, fields) in [(budget, None), (HedgeLayer::from(fixed()), Some(stop))] {
        let (inner, _) =
            limited(1, WAITS, vec![(10 * MS, pieces([data("why"), data(" not")]).with(503, fields))]);
        let answer = layer.layer(inner).oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "why not");
    }
    // Also the last of two.
    let last = pieces([data("the last")]).with(502, []);
    let (inner, _) = limited(1, WAITS, vec![(10 * MS, open(503)), (10 * MS, last)]);
    let answer = HedgeLayer::from(fixed()).layer(inner).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "the last");
}

#[tokio::test(start_paused = true)]
async fn where_time_runs_out_for_another_attempt_that_is_the_result() {
    let (inner, limiter) = limited(2, WAITS, vec![(3_600 * SECOND, good()), (10 * MS, open(503))]);
    let service = TimeoutLayer::new(500 * MS).layer(HedgeLayer::from(fixed()).layer(inner));
    let (result, took) = timed(service.oneshot(request(Method::GET))).await;
    let error = result.err().expect("no answer");
    assert!(error.is_timeout());
    assert_eq!((error.attempts(), took, limiter.in_flight()), (2, 500 * MS, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_a_server_asks_for_is_paid_when_it_begins() {
    let slow_down = || Step::Answer(with_header(answer(503), "retry-after", "5"));
    // Who has nothing to pay with hears it now and not in five seconds.
    let events = Recorder::new();
    let layer = HedgeLayer::from(fixed()).budget(nothing_to_spend()).observer(events.clone());
    let service = layer.layer(Backend::steps([slow_down(), answered(200)]));
    assert_eq!(timed(status(&service)).await, (503, Duration::ZERO));
    assert!(matches!(events.events()[..], [Event::HedgeSkipped { why: Skip::Budget, .. }]));
    // Of several that are put off together no more come back than can pay.
    let budget = Budget::new(BudgetSettings::default().reserve(1).floor_per_second(0).ratio(Ratio::ZERO));
    let layer = HedgeLayer::from(fixed()).budget(budget.clone());
    let backend = Backend::script(move |call, _| if call <= 2 { slow_down() } else { answered(200) });
    let service = layer.layer(backend);
    let (one, other) = tokio::join!(timed(status(&service)), timed(status(&service)));
    assert_eq!((one, other), ((200, 5 * SECOND), (503, Duration::ZERO)));
    assert_eq!((budget.stats().granted, budget.stats().refunded), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_cancelled_goes_back_to_the_budget() {
    let slow_down = || Step::Answer(with_header(answer(503), "retry-after", "5"));
    let budget = Budget::default();
    let layer = HedgeLayer::from(fixed()).budget(budget.clone());
    let service = layer.layer(Backend::steps([slow_down(), answered(200)]));
    assert!(timeout(SECOND, status(&service)).await.is_err(), "it waits");
    assert_eq!((budget.stats().granted, budget.stats().refunded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn of_a_third_attempt_that_was_put_off_nothing_is_paid_if_the_first_has_the_answer() {
    let slow_down = Step::Answer(with_header(answer(503), "retry-after", "5"));
    let budget = Budget::default();
    let layer = HedgeLayer::from(fixed().attempts(3)).budget(budget.clone());
    let backend = Backend::steps([after(300, 200), slow_down]);
    let seen = backend.seen();
    let mut call = Box::pin(layer.layer(backend).oneshot(request(Method::GET)));
    assert_eq!((&mut call).await.unwrap().status(), 200);
    assert_eq!((seen.count(), budget.stats().granted, budget.stats().refunded), (2, 2, 1));
    drop(call);
}
