//! What gRPC asks of a retry: the table and the throttle of gRFC A6 ("gRPC Retry Design").
//!
//! Three differences are on purpose. A pushback is a lower bound here and an exact delay there: on top of it comes the
//! scheduled pause, so that clients which were told the same do not come back together. Which statuses are repeated is
//! a list there and a [`Classify`] here. And where A6 stops all retries of a client while most of its calls fail, a
//! budget lets them through at its ratio: see the throttle below.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use proptest::prelude::*;
use stonework::base::{
    Backoff, Budget, BudgetSettings, Call, ClassifyGrpc, Error, GrpcStatus, Jitter, Kind, Ratio, Skip,
};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Recorder, Step};
use tower::{Layer, ServiceExt};

use crate::support::{Backend, Content, answer, answered, request, skips, timed};

const PAUSE: Duration = Duration::from_millis(200);
const NOW: Duration = Duration::ZERO;

/// A gRPC call is a POST, and its caller says that it may be repeated.
fn call() -> Request<Content> {
    let mut call = request(Method::POST);
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    Call::edit(call.extensions_mut(), Call::dangerously_assume_idempotent);
    call
}

/// A head with this status in it: trailers-only.
fn trailers_only(status: i32, pushback: &[&str]) -> Response<Content> {
    let mut response = answer(200);
    response.headers_mut().insert("grpc-status", status.into());
    for value in pushback {
        response.headers_mut().append("grpc-retry-pushback-ms", value.parse().unwrap());
    }
    response
}

/// Four attempts, the same pause before each but the first.
fn retries() -> RetryLayer<ClassifyGrpc> {
    let backoff = Backoff::constant(PAUSE).unwrap().jitter(Jitter::None);
    RetryLayer::from(RetrySettings::new().attempts(4).backoff(backoff)).classify(ClassifyGrpc)
}

const RETRYABLE: &[i32] = &[2, 4, 8, 13, 14, 15];
const NOT_RETRYABLE: &[i32] = &[1, 3, 5, 6, 7, 9, 10, 11, 12, 16];
const OK: &[i32] = &[0];

/// Each class of answers to the first attempt, with each kind of pushback; then attempts in all and the time they took
/// when the second attempt works.
const TABLE: &[(&[i32], &[&str], usize, Duration)] = &[
    (RETRYABLE, &[], 2, PAUSE),
    (RETRYABLE, &["0"], 2, PAUSE),
    (RETRYABLE, &["25"], 2, Duration::from_millis(225)),
    (RETRYABLE, &["3000"], 2, Duration::from_millis(3_200)),
    (RETRYABLE, &["-1"], 1, NOW),
    (RETRYABLE, &["-9999999999"], 1, NOW),
    (RETRYABLE, &["soon"], 1, NOW),
    (RETRYABLE, &["1.5"], 1, NOW),
    (RETRYABLE, &[""], 1, NOW),
    (RETRYABLE, &["25", "25"], 1, NOW),
    (RETRYABLE, &["-1", "25"], 1, NOW),
    (NOT_RETRYABLE, &[], 1, NOW),
    (NOT_RETRYABLE, &["0"], 1, NOW),
    (NOT_RETRYABLE, &["25"], 1, NOW),
    (NOT_RETRYABLE, &["-1"], 1, NOW),
    (NOT_RETRYABLE, &["soon"], 1, NOW),
    (NOT_RETRYABLE, &["25", "25"], 1, NOW),
    (OK, &[], 1, NOW),
    (OK, &["0"], 1, NOW),
    (OK, &["25"], 1, NOW),
    (OK, &["-1"], 1, NOW),
    (OK, &["soon"], 1, NOW),
    (OK, &["25", "25"], 1, NOW),
];

