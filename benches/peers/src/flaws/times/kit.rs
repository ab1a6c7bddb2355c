//! Services and bodies that are slow, and callers and readers that are.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};

use crate::rows::{Broken, Content, plain};

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Broken>> + Send>>;

/// Is never ready.
#[derive(Clone, Copy)]
pub(super) struct NeverReady;

impl Service<Request<Content>> for NeverReady {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Answer<Response<Content>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        unreachable!("it was not ready")
    }
}

pub(super) const READY: Duration = Duration::from_millis(100);

/// When a caller is told that it is not served, if that is within a second.
pub(super) async fn told(service: impl Service<Request<Content>>) -> Option<Duration> {
    let start = Instant::now();
    let ended = timeout(10 * READY, service.oneshot(plain())).await;
    ended.is_ok().then(|| start.elapsed())
}

pub(super) fn when(told: Option<Duration>) -> String {
    told.map_or("not within 1 s".to_owned(), |told| format!("after {told:.0?}"))
}

/// The limit, and how long the caller, or the reader, is away.
pub(super) const LIMIT: Duration = Duration::from_millis(50);
const AWAY: Duration = Duration::from_millis(100);

/// Answers when it is told to.
#[derive(Clone)]
pub(super) struct Told(Arc<Mutex<Option<oneshot::Receiver<()>>>>);

impl Told {
    pub(super) fn new() -> (oneshot::Sender<()>, Self) {
        let (tell, told) = oneshot::channel();
        (tell, Self(Arc::new(Mutex::new(Some(told)))))
    }
}

impl Service<Request<Content>> for Told {
    type Response = Response<Content>;
    type Error = Broken;
    type Future = Answer<Response<Content>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        let told = self.0.lock().expect("nobody panics with it").take().expect("it is called once");
        Box::pin(async move { told.await.map(|()| Response::default()).map_err(|_| Broken) })
    }
}

/// The answer is there as soon as the call has begun; its caller looks when the limit is over.
pub(super) async fn looks_late<S, B>(service: &mut S, tell: oneshot::Sender<()>) -> String
where
    S: Service<Request<Content>, Response = Response<B>, Error: std::fmt::Display>,
{
    let Ok(service) = service.ready().await else { return "it is not ready".to_owned() };
    let mut call = Box::pin(service.call(plain()));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "nobody has told it");
    tell.send(()).expect("it waits");
    sleep(AWAY).await;
    match call.await {
        Ok(answer) => answer.status().to_string(),
        Err(error) => error.to_string(),
    }
}

/// A body with a frame that comes later, and an end that does not.
pub(super) struct Later(Arc<Mutex<Option<Bytes>>>);

impl Body for Later {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        // Who reads it here polls without being woken.
        match self.0.lock().expect("nobody panics with it").take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// Answers with such a body, in which the frame is put here.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Option<Bytes>>>);

impl Service<Request<Content>> for Streams {
    type Response = Response<Later>;
    type Error = Broken;
    type Future = Answer<Response<Later>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Content>) -> Self::Future {
        let body = Later(Arc::clone(&self.0));
        Box::pin(async { Ok(Response::new(body)) })
    }
}

/// The reader asks once, a frame comes, and the reader is back when the limit is over: what it reads.
pub(super) async fn reads_late<S, B>(service: S, streams: &Streams) -> String
where
    S: Service<Request<Content>, Response = Response<B>>,
    B: Body<Error: std::fmt::Display>,
{
    let Ok(answer) = service.oneshot(plain()).await else { return "it is not answered".to_owned() };
    let mut body = Box::pin(answer.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(body.as_mut().poll_frame(&mut cx).is_pending(), "there is nothing yet");
    *streams.0.lock().expect("nobody panics with it") = Some(Bytes::from_static(b"frame"));
    sleep(AWAY).await;
    match body.as_mut().poll_frame(&mut cx) {
        Poll::Ready(Some(Ok(frame))) if frame.is_data() => FRAME.to_owned(),
        Poll::Ready(Some(Err(error))) => error.to_string(),
        Poll::Ready(_) => "the end".to_owned(),
        Poll::Pending => "nothing".to_owned(),
    }
}

pub(super) const FRAME: &str = "the frame";
