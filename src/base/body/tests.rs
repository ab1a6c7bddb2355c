use std::collections::VecDeque;
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use super::shared::Next;
use super::*;
use crate::base::{BoxError, Error, Kind};

type Polled = Next<Bytes, BoxError>;
type Slot = Arc<Mutex<Option<Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError>>>>>>;

/// Calls back whenever it is polled, and answers what the callback says.
struct Scripted<F>(F);

impl<F: FnMut(&mut Context<'_>) -> Polled + Unpin> http_body::Body for Scripted<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        (self.0)(cx)
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll<B: http_body::Body + Unpin>(body: &mut B) -> Next<B::Data, B::Error> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn read<B: http_body::Body<Data = Bytes> + Unpin>(body: &mut B) -> Result<Vec<u8>, B::Error> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(frame)) = poll(body) {
        all.extend(frame?.into_data().unwrap_or_default());
    }
    Ok(all)
}

fn chunks(
    chunks: &[&'static str],
) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + use<> {
    let frames: Vec<_> =
        chunks.iter().map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes())))).collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

// ---- replay ----

#[test]
fn bodies_are_send_and_sync_when_what_is_inside_is_only_send() {
    fn send_sync<T: Send + Sync>() {}
    type NotSync = StreamBody<std::cell::Cell<()>>;
    send_sync::<ReplayBody<NotSync>>();
    send_sync::<Body>();
}

/// While one reader polls the source, another comes. Then the source answers.
fn comes_while_the_source_is_polled(cap: usize, answer: fn() -> Polled) -> usize {
    let fork = Slot::default();
    let wakes = Arc::new(Wakes::default());
    let (slot, waker) = (Arc::clone(&fork), Waker::from(Arc::clone(&wakes)));
    let mut body = ReplayBody::new(Scripted(move |_: &mut Context<'_>| {
        if let Some(fork) = slot.lock().unwrap().as_mut() {
            assert!(fork.as_mut().poll_frame(&mut Context::from_waker(&waker)).is_pending());
        }
        answer()
    }));
    assert!(body.record(cap));
    *fork.lock().unwrap() = body.fork().map(|fork| Box::pin(fork) as _);
    let _ = catch_unwind(AssertUnwindSafe(|| poll(&mut body)));
    fork.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    wakes.0.load(SeqCst)
}

#[test]
fn a_reader_that_comes_while_the_source_is_being_polled_is_woken_whatever_the_source_answers() {
    assert_eq!(comes_while_the_source_is_polled(9, || Poll::Pending), 1);
    assert_eq!(comes_while_the_source_is_polled(9, || Poll::Ready(None)), 1);
    assert_eq!(comes_while_the_source_is_polled(9, || Poll::Ready(Some(Err("broken".into())))), 1);
    assert_eq!(comes_while_the_source_is_polled(9, || Poll::Ready(Some(Ok(Frame::data("data".into()))))), 1);
    assert_eq!(comes_while_the_source_is_polled(1, || Poll::Ready(Some(Ok(Frame::data("data".into()))))), 1);
    assert_eq!(comes_while_the_source_is_polled(9, || panic!("the source panics")), 1);
}

#[test]
fn after_a_panic_of_the_source_the_other_readers_end_with_an_error() {
    let mut body = ReplayBody::new(Scripted(|_: &mut Context<'_>| panic!("the source panics")));
    assert!(body.record(9));
    let mut fork = body.fork().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut body))).is_err());
    assert!(read(&mut fork).unwrap_err().is::<SourceFailed>() && body.fork().is_none());
}

#[test]
fn a_gibibyte_passes_and_never_more_than_the_limit_is_kept() {
    struct Piece(Arc<AtomicUsize>);
    static PIECE: [u8; 16 * 1024] = [7; 16 * 1024];
    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            &PIECE
        }
    }
    impl Drop for Piece {
        fn drop(&mut self) {
            self.0.fetch_sub(PIECE.len(), SeqCst);
        }
    }

    let (held, mut left) = (Arc::new(AtomicUsize::new(0)), 1_usize << 30);
    let mut body = ReplayBody::new(Scripted({
        let held = Arc::clone(&held);
        move |_: &mut Context<'_>| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= PIECE.len();
            held.fetch_add(PIECE.len(), SeqCst);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(Piece(Arc::clone(&held)))))))
        }
    }));
    let cap = 64 * 1024;
    assert!(body.record(cap));
    let mut fork = body.fork().unwrap();
    let (mut passed, mut most) = (0, 0);
    while let Poll::Ready(Some(frame)) = poll(&mut body) {
        most = most.max(held.load(SeqCst));
        passed += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(passed, 1 << 30);
    assert!(most <= cap + PIECE.len(), "{most} bytes held");
    assert_eq!(held.load(SeqCst), 0);
    let error = read(&mut fork).unwrap_err();
    assert_eq!(error.downcast_ref::<ReplayLimit>(), Some(&ReplayLimit { cap }));
    assert!(body.fork().is_none());
    assert!(!body.record(usize::MAX));
}

