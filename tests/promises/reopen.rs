//! A request body that is opened anew for each attempt.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use stonework::Body;
use stonework::base::body::{Reopen, Replay, Superseded, WrongLength};
use stonework::base::{Backoff, BoxError, Delivery, Kind, Skip};
use stonework::client::{Client, ClientSettings};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Digest, Reaction, Recorder, ScriptedServer, respond};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::pieces::{Piece, Pieces, Watch, broken, data, pieces, read};
use crate::support::{SECOND, answer, skips};

/// Four times the cap of `retry`.
const SIZE: usize = 256 * 1024;

fn content() -> Vec<u8> {
    (0..SIZE).map(|index| (index % 251) as u8).collect()
}

/// A source of these bytes, in frames of a thousand, and how often it was opened.
fn source(
    content: Vec<u8>,
) -> (Reopen<impl http_body::Body<Data = Bytes, Error = BoxError>>, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let content = Bytes::from(content);
    let reopen = Reopen::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let content = content.clone();
        let ends = (0..content.len()).step_by(1_000).map(move |start| {
            let end = content.len().min(start + 1_000);
            Ok::<_, BoxError>(Frame::data(content.slice(start..end)))
        });
        Ok::<_, Infallible>(StreamBody::new(futures_util::stream::iter(ends)))
    });
    (reopen, opened)
}

fn client(events: &Recorder) -> Client {
    let quick = Backoff::constant(Duration::from_millis(1)).expect("valid");
    let settings = ClientSettings::new().retry(RetrySettings::new().backoff(quick));
    Client::builder().settings(settings).observer(events.clone()).build().expect("valid settings")
}

#[tokio::test]
async fn an_upload_beyond_the_cap_arrives_whole_however_much_of_it_was_read_before() {
    let digest = Digest::of(&content());
    for read in [0, 1, SIZE as u64 / 2, SIZE as u64] {
        for length in [Some(SIZE as u64), None] {
            let server = ScriptedServer::start(move |request| match request.number {
                1 => Reaction::read_then(read, respond(503)).close(),
                _ => respond(200).keep_alive(),
            })
            .await;
            let (reopen, opened) = source(content());
            let body: Body = match length {
                Some(length) => reopen.length(length).into(),
                None => reopen.into(),
            };
            let events = Recorder::new();
            let answer = client(&events).put(server.uri("/")).body(body).send().await.expect("answered");
            assert_eq!((answer.status().as_u16(), answer.attempts()), (200, 2), "{read} bytes, {length:?}");
            assert_eq!(skips(&events), []);
            let seen = &server.seen()[1];
            assert_eq!((seen.body.received, seen.body.digest), (SIZE as u64, digest), "{read}, {length:?}");
            assert_eq!(seen.header("content-length"), length.map(|_| "262144"));
            assert!(opened.load(Ordering::Relaxed) <= 2, "only what is sent is opened");
        }
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_opened_ends_the_attempt_and_names_itself() {
    let gone = || Err::<Full<Bytes>, _>(io::Error::new(io::ErrorKind::NotFound, "upload.bin is gone"));
    let error = read(Reopen::new(gone)).await.error.expect("an error");
    assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Unknown));

    let server = ScriptedServer::start(|_| Reaction::new().read_body().reply(respond(200))).await;
    let events = Recorder::new();
    let post = client(&events).post(server.uri("/")).body(Reopen::new(gone)).send();
    let error = post.await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::Body, 1));
    assert_ne!(error.delivery(), Delivery::NotSent, "its head may have been received");
    assert!(format!("{error:#}").contains("upload.bin is gone"), "{error:#}");
    assert!(error.cause::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound));
    assert_eq!(skips(&events), [Skip::Unsafe]);
}

#[tokio::test]
async fn a_source_that_is_read_and_has_another_length_than_promised_is_an_error() {
    for promised in [9, 11] {
        let reopen = Reopen::new(|| Ok::<_, Infallible>(Full::new(Bytes::from("0123456789"))));
        let mut body = Body::from(reopen.length(promised));
        assert_eq!(body.size_hint().exact(), Some(promised));
        assert!(body.record(0));
        let error = read(body).await.error.expect("an error");
        assert_eq!(error.kind(), Kind::Body);
        assert_eq!(
            error.cause::<WrongLength>().map(|error| (error.promised, error.read)),
            Some((promised, 10))
        );
    }
}

