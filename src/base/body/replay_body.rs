//! Makes any body one that can be sent again.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::reader::{Polled, Reader};
use super::replay::Replay;

use super::tape::to_bytes;
use crate::base::{BoxError, Error};

/// Makes any body a [`Replay`]: streams it, and keeps what has been read up to a limit.
///
/// Until it is [recorded](Replay::record) it allocates nothing and only passes frames on. Recorded, it keeps each frame
/// as it passes, at most up to the limit, and releases all of them as soon as the body is over it. What is counted is
/// the content; [`Bytes`] that are a part of a larger buffer keep that buffer. The size hint is that of the inner body,
/// so that a `Content-Length` stays one.
///
/// The frames' data is [`Bytes`]; another kind of data is copied into it. The inner body needs to be `Send` to be sent,
/// and need not be `Sync`. One that is not `Unpin` goes in as `Box::pin(body)`.
///
/// # Example
///
/// A gRPC client whose requests are repeated: the layer that repeats sees `ReplayBody`, tonic's channel its own type.
///
/// ```
/// use stonework::base::body::ReplayBody;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # fn channel(channel: tonic::transport::Channel) -> impl tower::Service<http::Request<tonic::body::Body>> {
/// ServiceBuilder::new()
///     .map_request(|request: http::Request<tonic::body::Body>| request.map(ReplayBody::new))
///     // .layer(…) here
///     .map_request(|request: http::Request<ReplayBody<_>>| request.map(tonic::body::Body::new))
///     .service(channel)
/// # }
/// ```
///
/// # Errors
///
/// Reading fails with the inner body's error, unchanged, unless that says that something was not sent: it speaks of
/// another exchange then, and comes as the source of an error of kind [`Body`](crate::base::Kind::Body). When several forks are read, the one that met the error has
/// it and the others a [`SourceFailed`](super::SourceFailed) with its message; a fork that is behind when the body grows
/// over the limit ends with a [`ReplayLimit`](super::ReplayLimit). After an error the body is at its end.
///
/// # Cancellation
///
/// A fork may be dropped at any point; the others are woken by the inner body and read on. The inner body is dropped
/// with the last fork.
pub struct ReplayBody<B> {
    state: State<B>,
}

enum State<B> {
    /// The lock is never contended, since reading has `&mut`: it makes the body `Sync` for bodies that are not.
    Direct {
        source: Mutex<B>,
        begun: bool,
    },
    Recorded(Reader<B>),
    /// Only while `record` moves the source.
    Moving,
}

impl<B> ReplayBody<B> {
    /// Wraps `body`.
    #[must_use]
    pub const fn new(body: B) -> Self {
        Self { state: State::Direct { source: Mutex::new(body), begun: false } }
    }
}

impl<B> Replay for ReplayBody<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    fn record(&mut self, cap: usize) -> bool {
        match mem::replace(&mut self.state, State::Moving) {
            State::Direct { source, begun: false } => {
                let source = source.into_inner().unwrap_or_else(PoisonError::into_inner);
                let fits = source.size_hint().lower() <= cap as u64;
                self.state = if fits {
                    State::Recorded(Reader::new(source, cap))
                } else {
                    State::Direct { source: Mutex::new(source), begun: false }
                };
                fits
            }
            State::Recorded(reader) => {
                let fits = reader.record(cap);
                self.state = State::Recorded(reader);
                fits
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    fn fork(&self) -> Option<Self> {
        match &self.state {
            State::Recorded(reader) => Some(Self { state: State::Recorded(reader.fork()?) }),
            _ => None,
        }
    }

    fn is_replayable(&self) -> bool {
        match &self.state {
            State::Recorded(reader) => reader.is_replayable(),
            _ => false,
        }
    }

    fn take_over(&mut self) {
        if let State::Recorded(reader) = &mut self.state {
            reader.take_over();
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (frame, source) = match &mut self.state {
            State::Direct { source, begun } => {
                let source = source.get_mut().unwrap_or_else(PoisonError::into_inner);
                let frame = ready!(Pin::new(source).poll_frame(cx));
                *begun = true;
                let told = |error: B::Error| Error::of_body(error.into());
                return Poll::Ready(frame.map(|frame| frame.map(to_bytes).map_err(told)));
            }
            State::Recorded(reader) => match reader.poll(cx) {
                Polled::Frame(polled) => return polled,
                Polled::Alone(frame, source) => (frame, source),
            },
            State::Moving => return Poll::Ready(None),
        };
        self.state = State::Direct { source: Mutex::new(source), begun: true };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Direct { source, .. } => {
                source.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
            }
            State::Recorded(reader) => reader.is_end_stream(),
            State::Moving => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Direct { source, .. } => source.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
            State::Recorded(reader) => reader.size_hint(),
            State::Moving => SizeHint::with_exact(0),
        }
    }
}

impl<B: Default> Default for ReplayBody<B> {
    fn default() -> Self {
        Self::new(B::default())
    }
}

impl<B> From<B> for ReplayBody<B> {
    fn from(body: B) -> Self {
        Self::new(body)
    }
}

/// Never shows the content.
impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = matches!(self.state, State::Recorded(_));
        f.debug_struct("ReplayBody").field("recorded", &recorded).finish_non_exhaustive()
    }
}