#[test]
fn a_body_known_to_be_over_the_limit_is_not_recorded_and_still_sent() {
    let mut body = ReplayBody::new(Full::<Bytes>::from("hello"));
    assert!(!body.record(4));
    assert!(body.fork().is_none());
    assert_eq!(read(&mut body).unwrap(), b"hello");

    assert!(!Full::<Bytes>::from("hello").record(4));
    assert!(Full::<Bytes>::from("hello").record(5));
    assert!(Empty::<Bytes>::new().record(0));
}

#[test]
fn a_body_that_is_being_read_is_not_recorded_but_one_that_only_waited_is() {
    let mut body = ReplayBody::new(chunks(&["a", "b"]));
    assert!(poll(&mut body).is_ready());
    assert!(!body.record(9));

    let mut answers =
        VecDeque::from([Poll::Pending, Poll::Ready(Some(Ok(Frame::data("a".into())))), Poll::Ready(None)]);
    let mut body =
        ReplayBody::new(Scripted(move |_: &mut Context<'_>| answers.pop_front().unwrap_or(Poll::Pending)));
    assert!(poll(&mut body).is_pending());
    assert!(body.record(9));
    assert_eq!(read(&mut body).unwrap(), b"a");
    assert_eq!(read(&mut body.fork().unwrap()).unwrap(), b"a");
}

#[test]
fn recording_twice_keeps_the_larger_limit_and_answers_for_the_limit_asked() {
    let mut body = ReplayBody::new(chunks(&["12345", "67890"]));
    assert!(body.record(5));
    let mut nested = body.fork().unwrap();
    assert!(nested.record(10));
    assert!(nested.record(2));
    assert_eq!(read(&mut nested).unwrap(), b"1234567890");
    assert!(!nested.record(9), "by now the size is known");
    assert!(nested.record(10));
    assert_eq!(read(&mut body).unwrap(), b"1234567890");
}

#[tokio::test]
async fn trailers_and_the_exact_length_are_the_same_on_the_second_reading() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let with_trailers =
        Full::<Bytes>::from("hello").with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
    let mut first = ReplayBody::new(Box::pin(with_trailers));
    assert!(first.record(100));
    let again = first.fork().unwrap();
    let hint = (first.size_hint().exact(), first.size_hint().lower());
    for body in [first, again] {
        assert_eq!((body.size_hint().exact(), body.size_hint().lower()), hint);
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "hello");
    }

    let mut sized = ReplayBody::new(Full::<Bytes>::from("hello"));
    assert!(sized.record(100));
    assert_eq!(read(&mut sized.fork().unwrap()).unwrap(), b"hello");
    assert_eq!(sized.size_hint().exact(), Some(5), "read by the fork, not by this one");
    assert!(!sized.is_end_stream());
    assert!(poll(&mut sized).is_ready());
    assert!(sized.is_end_stream(), "right with the last frame");

    let mut empty = ReplayBody::new(Empty::<Bytes>::new());
    assert!(empty.record(0));
    assert!(empty.is_end_stream());
}

#[test]
fn a_body_that_is_not_unpin_goes_in_pinned() {
    struct Stuck(Full<Bytes>, PhantomPinned);
    impl http_body::Body for Stuck {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Ready(None)
        }
    }
    let stuck = || Stuck(Full::from("x"), PhantomPinned);
    assert_eq!(stuck().0.size_hint().exact(), Some(1));
    assert!(ReplayBody::new(Box::pin(stuck())).record(1));
    assert!(Body::new(stuck()).record(1));
}

#[test]
fn the_errors_of_bodies_say_that_a_body_is_the_matter() {
    let mut body = ReplayBody::new(chunks(&["12345"]));
    assert!(body.record(4));
    let mut fork = body.fork().unwrap();
    assert!(poll(&mut body).is_ready());
    assert_eq!(Error::wrap(read(&mut fork).unwrap_err()).kind(), Kind::Body);
}

// ---- any body ----

#[test]
fn a_body_is_not_boxed_twice_and_bytes_in_memory_not_at_all() {
    let show = |body: Body| format!("{body:?}");
    assert_eq!(show(Body::new(Full::<Bytes>::from("hello"))), "Body(5 bytes)");
    assert_eq!(show(Body::new(Empty::<Bytes>::new())), "Body(empty)");
    assert_eq!(show(Body::new(Body::from("hello"))), "Body(5 bytes)");
    assert_eq!(show(Body::from(String::new())), "Body(empty)");
    assert_eq!(show(Body::new(Full::new(&b"hello"[..]))), "Body(stream of 5 bytes)");
    assert_eq!(show(Body::new(chunks(&["hello"]))), "Body(stream)");
}

