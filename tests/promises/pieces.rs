//! A response body that does what a list says, and tells whether it is read and dropped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use stonework::base::BoxError;
use stonework::testing::Scripted;
use tokio::time::{Sleep, sleep};

use crate::support::Content;

pub(crate) type Streaming = Scripted<Request<Content>, Response<Pieces>>;

pub(crate) enum Piece {
    Data(Bytes),
    Trailers,
    Fail(BoxError),
    Wait(Duration),
    /// Never wakes.
    Hang,
}

/// How often it was polled, and how many of its kind were dropped.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    polls: Arc<AtomicUsize>,
    drops: Arc<AtomicUsize>,
}

impl Watch {
    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn drops(&self) -> usize {
        self.drops.load(Ordering::Relaxed)
    }
}

pub(crate) struct Pieces {
    pieces: VecDeque<Piece>,
    hint: SizeHint,
    sleep: Option<Pin<Box<Sleep>>>,
    watch: Watch,
}

pub(crate) fn data(bytes: &str) -> Piece {
    Piece::Data(Bytes::copy_from_slice(bytes.as_bytes()))
}

pub(crate) fn broken() -> Piece {
    Piece::Fail("the line is dead".into())
}

pub(crate) fn pieces(pieces: impl IntoIterator<Item = Piece>) -> Pieces {
    let pieces = pieces.into_iter().collect();
    Pieces { pieces, hint: SizeHint::default(), sleep: None, watch: Watch::default() }
}

impl Pieces {
    pub(crate) fn watched(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    pub(crate) fn hinted(mut self, size: u64) -> Self {
        self.hint = SizeHint::with_exact(size);
        self
    }

    /// With this head: status, then names and values.
    pub(crate) fn with<'a>(
        self,
        status: u16,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Response<Self> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(name, value);
        }
        response.body(self).expect("a valid response")
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.watch.polls.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            return match self.pieces.pop_front() {
                None => Poll::Ready(None),
                Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Piece::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers())))),
                Some(Piece::Fail(error)) => Poll::Ready(Some(Err(error))),
                Some(Piece::Wait(pause)) => {
                    self.sleep = Some(Box::pin(sleep(pause)));
                    continue;
                }
                Some(Piece::Hang) => {
                    self.pieces.push_front(Piece::Hang);
                    Poll::Pending
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.sleep.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.watch.drops.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))])
}

/// What a reader got: the bytes, the trailers, and the error if there was one.
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) error: Option<stonework::Error>,
}

pub(crate) async fn read<B>(body: B) -> Read
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let mut body = std::pin::pin!(body);
    let mut read = Read { bytes: Vec::new(), trailers: None, error: None };
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        assert!(read.trailers.is_none(), "something comes behind the trailers");
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => read.bytes.extend_from_slice(&data),
            Ok(Err(frame)) => read.trailers = frame.into_trailers().ok(),
            Err(error) => {
                read.error = Some(stonework::Error::wrap(error));
                break;
            }
        }
    }
    read
}
