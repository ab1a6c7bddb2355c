//! What several of these files need.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use stonework::base::{BoxError, Event, Skip};
use stonework::testing::{Recorder, Scripted, Step};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tower::Service;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Content = Full<Bytes>;
pub(crate) type Backend = Scripted<Request<Content>, Response<Content>>;

/// Never ready: broken at once, or after a moment.
#[derive(Clone)]
pub(crate) struct Broken {
    pub(crate) late: bool,
}

impl<Req> Service<Req> for Broken {
    type Response = Response<Content>;
    type Error = std::io::Error;
    type Future = std::future::Pending<Result<Response<Content>, std::io::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        if std::mem::take(&mut self.late) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Err(std::io::Error::other("out of handles")))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        unreachable!("it was never ready")
    }
}

/// Counts how often it was cloned.
pub(crate) struct Counted {
    inner: Backend,
    clones: Arc<AtomicUsize>,
}

impl Counted {
    pub(crate) fn of(inner: Backend) -> (Self, Arc<AtomicUsize>) {
        let clones = Arc::default();
        (Self { inner, clones: Arc::clone(&clones) }, clones)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Relaxed);
        Self { inner: self.inner.clone(), clones: Arc::clone(&self.clones) }
    }
}

impl Service<Request<Content>> for Counted {
    type Response = Response<Content>;
    type Error = BoxError;
    type Future = <Backend as Service<Request<Content>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        self.inner.call(request)
    }
}

pub(crate) fn request(method: Method) -> Request<Content> {
    Request::builder().method(method).uri("/").body(Full::from("content")).expect("a valid request")
}

pub(crate) fn answer(status: u16) -> Response<Content> {
    Response::builder().status(status).body(Full::default()).expect("a valid response")
}

pub(crate) fn answered<E>(status: u16) -> Step<Response<Content>, E> {
    Step::Answer(answer(status))
}

pub(crate) fn with_header(
    mut response: Response<Content>,
    name: &'static str,
    value: &str,
) -> Response<Content> {
    response.headers_mut().insert(name, value.parse().expect("a valid value"));
    response
}

pub(crate) fn with_request_header<B>(mut request: Request<B>, name: &'static str, value: &str) -> Request<B> {
    request.headers_mut().insert(name, value.parse().expect("a valid value"));
    request
}

/// How long `work` takes by tokio's clock.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let result = work.await;
    (result, start.elapsed())
}

/// One poll, with the waker of this task.
pub(crate) async fn polled<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Use up this task's share of the scheduler's time: whatever asks tokio whether it may go on is told to wait.
pub(crate) async fn use_up_the_budget() {
    let (sender, mut ready) = tokio::sync::mpsc::unbounded_channel();
    (0..1_000).for_each(|number| sender.send(number).expect("it is open"));
    std::future::poll_fn(|cx| {
        while ready.poll_recv(cx).is_ready() {}
        Poll::Ready(())
    })
    .await;
    assert!(!tokio::task::coop::has_budget_remaining(), "nothing is left of it");
}

pub(crate) fn skips(events: &Recorder) -> Vec<Skip> {
    let skip = |event: &Event| match event {
        Event::RetrySkipped { why, .. } => Some(*why),
        _ => None,
    };
    events.events().iter().filter_map(skip).collect()
}

pub(crate) fn delays(events: &Recorder) -> Vec<Duration> {
    let delay = |event: &Event| match event {
        Event::RetryScheduled { delay, .. } => Some(*delay),
        _ => None,
    };
    events.events().iter().filter_map(delay).collect()
}

/// A service that is never ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeverReady;

impl<R> Service<R> for NeverReady {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Response<Content>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: R) -> Self::Future {
        panic!("called without being ready")
    }
}

/// Everything that is written to `tracing`, as text.
#[derive(Clone, Default)]
pub(crate) struct Everything(Arc<Mutex<String>>);

impl Everything {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Everything {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        write!(self.0.lock().unwrap(), "{span:?}").unwrap();
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        write!(self.0.lock().unwrap(), "{values:?}").unwrap();
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        write!(self.0.lock().unwrap(), "{event:?}").unwrap();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Tracing's own, in company: see [`company`](subscriber::company).
pub(crate) mod subscriber {
    use std::sync::OnceLock;

    use tracing::level_filters::LevelFilter;
    use tracing::subscriber::DefaultGuard;
    use tracing::{Dispatch, Event, Metadata, Subscriber, span};

    /// Hears nothing, and has nothing made for it.
    struct Deaf;

    impl Subscriber for Deaf {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            false
        }

        fn max_level_hint(&self) -> Option<LevelFilter> {
            Some(LevelFilter::OFF)
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &Event<'_>) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    pub(crate) fn with_default<T>(
        subscriber: impl Subscriber + Send + Sync + 'static,
        work: impl FnOnce() -> T,
    ) -> T {
        company();
        tracing::subscriber::with_default(subscriber, work)
    }

    pub(crate) fn set_default(subscriber: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
        company();
        tracing::subscriber::set_default(subscriber)
    }

    /// Two that hear nothing, for as long as the process lasts. As long as there is one subscriber alone, whether anybody wants a line is asked
    /// of the thread that comes to it first, and remembered for all: a test without a subscriber would speak for the one that has it.
    fn company() {
        static COMPANY: OnceLock<[Dispatch; 2]> = OnceLock::new();
        COMPANY.get_or_init(|| [Deaf, Deaf].map(Dispatch::new));
    }
}

// ───────────────────────────────────────────────────────────────────────────── on sockets

/// What takes longer than this does not happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn soon<F: Future>(work: F) -> F::Output {
    timeout(PATIENCE, work).await.expect("it should have happened by now")
}

/// Reads up to this text, which the peer sends last.
pub(crate) async fn read_up_to(client: &mut TcpStream, last: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(last.as_bytes()) {
        let more = soon(client.read_buf(&mut read)).await.unwrap();
        assert_ne!(more, 0, "closed after {:?}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

/// Reads to the end. A reset is an end, too.
pub(crate) async fn read_to_end(client: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let _ = soon(client.read_to_end(&mut read)).await;
    String::from_utf8(read).unwrap()
}
