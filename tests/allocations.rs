//! What a call costs that goes well: no layer allocates but what it exists to keep.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use stonework::base::TimeoutHeader;
use stonework::observe::SpanLayer;
use stonework::retry::RetryLayer;
use stonework::timeout::{AttemptTimeoutLayer, ReceiveDeadlineLayer, SendDeadlineLayer, TimeoutLayer};
use tower::{Layer, Service, ServiceBuilder};

type Content = Full<Bytes>;

/// Always ready, and answers at once.
#[derive(Clone)]
struct AtOnce;

impl<R> Service<R> for AtOnce {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Content>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        ready(Ok(Response::new(Content::default())))
    }
}

/// Allocations of the hundredth call; what is set up once is over by then.
fn allocations<S>(mut service: S, request: impl Fn() -> Request<Content>) -> u64
where
    S: Service<Request<Content>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut last = 0;
    for _ in 0..100 {
        let request = request();
        last = measure(|| {
            assert!(service.poll_ready(&mut cx).is_ready());
            let mut call = std::pin::pin!(service.call(request));
            assert!(call.as_mut().poll(&mut cx).is_ready());
        })
        .count_total;
    }
    last
}

fn get() -> Request<Content> {
    Request::get("http://example.test/").body(Content::from("in memory")).expect("valid")
}

fn with_headers() -> Request<Content> {
    Request::get("http://example.test/")
        .header("accept", "text/plain")
        .body(Content::from("x"))
        .expect("valid")
}

#[test]
fn the_measure_sees_an_allocation() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
    assert_eq!(allocations(AtOnce, get), 0);
}

#[test]
fn spans_that_nobody_wants_allocate_nothing() {
    assert_eq!(allocations(SpanLayer::call().layer(AtOnce), get), 0);
    assert_eq!(allocations(SpanLayer::attempt().layer(AtOnce), get), 0);
}

#[tokio::test(start_paused = true)]
async fn limits_allocate_nothing() {
    let limit = Duration::from_secs(1);
    assert_eq!(allocations(TimeoutLayer::new(limit).layer(AtOnce), get), 0);
    assert_eq!(allocations(AttemptTimeoutLayer::new(limit).layer(AtOnce), get), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_received_allocates_nothing_and_neither_does_one_that_need_not_be_sent() {
    let told = || {
        let mut request = with_headers();
        request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static("1S"));
        request
    };
    let (receive, send) =
        (ReceiveDeadlineLayer::new(TimeoutHeader::Grpc), SendDeadlineLayer::new(TimeoutHeader::Grpc));
    for request in [with_headers, told] {
        assert_eq!(allocations(receive.layer(AtOnce), request), 0);
        assert_eq!(allocations(send.layer(AtOnce), request), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_allocates_nothing_but_the_copy_of_the_head() {
    let copies = |request: fn() -> Request<Content>| {
        let request = request();
        measure(|| drop(std::hint::black_box((request.headers().clone(), request.uri().clone())))).count_total
    };
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(RetryLayer::new())
        .layer(AttemptTimeoutLayer::new(Duration::from_secs(1)))
        .service(AtOnce);
    assert_eq!(allocations(service.clone(), get), copies(get));
    assert_eq!(allocations(service.clone(), with_headers), copies(with_headers));
    let never = || {
        let mut request = with_headers();
        stonework::Call::edit(request.extensions_mut(), stonework::Call::never_retry);
        request
    };
    assert_eq!(allocations(service, never), 0, "a request that is sent once is not copied");
}