#[test]
fn data_of_another_kind_and_errors_of_another_kind_go_in_any_body() {
    let mut body = Body::new(Full::new(VecDeque::from(b"hello".to_vec())));
    assert_eq!(read(&mut body).unwrap(), b"hello");
    let broken = std::io::Error::other("broken");
    let frames = [Ok(Frame::data(Bytes::from("a"))), Err(broken)];
    let mut body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    assert!(read(&mut body).unwrap_err().is::<std::io::Error>());
}

#[tokio::test]
async fn collecting_stops_at_the_limit_and_before_it_when_the_length_is_known() {
    let unread = Scripted(|_: &mut Context<'_>| panic!("refused before it is read"));
    struct Sized<B>(B);
    impl<B: http_body::Body + Unpin> http_body::Body for Sized<B> {
        type Data = B::Data;
        type Error = B::Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(11)
        }
    }
    let too_large = |error: BoxError| error.downcast_ref::<BodyTooLarge>().map(|error| error.limit);
    assert_eq!(collect_up_to(Sized(unread), 10).await.map_err(too_large), Err(Some(10)));
    let body = || Body::new(chunks(&["12345", "", "678", "90"]));
    assert_eq!(body().collect_up_to(9).await.map_err(too_large), Err(Some(9)));
    assert_eq!(body().collect_up_to(10).await.unwrap(), "1234567890");
    assert_eq!(Body::empty().collect_up_to(0).await.unwrap(), "");
}

#[tokio::test]
async fn collecting_one_frame_copies_nothing() {
    let data = Bytes::from(vec![7; 100]);
    let collected = Body::new(Full::new(data.clone())).collect_up_to(100).await.unwrap();
    assert_eq!(collected.as_ptr(), data.as_ptr());
}

// ---- held ----

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn say(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Guard for Log {
    fn scoped<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        self.say("in");
        let polled = poll();
        self.say("out");
        polled
    }

    fn settle(self, end: BodyEnd) {
        self.say(format!("{end:?}"));
    }
}

struct DropLog<B>(B, Log);

