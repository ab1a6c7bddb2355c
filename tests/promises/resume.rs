//! The rest of a download that broke off.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use stonework::base::{
    Backoff, BoxError, Budget, BudgetSettings, Call, Delivery, Elapsed, Error, Jitter, Kind, Ratio, Rng,
};
use stonework::client::{Client, ClientSettings};
use stonework::retry::{
    Changed, EndedEarly, NotResumed, ResumeLayer, ResumeSettings, RetryLayer, RetrySettings,
};
use stonework::testing::{Digest, Reaction, ScriptedServer, Step, Strict, in_order, respond};
use stonework::timeout::{BodyLimits, ResponseBodyTimeoutLayer, TimeoutLayer};
use stonework::{Body, Deadline};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::pieces::{Piece, Pieces, Read, Streaming, Watch, broken, data, pieces, read, trailers};
use crate::support::{Content, SECOND, timed};

const TAG: (&str, &str) = ("etag", "\"v1\"");
const LENGTH: (&str, &str) = ("content-length", "10");

fn get() -> Request<Content> {
    Request::get("/large").header("accept", "*/*").body(Full::default()).expect("a request")
}

/// A 200 that can be resumed, with this body.
fn whole(body: impl IntoIterator<Item = Piece>) -> Response<Pieces> {
    pieces(body).with(200, [TAG, LENGTH])
}

/// A 206 of these bytes of ten.
fn part(range: &str, body: impl IntoIterator<Item = Piece>) -> Response<Pieces> {
    let range = format!("bytes {range}/10");
    pieces(body).with(206, [TAG, ("content-range", range.as_str())])
}

fn answers(all: impl IntoIterator<Item = Response<Pieces>>) -> Streaming {
    Streaming::steps(all.into_iter().map(Step::Answer))
}

async fn fetched(backend: &Streaming) -> Read {
    let response = ResumeLayer::new().layer(backend.clone()).oneshot(get()).await.expect("a head");
    read(response.into_body()).await
}

fn asked(backend: &Streaming) -> Vec<Option<String>> {
    let range = |request: &Request<Content>| {
        let headers = request.headers();
        assert_eq!(headers.get("range").is_some(), headers.get("if-range").is_some(), "never one alone");
        headers.get("range").map(|range| range.to_str().expect("text").to_owned())
    };
    backend.seen().take().iter().map(range).collect()
}

// ───────────────────────────────────────────────────────────────────────────── over sockets

fn client() -> Client {
    let quick = Backoff::constant(Duration::from_millis(1)).expect("valid");
    let settings = ClientSettings::new().retry(RetrySettings::new().backoff(quick));
    Client::builder().settings(settings).build().expect("valid settings")
}

async fn download(server: &ScriptedServer) -> Read {
    let request = Request::get(server.uri("/file")).body(Body::empty()).expect("a request");
    let response = ResumeLayer::new().layer(client()).oneshot(request).await.expect("a head");
    read(response.into_body()).await
}

#[tokio::test]
async fn a_server_that_cuts_the_answer_in_half_is_asked_for_the_rest_and_the_reader_gets_the_whole() {
    let content: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
    let half = content.len() / 2;
    let rest = respond(206)
        .header("etag", "\"v1\"")
        .header("content-range", &format!("bytes {half}-299999/300000"))
        .body(content[half..].to_vec());
    let server = ScriptedServer::start(in_order([
        respond(200).header("etag", "\"v1\"").body(content.clone()).half(),
        // What stands below has its say too: this one is `retry`'s.
        respond(503).header("retry-after", "0").keep_alive(),
        rest.keep_alive(),
    ]))
    .await;
    let read = download(&server).await;
    assert!(read.error.is_none());
    assert_eq!((read.bytes.len(), Digest::of(&read.bytes)), (content.len(), Digest::of(&content)));
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for again in &seen[1..] {
        assert_eq!((&again.method, again.target.as_str()), (&Method::GET, "/file"));
        assert_eq!(again.header("range"), Some("bytes=150000-"));
        assert_eq!(again.header("if-range"), Some("\"v1\""));
    }
}

