//! The stack of a client: first as it should be, then with two layers swapped. Here what has to do with time, fallbacks, hedges and bodies.

use std::time::Duration;

use http::{HeaderName, Request};
use stonework::Error;
use stonework::base::{Delivery, Kind, TimeoutHeader};
use stonework::fallback::FallbackLayer;
use stonework::hedge::{HedgeLayer, HedgeSettings};
use stonework::observe::SpanLayer;
use stonework::retry::{CollectLayer, ResumeLayer};
use stonework::testing::{Seen, Step};
use stonework::timeout::{AttemptTimeoutLayer, SendDeadlineLayer, TimeoutLayer};
use tokio::time::timeout;
use tower::{Layer, ServiceExt};

use super::{MS, get, hangs, retry};
use crate::pieces::{Piece, Streaming, broken, data, pieces, read};
use crate::support::{Backend, Content, Everything, SECOND, answer, answered, timed, with_header};

/// Longer than anything here takes that comes to an end.
const FOR_EVER: Duration = Duration::from_secs(3_600);

// ───────────────────────────────────────────────────────────────────────────── limits on time

#[tokio::test(start_paused = true)]
async fn a_limit_on_the_call_that_stands_inside_of_retry_is_granted_to_each_attempt_anew() {
    let limit = TimeoutLayer::new(10 * SECOND);
    let (result, took) = timed(get(limit.layer(retry().layer(hangs())))).await;
    assert!(result.unwrap_err().is_timeout());
    assert_eq!(took, 10 * SECOND);

    let (result, took) = timed(get(retry().layer(limit.layer(hangs())))).await;
    assert!(result.unwrap_err().is_timeout());
    assert_eq!(took, 32 * SECOND, "three times the limit, and two pauses");
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_an_attempt_that_stands_outside_of_retry_leaves_no_time_for_another() {
    let limit = AttemptTimeoutLayer::new(10 * SECOND);
    let silent_once = || Backend::script(|call, _| if call == 1 { Step::Hang } else { answered(200) });
    let (result, took) = timed(get(retry().layer(limit.layer(silent_once())))).await;
    assert_eq!((result.unwrap(), took), (200, 11 * SECOND));

    let backend = silent_once();
    let seen = backend.seen();
    assert!(get(limit.layer(retry().layer(backend))).await.unwrap_err().is_timeout());
    assert_eq!(seen.count(), 1, "nobody found out that the second would have been answered");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_inside_of_the_limit_on_an_attempt_gets_what_the_first_one_has_left() {
    let limit = AttemptTimeoutLayer::new(SECOND);
    let hedge = || HedgeLayer::from(HedgeSettings::new().fixed_delay(800 * MS));
    let silent_once = || {
        Backend::script(
            |call, _| {
                if call == 1 { Step::Hang } else { Step::AnswerAfter(400 * MS, answer(200)) }
            },
        )
    };
    let (result, took) = timed(get(hedge().layer(limit.layer(silent_once())))).await;
    assert_eq!((result.unwrap(), took), (200, 1_200 * MS));

    let (result, took) = timed(get(limit.layer(hedge().layer(silent_once())))).await;
    assert!(result.unwrap_err().is_timeout(), "200 ms for an answer that takes 400");
    assert_eq!(took, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_sent_from_outside_of_retry_promises_time_that_is_gone() {
    const HEADER: HeaderName = HeaderName::from_static("x-timeout-ms");
    let told = |seen: Seen<Request<Content>>| -> Vec<String> {
        let value = |request: &Request<Content>| request.headers()[HEADER].to_str().unwrap().to_owned();
        seen.with(|all| all.iter().map(value).collect())
    };
    let limit = TimeoutLayer::new(3 * SECOND);
    let tell = SendDeadlineLayer::new(TimeoutHeader::Millis(HEADER));
    let slow = || {
        let failed = |_: usize, _: &Request<Content>| Step::AnswerAfter(SECOND, answer(503));
        Backend::script(failed)
    };
    let backend = slow();
    let seen = backend.seen();
    let _ = get(limit.layer(retry().layer(tell.layer(backend)))).await;
    assert_eq!(told(seen), ["2990", "990"], "less 10 ms for the way back");

    let backend = slow();
    let seen = backend.seen();
    let _ = get(limit.layer(tell.layer(retry().layer(backend)))).await;
    assert_eq!(told(seen), ["2990", "2990"]);
}

#[test]
fn a_span_inside_of_the_limit_on_the_call_says_that_its_caller_left() {
    let limit = TimeoutLayer::new(SECOND);
    let written = |work: &dyn Fn(&tokio::runtime::Runtime)| {
        let everything = Everything::default();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        crate::support::subscriber::with_default(everything.clone(), || work(&runtime));
        everything.text()
    };
    let told = written(&|runtime| {
        assert!(runtime.block_on(get(SpanLayer::call().layer(limit.layer(hangs())))).is_err());
    });
    assert!(told.contains("timeout") && !told.contains("dropped"), "{told}");

    let told = written(&|runtime| {
        assert!(runtime.block_on(get(limit.layer(SpanLayer::call().layer(hangs())))).is_err());
    });
    assert!(told.contains("dropped") && !told.contains("timeout"), "{told}");
}

// ───────────────────────────────────────────────────────────────────────────── fallbacks, hedges

#[tokio::test(start_paused = true)]
async fn a_fallback_inside_of_retry_stands_in_for_an_attempt_that_another_would_have_made_good() {
    let instead = || FallbackLayer::value(|_: &Error| answer(203));
    let fails_once = || {
        let broken = || Step::Fail(Kind::Transport.into());
        Backend::script(move |call, _| if call == 1 { broken() } else { answered(200) })
    };
    assert_eq!(get(instead().layer(retry().layer(fails_once()))).await.unwrap(), 200);

    assert_eq!(get(retry().layer(instead().layer(fails_once()))).await.unwrap(), 203);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_outside_of_the_limit_on_the_call_is_waited_for_without_a_limit() {
    let limit = TimeoutLayer::new(10 * SECOND);
    let fails = || Backend::script(|_, _| Step::Fail(Kind::Connect.into()));
    let instead = || FallbackLayer::service(hangs());
    let (result, took) = timed(get(limit.layer(instead().layer(fails())))).await;
    assert!(result.is_err());
    assert_eq!(took, 10 * SECOND);

    assert!(timeout(FOR_EVER, get(instead().layer(limit.layer(fails())))).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_hedge_outside_of_retry_does_not_wait_for_as_long_as_the_server_has_asked_to_be_left_alone() {
    let hedge = || HedgeLayer::from(HedgeSettings::new().fixed_delay(100 * MS));
    let overloaded = || {
        let later = || Step::Answer(with_header(answer(503), "retry-after", "5"));
        Backend::script(move |call, _| if call == 1 { later() } else { answered(200) })
    };
    let backend = overloaded();
    let seen = backend.seen();
    assert_eq!(get(retry().layer(hedge().layer(backend))).await.unwrap(), 200);
    assert!(seen.gaps()[0] >= 5 * SECOND, "{:?}", seen.gaps());

    let backend = overloaded();
    let seen = backend.seen();
    assert_eq!(get(hedge().layer(retry().layer(backend))).await.unwrap(), 200);
    assert_eq!(seen.gaps(), [100 * MS]);
}

// ───────────────────────────────────────────────────────────────────────────── bodies

#[tokio::test(start_paused = true)]
async fn a_body_that_is_collected_outside_of_the_limit_on_an_attempt_may_be_silent_for_ever() {
    let limit = AttemptTimeoutLayer::new(10 * SECOND);
    let collect = CollectLayer::new(1_000);
    let silent_once = || {
        let silent = || pieces([data("half"), Piece::Hang]).with(200, []);
        let whole = || pieces([data("whole")]).with(200, []);
        Streaming::script(move |call, _| Step::Answer(if call == 1 { silent() } else { whole() }))
    };
    let (result, took) = timed(get(retry().layer(limit.layer(collect.layer(silent_once()))))).await;
    assert_eq!((result.unwrap(), took), (200, 11 * SECOND));

    let swapped = retry().layer(collect.layer(limit.layer(silent_once())));
    assert!(timeout(FOR_EVER, get(swapped)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_collected_outside_of_retry_is_not_asked_for_again() {
    let collect = CollectLayer::new(1_000);
    let breaks_once = || {
        let breaks = || pieces([data("half"), broken()]).with(200, []);
        let whole = || pieces([data("whole")]).with(200, []);
        Streaming::script(move |call, _| Step::Answer(if call == 1 { breaks() } else { whole() }))
    };
    assert_eq!(get(retry().layer(collect.layer(breaks_once()))).await.unwrap(), 200);

    let error = get(collect.layer(retry().layer(breaks_once()))).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Answered);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_download_that_is_asked_for_inside_of_the_limit_on_the_call_has_no_limit() {
    let limit = TimeoutLayer::new(10 * SECOND);
    let breaks_and_hangs = || {
        let head = [("etag", "\"v1\""), ("content-length", "10")];
        let breaks = move || pieces([data("01234"), broken()]).with(200, head);
        Streaming::script(move |call, _| if call == 1 { Step::Answer(breaks()) } else { Step::Hang })
    };
    let whole = || Request::get("/large").header("accept", "*/*").body(Content::default()).unwrap();
    let backend = breaks_and_hangs();
    let seen = backend.seen();
    let body = ResumeLayer::new().layer(limit.layer(backend)).oneshot(whole()).await.unwrap().into_body();
    let ended = timeout(FOR_EVER, read(body)).await.expect("each further request has its limit");
    assert!(ended.error.is_some());
    assert_eq!(seen.count(), 4, "three times it was asked for the rest");

    let backend = breaks_and_hangs();
    let seen = backend.seen();
    let body = limit.layer(ResumeLayer::new().layer(backend)).oneshot(whole()).await.unwrap().into_body();
    assert!(timeout(FOR_EVER, read(body)).await.is_err());
    assert_eq!(seen.count(), 2);
}