impl<B> Drop for DropLog<B> {
    fn drop(&mut self) {
        self.1.say("body dropped");
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for DropLog<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.1.say("polled");
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[test]
fn the_guard_is_in_scope_while_the_body_is_polled_and_settled_after_an_abandoned_body_is_dropped() {
    let log = Log::default();
    let mut body = Held::new(DropLog(chunks(&["a", "b"]), log.clone()), log.clone(), HoldUntil::End);
    assert!(poll(&mut body).is_ready());
    drop(body);
    assert_eq!(log.lines(), ["in", "polled", "out", "body dropped", "Abandoned"]);
}

#[test]
fn the_frame_after_which_the_body_says_that_it_is_at_its_end_completes_it() {
    /// Says so in one of two ways.
    struct Last(usize, bool);
    impl http_body::Body for Last {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
            self.0 -= 1;
            Poll::Ready(Some(Ok(Frame::data("x".into()))))
        }
        fn is_end_stream(&self) -> bool {
            self.1 && self.0 == 0
        }
        fn size_hint(&self) -> SizeHint {
            if self.1 { SizeHint::default() } else { SizeHint::with_exact(self.0 as u64) }
        }
    }
    for says in [true, false] {
        let log = Log::default();
        let mut body = Held::new(Last(2, says), log.clone(), HoldUntil::End);
        assert!(poll(&mut body).is_ready());
        assert_eq!(log.lines(), ["in", "out"]);
        assert!(poll(&mut body).is_ready());
        assert_eq!(log.lines(), ["in", "out", "in", "out", "Complete"]);
    }
}

#[test]
fn a_body_that_panics_is_abandoned() {
    for until in [HoldUntil::End, HoldUntil::Trailers(Some(0))] {
        let (log, panics) = (Log::default(), Scripted(|_: &mut Context<'_>| panic!("the body panics")));
        let mut body = Held::new(panics, log.clone(), until);
        catch_unwind(AssertUnwindSafe(move || poll(&mut body).is_ready())).unwrap_err();
        assert_eq!(log.lines(), ["in", "Abandoned"]);
    }
}

#[test]
fn an_answer_made_on_the_spot_is_a_body_of_these_bytes() {
    let mut body = Held::<Full<Bytes>, ()>::bytes("go away".into());
    assert_eq!(body.size_hint().exact(), Some(7));
    assert_eq!(read(&mut body).unwrap(), b"go away");
    assert!(body.is_end_stream());
    assert!(Held::<Full<Bytes>, ()>::bytes(Bytes::new()).is_end_stream());
    assert_eq!(format!("{:?}", Held::<Full<Bytes>, ()>::bytes("secret".into())), "Held(6 bytes)");
}

#[test]
fn a_response_is_over_where_http_says_so() {
    let until = |method: Method, status: StatusCode, fields: &[(&'static str, &'static str)]| {
        let mut response = http::Response::new(chunks(&["a"]));
        *response.status_mut() = status;
        for (name, value) in fields {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        let (parts, body) = response.into_parts();
        HoldUntil::of(method == Method::HEAD || method == Method::CONNECT, &parts, &body)
    };
    let (get, ok) = (Method::GET, StatusCode::OK);
    assert_eq!(until(Method::HEAD, ok, &[("content-length", "5")]), HoldUntil::Head);
    assert_eq!(until(Method::CONNECT, ok, &[]), HoldUntil::Head);
    assert_eq!(until(get.clone(), StatusCode::SWITCHING_PROTOCOLS, &[]), HoldUntil::Head);
    assert_eq!(until(get.clone(), StatusCode::NO_CONTENT, &[]), HoldUntil::Head);
    assert_eq!(until(get.clone(), StatusCode::NOT_MODIFIED, &[("content-length", "5")]), HoldUntil::Head);
    assert_eq!(until(get.clone(), ok, &[("content-length", "0")]), HoldUntil::Head);
    assert_eq!(until(get.clone(), ok, &[]), HoldUntil::End);
    assert_eq!(until(get.clone(), ok, &[("content-length", "5")]), HoldUntil::Length(5));
    assert_eq!(until(get.clone(), ok, &[("content-length", "+5")]), HoldUntil::End);
    assert_eq!(until(get.clone(), ok, &[("content-length", "")]), HoldUntil::End);
    assert_eq!(until(get.clone(), ok, &[("content-length", "5"), ("content-length", "6")]), HoldUntil::End);
    let chunked = [("content-length", "5"), ("transfer-encoding", "chunked")];
    assert_eq!(until(get.clone(), ok, &chunked), HoldUntil::End);
    let grpc = ("content-type", "application/grpc+proto");
    for (length, left) in [("5", Some(5)), ("0", Some(0)), ("+5", None)] {
        let fields = [grpc, ("content-length", length)];
        assert_eq!(until(get.clone(), ok, &fields), HoldUntil::Trailers(left), "{length}");
    }
    assert_eq!(until(Method::HEAD, ok, &[grpc]), HoldUntil::Head);
    assert_eq!(until(get, StatusCode::NO_CONTENT, &[grpc]), HoldUntil::Head);
}

#[test]
fn an_answer_of_grpc_ends_with_its_trailers_and_not_with_its_last_byte() {
    let trailers = || HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(14))]);
    for (data, length) in [("hello", 5), ("", 0)] {
        let log = Log::default();
        let body = Full::<Bytes>::from(data).with_trailers(std::future::ready(Some(Ok(trailers()))));
        let mut body = Held::new(body, log.clone(), HoldUntil::Trailers(Some(length)));
        assert!(length == 0 || matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_data()));
        assert!(!log.lines().contains(&"Complete".to_owned()), "{data}: the trailers say how it went");
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
        assert_eq!(log.lines().last().unwrap(), "Complete");
        // Who does not look for trailers has read all the same.
        let log = Log::default();
        let mut body =
            Held::new(chunks(&["he", "llo"]), log.clone(), HoldUntil::Trailers(Some(length.max(5))));
        for ends in ["Abandoned", "Complete"] {
            assert!(poll(&mut body).is_ready(), "{ends}");
        }
        drop(body);
        assert_eq!(log.lines().last().unwrap(), "Complete");
    }
}

/// What a real server does with a body: it never asks for the end of one whose length it knows.
#[cfg(feature = "server")]
#[tokio::test]
async fn a_server_that_drops_the_body_after_the_last_byte_has_completed_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    for declared in [true, false] {
        let log = Log::default();
        let guard = log.clone();
        let service = hyper::service::service_fn(move |_| {
            let mut response = http::Response::new(chunks(&["he", "llo"]));
            if declared {
                response.headers_mut().insert("content-length", 5.into());
            }
            let (head, body) = response.into_parts();
            let until = HoldUntil::of(false, &head, &body);
            let response = http::Response::from_parts(head, Held::new(body, guard.clone(), until));
            std::future::ready(Ok::<_, BoxError>(response))
        });
        let (mut client, server) = tokio::io::duplex(1024);
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let io = hyper_util::rt::TokioIo::new(server);
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(if declared { "\r\n\r\nhello" } else { "chunked" }), "{answer}");
        let polls = if declared { 2 } else { 3 };
        let expected: Vec<_> = ["in", "out"].repeat(polls).into_iter().chain(["Complete"]).collect();
        assert_eq!(log.lines(), expected);
    }
}