#[tokio::test]
async fn a_resource_that_changed_meanwhile_is_never_spliced_and_the_reader_is_told() {
    for changed in [
        respond(200).header("etag", "\"v2\"").body("bbbbbbbbbb"),
        respond(200).body("bbbbbbbbbb"),
        respond(206).header("etag", "\"v2\"").header("content-range", "bytes 5-9/10").body("bbbbb"),
        respond(206).header("etag", "\"v1\"").header("content-range", "bytes 5-10/11").body("bbbbbb"),
    ] {
        let first = respond(200).header("etag", "\"v1\"").body("aaaaaaaaaa").half();
        let server = ScriptedServer::start(in_order([first, changed.keep_alive()])).await;
        let read = download(&server).await;
        assert_eq!(read.bytes, b"aaaaa");
        let error = read.error.expect("an error");
        assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered));
        assert_eq!(error.cause::<Changed>().map(Changed::delivered), Some(5), "{error:#}");
        assert!(error.to_string().contains("body") && format!("{error:#}").contains("changed while"));
    }
}

// ───────────────────────────────────────────────────────────────────────────── what goes on

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_or_ends_early_is_continued_at_the_very_byte_with_the_trailers_of_the_last_answer()
{
    for breaks in
        [vec![data("0123"), broken()], vec![data("01"), data("23")], vec![data("0123"), Piece::Trailers]]
    {
        let rest = part("4-9", [data("456789"), Piece::Trailers]);
        let backend = answers([whole(breaks), rest]);
        let read = fetched(&backend).await;
        assert!(read.error.is_none());
        assert_eq!((read.bytes.as_slice(), read.trailers), (&b"0123456789"[..], Some(trailers())));
        assert_eq!(asked(&backend), [None, Some("bytes=4-".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_a_piece_at_a_time_is_asked_until_all_is_there() {
    let backend = answers([
        whole([data("01"), broken()]),
        part("2-4", [data("234")]),
        part("5-9", [data("5"), broken()]),
        part("6-9", [data("6789")]),
    ]);
    let read = fetched(&backend).await;
    assert_eq!((read.bytes.as_slice(), read.error.is_none()), (&b"0123456789"[..], true));
    let ranges = ["bytes=2-", "bytes=5-", "bytes=6-"].map(|range| Some(range.to_owned()));
    assert_eq!(asked(&backend)[1..], ranges);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_the_rest_is_the_same_request_with_a_range() {
    let backend = answers([whole([data("0"), broken()]), part("1-9", [data("123456789")])]);
    let mut first = get();
    first.headers_mut().insert("authorization", "Bearer s3cret".parse().expect("valid"));
    first.headers_mut().insert("if-range", "\"without a range it says nothing\"".parse().expect("valid"));
    let response = ResumeLayer::new().layer(backend.clone()).oneshot(first).await.expect("a head");
    assert!(read(response.into_body()).await.error.is_none());
    let again = backend.seen().take().pop().expect("a second request");
    let expected: HeaderMap = [
        ("accept", "*/*"),
        ("authorization", "Bearer s3cret"),
        ("range", "bytes=1-"),
        ("if-range", "\"v1\""),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
    .collect();
    assert_eq!((again.method(), again.uri().path(), again.headers()), (&Method::GET, "/large", &expected));
}

#[tokio::test(start_paused = true)]
async fn while_nothing_was_delivered_only_the_same_answer_takes_over() {
    let backend = answers([whole([broken()]), whole([data("0123456789")])]);
    let read = fetched(&backend).await;
    assert_eq!((read.bytes.as_slice(), read.error.is_none()), (&b"0123456789"[..], true));
    assert_eq!(asked(&backend), [None, None], "asked for as at first");

    // The caller has the head of the first answer: another version does not belong to it.
    let other = pieces([data("abcdefghij")]).with(200, [("etag", "\"v2\""), LENGTH]);
    let read = fetched(&answers([whole([broken()]), other])).await;
    assert!(read.bytes.is_empty());
    assert_eq!(read.error.expect("an error").cause::<Changed>().map(Changed::delivered), Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_the_rest_is_never_read_and_its_status_and_the_first_error_are_told() {
    let watch = Watch::default();
    let unread = |status, fields: &[(&'static str, &'static str)]| {
        let body = pieces([data("XXXXXX")]).watched(&watch);
        let is_longer = fields.iter().any(|(name, _)| *name == "x-body-is-longer");
        let body = if is_longer { body.hinted(7) } else { body };
        body.with(status, fields.iter().copied())
    };
    for (status, fields) in [
        (416, vec![("content-range", "bytes */4")]),
        (404, vec![]),
        (503, vec![]),
        (304, vec![TAG]),
        (206, vec![TAG]),
        (206, vec![TAG, ("content-range", "bytes 4-9/10"), ("x-body-is-longer", "yes")]),
        (206, vec![("content-range", "bytes 4-9/10")]),
        (206, vec![TAG, ("content-range", "bytes 5-9/10")]),
        (206, vec![TAG, ("content-range", "bytes 4-9/*")]),
        (206, vec![TAG, ("content-range", "bytes 4-9/10"), ("content-length", "7")]),
        // The same version as a whole: the server knows no ranges.
        (200, vec![TAG, LENGTH]),
    ] {
        let backend = answers([whole([data("0123"), broken()]), unread(status, &fields)]);
        let read = fetched(&backend).await;
        assert_eq!((read.bytes.as_slice(), watch.polls()), (&b"0123"[..], 0), "{status} {fields:?}");
        let error = read.error.expect("an error");
        let why = error.cause::<NotResumed>().expect("it says why");
        assert_eq!((why.status().map(|status| status.as_u16()), why.delivered()), (Some(status), 4));
        assert!(format!("{error:#}").ends_with("the line is dead"), "{error:#}");
        assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_longer_than_it_said_is_not_delivered_beyond() {
    let backend = answers([whole([data("0123"), broken()]), part("4-5", [data("45"), data("XX")])]);
    let read = fetched(&backend).await;
    assert_eq!(read.bytes, b"012345");
    assert!(read.error.expect("an error").cause::<NotResumed>().is_some());

    // The first answer is the server's own affair.
    let backend = answers([whole([data("0123456789"), data("ab"), broken()])]);
    let read = fetched(&backend).await;
    assert_eq!((read.bytes.as_slice(), read.error.is_some()), (&b"0123456789ab"[..], true));
}

// ───────────────────────────────────────────────────────────────────────────── what is left alone

#[tokio::test(start_paused = true)]
async fn what_cannot_be_resumed_without_a_guess_breaks_off_as_it_does() {
    let breaks = || pieces([data("0123"), broken()]);
    let plain = || Request::get("/large").body(Content::default()).expect("a request");
    let with = |name: &'static str, value: &str| {
        let mut request = plain();
        request.headers_mut().insert(name, value.parse().expect("valid"));
        request
    };
    let method = |method| {
        let mut request = plain();
        *request.method_mut() = method;
        request
    };
    let mut twice = plain();
    Call::edit(twice.extensions_mut(), |call| call.attempts(2));
    for (what, request, response) in [
        ("a weak tag", plain(), breaks().with(200, [("etag", "W/\"v1\""), LENGTH])),
        ("no tag", plain(), breaks().with(200, [LENGTH])),
        ("no length", plain(), breaks().with(200, [TAG])),
        ("no ranges", plain(), breaks().with(200, [TAG, LENGTH, ("accept-ranges", "none")])),
        ("a part", plain(), breaks().with(206, [TAG, LENGTH])),
        ("an error", plain(), breaks().with(404, [TAG, LENGTH])),
        ("another length", plain(), breaks().hinted(9).with(200, [TAG, LENGTH])),
        ("a range of the caller's", with("range", "bytes=0-9"), whole([data("0123"), broken()])),
        ("a POST", method(Method::POST), whole([data("0123"), broken()])),
        ("a HEAD", method(Method::HEAD), whole([data("0123"), broken()])),
        ("a content", plain().map(|_| Full::from("query")), whole([data("0123"), broken()])),
        ("a number of attempts", twice, whole([data("0123"), broken()])),
    ] {
        let backend = answers([response]);
        let response = ResumeLayer::new().layer(backend.clone()).oneshot(request).await.expect("a head");
        let read = read(response.into_body()).await;
        assert_eq!((read.bytes.as_slice(), backend.seen().count()), (&b"0123"[..], 1), "{what}");
        assert_eq!(
            format!("{:#}", read.error.expect("an error")),
            "the call failed: the line is dead",
            "{what}"
        );
    }
    let backend = answers([whole([data("0123")])]);
    let off = ResumeLayer::new().when(false).layer(backend.clone());
    let read = read(off.oneshot(get()).await.expect("a head").into_body()).await;
    assert!(read.error.is_none() && read.bytes == b"0123", "switched off");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_for_a_layer_below_is_not_asked_for_again() {
    let backend = answers([whole([data("0123456789")])]);
    let limited =
        backend.clone().map_response(|response: Response<Pieces>| response.map(|body| Limited::new(body, 5)));
    let response = ResumeLayer::new().layer(limited).oneshot(get()).await.expect("a head");
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(backend.seen().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_time_is_over_is_not_asked_for_again_and_a_silent_one_is() {
    for (limits, requests) in [
        (BodyLimits::none().total(5 * SECOND), 1),
        (BodyLimits::none().until_deadline(), 1),
        (BodyLimits::none().idle(5 * SECOND), 2),
    ] {
        let backend =
            answers([whole([data("0123"), Piece::Wait(60 * SECOND)]), part("4-9", [data("456789")])]);
        let stack = ServiceBuilder::new()
            .layer(ResumeLayer::new())
            .layer(TimeoutLayer::new(5 * SECOND))
            .layer(ResponseBodyTimeoutLayer::new(limits))
            .service(backend.clone());
        let response = stack.oneshot(get()).await.expect("a head");
        let read = read(Box::pin(response.into_body())).await;
        assert_eq!(backend.seen().count(), requests, "{limits:?}");
        assert_eq!(read.error.is_some_and(|error| error.is_timeout()), requests == 1, "{limits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_length_that_is_told_is_what_is_left_of_the_whole() {
    let backend = answers([whole([data("0123")]), part("4-9", [data("456789")])]);
    let mut body = ResumeLayer::new().layer(backend).oneshot(get()).await.expect("a head").into_body();
    assert_eq!(body.size_hint().exact(), Some(10));
    for left in [6, 0] {
        body.frame().await.expect("a frame").expect("no error");
        // The first answer is at its end after four bytes, and the body is not.
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left), left == 0));
    }
    assert!(body.frame().await.is_none());
}

// ───────────────────────────────────────────────────────────────────────────── bounds

/// Never any use: no byte of the rest ever comes.
fn hopeless(step: fn() -> Step<Response<Pieces>>) -> Streaming {
    Streaming::script(
        move |call, _| if call == 1 { Step::Answer(whole([data("0"), broken()])) } else { step() },
    )
}

#[tokio::test(start_paused = true)]
async fn three_requests_in_a_row_without_a_byte_are_enough() {
    let backend = hopeless(|| Step::Answer(part("1-9", [broken()])));
    let read = fetched(&backend).await;
    assert_eq!(backend.seen().count(), 1 + 3);
    assert!(format!("{:#}", read.error.expect("an error")).ends_with("the line is dead"), "its own");

    let backend = hopeless(|| Step::fail(Error::new(Kind::Connect, "refused")));
    let read = fetched(&backend).await;
    assert_eq!(backend.seen().count(), 1 + 3);
    let error = read.error.expect("an error");
    assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered), "a head had arrived");
    assert_eq!(error.cause::<NotResumed>().and_then(NotResumed::error).map(Error::kind), Some(Kind::Connect));

    // One that says when to come back is not asked at all.
    let full = || Step::fail(Error::new(Kind::Overload, "full").with_retry_after(SECOND));
    let backend = hopeless(full);
    assert!(fetched(&backend).await.error.is_some());
    assert_eq!(backend.seen().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_off_after_each_byte_is_asked_ten_times_and_no_more() {
    let from = |request: &Request<Content>| {
        let range = request.headers().get("range")?.to_str().ok()?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse::<u64>().ok()
    };
    let drip = Streaming::script(move |_, request| {
        let from = from(request);
        let start = from.unwrap_or(0);
        let range = format!("bytes {start}-99/100");
        let fields = [TAG, ("content-length", "100"), ("content-range", range.as_str())];
        let body = pieces([data("x"), broken()]);
        Step::Answer(match from {
            None => body.with(200, [TAG, ("content-length", "100")]),
            Some(_) => body.with(206, [fields[0], fields[2]]),
        })
    });
    let read = fetched(&drip).await;
    assert_eq!((drip.seen().count(), read.bytes.len(), read.error.is_some()), (1 + 10, 11, true));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_begin_anew_with_a_byte() {
    let doubling = Backoff::exponential(SECOND, 100 * SECOND).expect("valid").jitter(Jitter::None);
    let backend = answers([
        whole([data("0"), broken()]),
        part("1-9", [broken()]),
        part("1-9", [broken()]),
        part("1-9", [data("1"), broken()]),
        part("2-9", [data("23456789")]),
    ]);
    let settings = ResumeSettings::new().backoff(doubling);
    let response = ResumeLayer::from(settings).layer(backend.clone()).oneshot(get()).await.expect("a head");
    assert!(read(response.into_body()).await.error.is_none());
    assert_eq!(backend.seen().gaps(), [1, 2, 4, 1].map(Duration::from_secs));

    // What was waited for before is forgotten too.
    for seed in 0..20 {
        let backend = answers([
            whole([data("0"), broken()]),
            part("1-9", [broken()]),
            part("1-9", [data("1"), broken()]),
            part("2-9", [data("23456789")]),
        ]);
        let growing = ResumeSettings::new().backoff(doubling.jitter(Jitter::Decorrelated));
        let layer = ResumeLayer::from(growing).rng(Rng::seeded(seed));
        let response = layer.layer(backend.clone()).oneshot(get()).await.expect("a head");
        assert!(read(response.into_body()).await.error.is_none());
        assert!(backend.seen().gaps()[2] <= 3 * SECOND + Duration::from_millis(1));
    }

    let jittered = answers([whole([broken()]), whole([data("0123456789")])]);
    let settings = ResumeSettings::new().backoff(doubling.jitter(Jitter::Full));
    let layer = ResumeLayer::from(settings).rng(Rng::seeded(3));
    let response = layer.layer(jittered.clone()).oneshot(get()).await.expect("a head");
    read(response.into_body()).await;
    let gap = jittered.seen().gaps()[0];
    assert!(gap > Duration::ZERO && gap < SECOND, "{gap:?}");
}

fn scarce(reserve: u32) -> BudgetSettings {
    BudgetSettings::default().reserve(reserve).floor_per_second(0).ratio(Ratio::ZERO)
}

#[tokio::test(start_paused = true)]
async fn resumes_are_charged_to_a_budget_and_an_empty_one_leaves_the_body_as_it_broke() {
    let budget = Budget::new(scarce(2));
    let layer = ResumeLayer::new().budget(budget.clone());
    let backend = Streaming::script(|_, request| {
        Step::Answer(match request.headers().contains_key("range") {
            false => whole([data("0123"), broken()]),
            true => part("4-9", [data("456789")]),
        })
    });
    let mut whole_ones = 0;
    for _ in 0..5 {
        let response = layer.layer(backend.clone()).oneshot(get()).await.expect("a head");
        let read = read(response.into_body()).await;
        match read.error {
            None => whole_ones += 1,
            Some(error) => assert!(error.cause::<NotResumed>().is_none(), "its own: {error:#}"),
        }
    }
    assert_eq!((whole_ones, budget.stats().granted, budget.stats().refused), (2, 2, 3));

    // Its own fills with the requests, one given with the requests of others.
    let filled = BudgetSettings::default().reserve(0).floor_per_second(0).ratio(Ratio::ONE);
    let own = ResumeLayer::from(ResumeSettings::new().budget(filled));
    let given = ResumeLayer::new().budget(Budget::new(filled));
    for (layer, resumed) in [(own, true), (given, false)] {
        let response = layer.layer(backend.clone()).oneshot(get()).await.expect("a head");
        assert_eq!(read(response.into_body()).await.error.is_none(), resumed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_that_is_dropped_in_its_pause_goes_back_to_the_budget() {
    let budget = Budget::new(scarce(1));
    let settings = ResumeSettings::new().backoff(Backoff::constant(30 * SECOND).expect("valid"));
    let layer = ResumeLayer::from(settings).budget(budget.clone());
    for dropped in 1..=3 {
        let backend = answers([whole([data("0123"), broken()])]);
        let body = layer.layer(backend).oneshot(get()).await.expect("a head").into_body();
        assert!(tokio::time::timeout(SECOND, read(body)).await.is_err(), "it waits, so it was granted");
        assert_eq!(budget.stats().refunded, dropped);
    }
}

// ───────────────────────────────────────────────────────────────────────────── time, drops, readiness

#[tokio::test(start_paused = true)]
async fn the_deadline_where_the_body_is_read_holds_for_what_is_asked_for() {
    let pause = ResumeSettings::new().backoff(Backoff::constant(2 * SECOND).expect("valid"));
    let body = async |backend: &Streaming| {
        ResumeLayer::from(pause).layer(backend.clone()).oneshot(get()).await.expect("a head").into_body()
    };
    // No pause begins that would end after it.
    let backend = answers([whole([data("0123"), broken()])]);
    let reading = read(body(&backend).await);
    let (read_so_far, took) = timed(Deadline::within(2 * SECOND).bound(reading)).await;
    let error = read_so_far.expect("in time").error.expect("an error");
    assert_eq!((took, format!("{error:#}").as_str()), (Duration::ZERO, "the call failed: the line is dead"));

    // Polled far too late, when the pause is over and so is the time: nothing is begun.
    let budget = Budget::new(scarce(1));
    let backend = answers([whole([data("0123"), broken()])]);
    let late = ResumeLayer::from(pause).budget(budget.clone()).layer(backend.clone());
    let late = read(late.oneshot(get()).await.expect("a head").into_body());
    let mut late = std::pin::pin!(Deadline::within(3 * SECOND).bound(late));
    let mut poll = || late.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(poll().is_pending());
    tokio::time::advance(10 * SECOND).await;
    assert!(poll().is_ready());
    assert_eq!((backend.seen().count(), budget.stats().refunded), (1, 1));

    // What is asked for sees it, and is dropped when it comes.
    let seen = Arc::new(Mutex::new(None));
    let scope = Arc::clone(&seen);
    let backend = Streaming::script(move |call, _| {
        *scope.lock().unwrap() = Deadline::current();
        if call == 1 { Step::Answer(whole([data("0123"), broken()])) } else { Step::Hang }
    });
    let limit = Deadline::within(3 * SECOND);
    let (ended, took) = timed(limit.bound(read(body(&backend).await))).await;
    assert!(ended.is_err());
    assert_eq!((took, *seen.lock().unwrap()), (3 * SECOND, Some(limit)));
    assert_eq!((backend.seen().count(), backend.seen().abandoned()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn each_request_for_the_rest_is_a_call_of_its_own_with_all_that_stands_below() {
    let backend = Streaming::steps([
        Step::Answer(whole([data("0123"), broken()])),
        Step::Answer(pieces([]).with(503, [])),
        Step::Answer(part("4-9", [data("45"), Piece::Wait(60 * SECOND), broken()])),
        Step::Hang,
        Step::Answer(part("6-9", [data("6789")])),
    ]);
    let stack = ServiceBuilder::new()
        .layer(ResumeLayer::new())
        .layer(TimeoutLayer::new(5 * SECOND))
        .layer(RetryLayer::new())
        .service(backend.clone());
    let response = stack.oneshot(get()).await.expect("a head");
    let read = read(response.into_body()).await;
    assert_eq!((read.bytes.as_slice(), read.error.is_none()), (&b"0123456789"[..], true));
    let attempts: Vec<_> =
        backend.seen().take().iter().map(|request| Call::of(request.extensions()).attempt()).collect();
    assert_eq!(attempts, [1, 1, 2, 1, 1], "one that ran out of time was a call too");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_the_rest_that_runs_out_of_time_is_a_timeout() {
    let hangs = Streaming::script(|call, _| match call {
        1 => Step::Answer(whole([data("0123"), broken()])),
        _ => Step::Hang,
    });
    let stack =
        ServiceBuilder::new().layer(ResumeLayer::new()).layer(TimeoutLayer::new(SECOND)).service(hangs);
    let read = read(stack.oneshot(get()).await.expect("a head").into_body()).await;
    let error = read.error.expect("an error");
    let why = error.cause::<NotResumed>().and_then(NotResumed::error).expect("it says why");
    assert!(error.is_timeout() && why.cause::<Elapsed>().is_some(), "{error:#}");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_body_drops_what_is_under_way_and_what_broke_off_goes_before_more_is_asked() {
    let watch = Watch::default();
    let first = pieces([data("0123"), broken()]).watched(&watch).with(200, [TAG, LENGTH]);
    let mut steps = [Step::Answer(first), Step::Hang].into_iter();
    let of_first = watch.clone();
    let backend = Streaming::script(move |call, _| {
        assert_eq!(of_first.drops(), call - 1, "one body at a time");
        steps.next().expect("two calls")
    });
    let body = ResumeLayer::new().layer(backend.clone()).oneshot(get()).await.expect("a head").into_body();
    assert!(tokio::time::timeout(SECOND, read(body)).await.is_err());
    assert_eq!((backend.seen().count(), backend.seen().in_flight(), backend.seen().abandoned()), (2, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_service_that_is_asked_for_the_rest_is_made_ready_first_and_holds_nothing_while_the_body_is_read()
{
    let backend = answers([
        whole([data("0123"), Piece::Wait(SECOND), broken()]),
        part("4-9", [data("45"), broken()]),
        part("6-9", [data("6789")]),
    ]);
    let strict =
        Strict::new(backend).capacity(1).pending_first(2).fail_readiness_at(5, || BoxError::from("not now"));
    let ledger = strict.ledger();
    let mut service = ResumeLayer::new().layer(strict);
    let response = service.ready().await.expect("ready").call(get()).await.expect("a head");
    let mut body = response.into_body();
    body.frame().await.expect("a frame").expect("no error");
    assert_eq!((ledger.reservations_out(), ledger.in_flight()), (0, 0), "held while the body is read");
    let rest = read(body).await;
    assert_eq!((rest.bytes.as_slice(), rest.error.is_none()), (&b"456789"[..], true));
    assert_eq!(ledger.calls(), 3);
    drop(service);
    ledger.assert_settled();

    // Dropped while it waits for the service.
    let backend = answers([whole([data("0123"), broken()])]);
    let strict = Strict::new(backend).capacity(1);
    let ledger = strict.ledger();
    let mut service = ResumeLayer::new().layer(strict);
    let mut hog = service.clone();
    let body = service.ready().await.expect("ready").call(get()).await.expect("a head").into_body();
    hog.ready().await.expect("takes the place");
    assert!(tokio::time::timeout(SECOND, read(body)).await.is_err());
    assert_eq!((ledger.waiting(), ledger.calls()), (0, 1));
    drop((service, hog));
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn an_end_before_the_length_that_nothing_can_be_done_about_is_an_error_and_no_end() {
    let layer = ResumeLayer::new().budget(Budget::new(scarce(0)));
    let backend = answers([whole([data("0123")])]);
    let read = read(layer.layer(backend).oneshot(get()).await.expect("a head").into_body()).await;
    let error = read.error.expect("an error");
    let early = error.cause::<EndedEarly>().expect("it says so");
    assert_eq!((error.kind(), early.delivered, early.length), (Kind::Body, 4, 10));
}

#[tokio::test]
async fn what_is_told_of_a_failed_resume_shows_no_secret() {
    let first = respond(200).header("etag", "\"t0ken\"").body("s3cret-s3cret").half();
    let server = ScriptedServer::start(in_order([
        first,
        Reaction::read_all_then_close(),
        respond(500).into(),
        respond(500).into(),
    ]))
    .await;
    let request = Request::get(server.uri("/file?key=s3cret")).body(Body::empty()).expect("a request");
    let response = ResumeLayer::new().layer(client()).oneshot(request).await.expect("a head");
    let shown = format!("{:?}", response.body());
    let error = read(response.into_body()).await.error.expect("an error");
    for text in [shown, format!("{error:#}"), format!("{error:?}")] {
        assert!(!text.contains("s3cret") && !text.contains("t0ken"), "{text}");
    }
}

#[test]
fn a_body_that_can_be_resumed_crosses_threads() {
    fn check<T: Send>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let backend = answers([whole([data("0123456789")])]);
    let call = ResumeLayer::new().layer(backend).oneshot(get());
    check(&call);
    let body = runtime.block_on(call).expect("a head").into_body();
    check(&body);
    assert_eq!(runtime.block_on(read(Body::new(body))).bytes, Bytes::from("0123456789"));
}