#[tokio::test(start_paused = true)]
async fn each_status_is_repeated_or_not_and_each_pushback_obeyed_as_grpc_has_it() {
    let mut statuses: Vec<i32> = [RETRYABLE, NOT_RETRYABLE, OK].concat();
    statuses.sort_unstable();
    assert_eq!(statuses, (0..17).collect::<Vec<_>>(), "every status is in one class");

    for (class, pushback, attempts, delay) in TABLE {
        for status in *class {
            let first = trailers_only(*status, pushback);
            let backend = Backend::script(move |call, _| {
                Step::Answer(if call == 1 { first.clone() } else { trailers_only(0, &[]) })
            });
            let seen = backend.seen();
            let (response, took) = timed(retries().layer(backend).oneshot(call())).await;
            let row = format!("{} with {pushback:?}", GrpcStatus::from_code(*status));
            assert_eq!((seen.count(), took), (*attempts, *delay), "{row}");
            let last = if *attempts == 1 { *status } else { 0 };
            assert_eq!(response.unwrap().headers()["grpc-status"], last.to_string(), "{row}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retryable_status_is_repeated_until_the_attempts_are_used_and_then_returned() {
    let backend = Backend::script(|_, _| Step::Answer(trailers_only(14, &[])));
    let seen = backend.seen();
    let (response, took) = timed(retries().layer(backend).oneshot(call())).await;
    assert_eq!((seen.count(), took), (4, 3 * PAUSE));
    assert_eq!(response.unwrap().headers()["grpc-status"], "14");
}

#[tokio::test(start_paused = true)]
async fn a_head_without_a_status_is_final_since_messages_may_follow() {
    let backend = Backend::steps([answered(200)]);
    let seen = backend.seen();
    assert_eq!(retries().layer(backend).oneshot(call()).await.unwrap().status(), 200);
    assert_eq!(seen.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_answers_is_repeated_by_the_status_that_it_stands_for() {
    for (status, attempts) in
        [(503, 2), (502, 2), (504, 2), (429, 2), (400, 2), (500, 2), (401, 1), (403, 1), (404, 1)]
    {
        let backend = Backend::script(move |call, _| answered(if call == 1 { status } else { 200 }));
        let seen = backend.seen();
        retries().layer(backend).oneshot(call()).await.unwrap();
        assert_eq!(seen.count(), attempts, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_which_nothing_is_known_is_not_repeated_once_it_was_answered() {
    let backend = Backend::script(|_, _| Step::Answer(trailers_only(14, &[])));
    let (seen, events) = (backend.seen(), Recorder::new());
    let layer = retries().observer(events.clone());
    layer.layer(backend).oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((seen.count(), skips(&events)), (1, vec![Skip::Unsafe]));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_refused_unprocessed_is_repeated_at_once_and_whatever_it_is() {
    let refused = || {
        let error = Error::new(Kind::Transport, "REFUSED_STREAM");
        Step::fail(error.with_delivery(stonework::base::Delivery::Refused))
    };
    let backend = Backend::steps([refused(), Step::Answer(trailers_only(0, &[]))]);
    let seen = backend.seen();
    let (response, took) = timed(retries().layer(backend).oneshot(request(Method::POST))).await;
    assert_eq!((response.unwrap().status(), seen.count(), took), (StatusCode::OK, 2, NOW));
}

// ───────────────────────────────────────────────────────────────────────────── the throttle

/// The throttle of A6, with `maxTokens` 10 and `tokenRatio` 0.1, in tenths of a token.
struct Throttle(u32);

impl Throttle {
    const fn new() -> Self {
        Self(100)
    }

    fn succeeded(&mut self) {
        self.0 = (self.0 + 1).min(100);
    }

    fn failed(&mut self) {
        self.0 = self.0.saturating_sub(10);
    }

    /// Asked after the failure that a retry would answer was counted.
    const fn allows(&self) -> bool {
        self.0 > 50
    }
}

#[test]
fn the_throttle_of_a6_blocks_at_half_its_tokens_and_opens_above() {
    let mut throttle = Throttle::new();
    let allowed: Vec<bool> = (0..5)
        .map(|_| {
            throttle.failed();
            throttle.allows()
        })
        .collect();
    assert_eq!((throttle.0, allowed), (50, vec![true, true, true, true, false]));
    throttle.succeeded();
    assert_eq!((throttle.0, throttle.allows()), (51, true));
}

/// A budget that earns as fast, and saves up as much as that throttle allows at once.
fn budget() -> Budget {
    Budget::new(BudgetSettings::default().reserve(5).floor_per_second(0).ratio(Ratio::percent(10)))
}

/// Retries granted to one call whose attempts end so (true: success), by either rule alone.
fn by_throttle(throttle: &mut Throttle, attempts: &[bool]) -> usize {
    let mut granted = 0;
    for (attempt, good) in attempts.iter().enumerate() {
        if *good {
            throttle.succeeded();
            break;
        }
        throttle.failed();
        if attempt + 1 == attempts.len() || !throttle.allows() {
            break;
        }
        granted += 1;
    }
    granted
}

fn by_budget(budget: &Budget, attempts: &[bool]) -> usize {
    budget.deposit();
    let now = tokio::time::Instant::now();
    let mut granted = 0;
    for good in &attempts[..attempts.len() - 1] {
        if *good {
            break;
        }
        let Some(charge) = budget.try_withdraw(now, 1) else { break };
        charge.spend();
        granted += 1;
    }
    granted
}

proptest! {
    /// Neither rule is stricter everywhere. What A6 grants a budget grants too, call by call. The other way round does
    /// not hold: A6 also counts failures that are not retried, so in an outage it sinks below its threshold and
    /// grants nothing until many calls have succeeded; a budget grants a tenth of the calls, always, and no more.
    #[test]
    fn a_budget_grants_every_retry_that_a6_would_and_beyond_those_no_more_than_its_ratio(
        calls in prop::collection::vec((prop::collection::vec(any::<bool>(), 1..5), 0_u32..40), 1..200),
    ) {
        let (mut throttle, budget) = (Throttle::new(), budget());
        let (mut granted, mut requests) = (0, 0);
        for (attempts, good_ones_after) in calls {
            let (theirs, ours) = (by_throttle(&mut throttle, &attempts), by_budget(&budget, &attempts));
            prop_assert!(ours >= theirs, "{attempts:?}: {ours} retries for {theirs} at {} tenths", throttle.0);
            granted += ours;
            requests += 1;
            for _ in 0..good_ones_after {
                by_throttle(&mut throttle, &[true]);
                by_budget(&budget, &[true]);
                requests += 1;
            }
            prop_assert!(10 * granted <= 50 + requests, "{granted} retries, {requests} requests");
        }
    }
}

#[test]
fn in_an_outage_a6_stops_all_retries_and_a_budget_allows_a_tenth() {
    let (mut throttle, budget) = (Throttle::new(), budget());
    let failing = [false; 4];
    let (mut theirs, mut ours) = (0, 0);
    for _ in 0..1_000 {
        theirs += by_throttle(&mut throttle, &failing);
        ours += by_budget(&budget, &failing);
    }
    // All of the first call; then the throttle is at half. The very first deposit finds the reserve of the budget full.
    assert_eq!((theirs, ours), (3, 5 + 99));
}