#[tokio::test]
async fn forks_are_opened_when_they_are_read_and_do_not_disturb_each_other() {
    let (mut first, opened) = source(content());
    assert!(first.record(0) && first.is_replayable());
    first.frame().await.expect("a frame").expect("no error");
    assert!(first.record(0), "begun or not");
    let forks: Vec<_> = (0..3).map(|_| first.fork().expect("a fork")).collect();
    let nested = forks[0].fork().expect("a fork of a fork");
    assert_eq!(opened.load(Ordering::Relaxed), 1, "only the one that was read");
    for fork in forks.into_iter().chain([nested]) {
        assert_eq!(read(fork).await.bytes, content());
    }
    assert_eq!(read(first).await.bytes, content()[1_000..]);
    assert_eq!(opened.load(Ordering::Relaxed), 5);
}

fn poll(body: &mut Reopen<Pieces>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    std::pin::Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn is_superseded(polled: &Poll<Option<Result<Frame<Bytes>, BoxError>>>) -> bool {
    matches!(polled, Poll::Ready(Some(Err(error))) if error.is::<Superseded>())
}

#[tokio::test]
async fn a_retry_that_takes_over_ends_the_attempt_before_and_closes_what_it_had_open() {
    let watch = Watch::default();
    let of_source = watch.clone();
    let open = move || Ok::<_, Infallible>(pieces([data("a"), data("b"), Piece::Hang]).watched(&of_source));
    let mut first = Reopen::new(open);
    let mut outer = first.fork().expect("kept by a layer above");
    let mut copy = first.fork().expect("kept for further attempts");
    assert!(poll(&mut first).is_ready());

    copy.take_over();
    assert!(is_superseded(&poll(&mut first)));
    assert_eq!(watch.drops(), 1);
    assert!(matches!(poll(&mut first), Poll::Ready(None)), "an error is the end");

    let mut second = copy.fork().expect("the second attempt");
    assert!(poll(&mut second).is_ready());
    copy.take_over();
    let mut third = copy.fork().expect("the third attempt");
    assert!(is_superseded(&poll(&mut second)));
    for body in [&mut third, &mut outer] {
        assert!(poll(body).is_ready() && poll(body).is_ready() && poll(body).is_pending());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_waits_for_its_source_is_woken_when_it_is_taken_over() {
    let mut first = Reopen::new(|| Ok::<_, Infallible>(pieces([Piece::Hang])));
    let mut copy = first.fork().expect("a copy");
    let reading = tokio::spawn(async move { first.frame().await });
    tokio::task::yield_now().await;
    copy.take_over();
    let ended = tokio::time::timeout(SECOND, reading).await.expect("it is woken");
    let ended = ended.expect("no panic").expect("an error");
    assert!(ended.unwrap_err().is::<Superseded>());
}

#[tokio::test(start_paused = true)]
async fn what_an_opened_body_fails_with_says_nothing_about_the_request_that_carries_it() {
    let upload =
        |fails: fn() -> Piece| Reopen::new(move || Ok::<_, Infallible>(pieces([data("a"), fails()])));
    let unsent = || Piece::Fail(stonework::Error::new(Kind::Connect, "of another exchange").into());
    let client = service_fn(|request: Request<Reopen<Pieces>>| async move {
        let body: Result<http_body_util::Collected<Bytes>, _> = request.into_body().collect().await;
        body.map(|_| answer(200))
    });
    for (fails, kind) in [(broken as fn() -> Piece, Kind::Other), (unsent, Kind::Body)] {
        let request = Request::post("/").body(upload(fails)).expect("a request");
        let error = RetryLayer::new().layer(client).oneshot(request).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery(), error.attempts()), (kind, Delivery::Unknown, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn retries_within_retries_open_it_for_each_attempt_that_is_made() {
    let (upload, opened) = source(content());
    let server = service_fn(|request: Request<Reopen<_>>| async move {
        let read = read(request.into_body()).await;
        assert!(read.error.is_none() && read.bytes.len() == SIZE);
        Ok::<_, Infallible>(answer(503))
    });
    let twice = || RetryLayer::from(RetrySettings::new().attempts(2));
    let stack = ServiceBuilder::new().layer(twice()).layer(twice()).service(server);
    let request = Request::builder().method(Method::PUT).uri("/").body(upload).expect("a request");
    assert_eq!(stack.oneshot(request).await.expect("the last answer").status(), 503);
    assert_eq!(opened.load(Ordering::Relaxed), 2, "of the two, the outer one acts");
}
