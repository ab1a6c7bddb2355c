//! The body that any body fits in.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{Empty, Full};

use super::collect::collect_up_to;
use super::memory::Memory;
use super::tape::to_bytes;
use super::{Reopen, Replay, ReplayBody};
use crate::base::BoxError;

/// A request or response body: bytes in memory, or any stream in a box.
///
/// It is `Send`, `Sync` and `Unpin` whatever is inside, and a [`Replay`]. Bytes in memory are neither boxed nor copied. One
/// made from a [`Reopen`] can be sent again whatever its size.
///
/// ```
/// use http_body::Body as _;
/// use stonework::base::body::Body;
///
/// assert_eq!(Body::from("hello").size_hint().exact(), Some(5));
/// assert!(Body::empty().is_end_stream());
/// assert_eq!(format!("{:?}", Body::from("a secret")), "Body(8 bytes)");
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Memory(Memory),
    Stream(ReplayBody<Boxed>),
    Source(Box<Reopen<Boxed>>),
}

type Boxed = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>;

impl Body {
    /// A body with nothing in it.
    #[must_use]
    pub const fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// Puts `body` in a box, unless it is a `Body` already or is bytes in memory (`Full<Bytes>`, `Empty<Bytes>`).
    ///
    /// The inner body needs to be `Send` and need not be `Sync`. Its errors come out unchanged, but for one that says
    /// of itself that nothing was sent: half of a body may have been, so it is the cause of one of kind [`Body`](crate::base::Kind::Body).
    ///
    /// ```
    /// # use stonework::base::body::Body;
    /// let body = Body::new(http_body_util::Full::<std::collections::VecDeque<u8>>::default());
    /// let same = Body::new(body); // not boxed twice
    /// ```
    #[must_use]
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
    {
        let mut body = Some(body);
        let known: &mut dyn Any = &mut body;
        if let Some(body) = known.downcast_mut::<Option<Self>>() {
            return body.take().unwrap_or_default();
        }
        if let Some(full) = known.downcast_mut::<Option<Full<Bytes>>>() {
            return full.take().and_then(Full::into_inner).unwrap_or_default().into();
        }
        if known.is::<Option<Empty<Bytes>>>() {
            return Self::empty();
        }
        body.map_or_else(Self::empty, |body| Self {
            kind: Kind::Stream(ReplayBody::new(Box::pin(Plain { body }))),
        })
    }

    /// Reads the body to its end and returns its data. Trailers are read and left out.
    ///
    /// # Errors
    ///
    /// [`BodyTooLarge`](super::BodyTooLarge) as soon as it is known that there are more than `limit` bytes, or the error
    /// of the body inside.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the body and what was read of it.
    ///
    /// ```
    /// # use stonework::base::{BoxError, body::Body};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// assert_eq!(Body::from("hello").collect_up_to(5).await?, "hello");
    /// assert!(Body::from("hello").collect_up_to(4).await.is_err());
    /// # Ok(()) }
    /// ```
    pub async fn collect_up_to(self, limit: usize) -> Result<Bytes, BoxError> {
        collect_up_to(self, limit).await
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Memory(memory) => Poll::Ready(memory.take().map(|data| Ok(Frame::data(data)))),
            Kind::Stream(body) => Pin::new(body).poll_frame(cx),
            Kind::Source(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Memory(memory) => memory.size() == 0,
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Source(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Memory(memory) => SizeHint::with_exact(memory.size()),
            Kind::Stream(body) => body.size_hint(),
            Kind::Source(body) => body.size_hint(),
        }
    }
}

impl Replay for Body {
    fn record(&mut self, cap: usize) -> bool {
        match &mut self.kind {
            Kind::Empty => true,
            Kind::Memory(memory) => memory.record(cap),
            Kind::Stream(body) => body.record(cap),
            Kind::Source(body) => body.record(cap),
        }
    }

    fn fork(&self) -> Option<Self> {
        let kind = match &self.kind {
            Kind::Empty => Kind::Empty,
            Kind::Memory(memory) => Kind::Memory(memory.fork()?),
            Kind::Stream(body) => Kind::Stream(body.fork()?),
            Kind::Source(body) => Kind::Source(Box::new(body.fork()?)),
        };
        Some(Self { kind })
    }

    fn is_replayable(&self) -> bool {
        match &self.kind {
            Kind::Stream(body) => body.is_replayable(),
            Kind::Source(body) => body.is_replayable(),
            Kind::Empty | Kind::Memory(_) => self.fork().is_some(),
        }
    }

    fn take_over(&mut self) {
        match &mut self.kind {
            Kind::Empty | Kind::Memory(_) => {}
            Kind::Stream(body) => body.take_over(),
            Kind::Source(body) => body.take_over(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        Self { kind: if data.is_empty() { Kind::Empty } else { Kind::Memory(Memory::new(data)) } }
    }
}

impl From<&'static str> for Body {
    fn from(data: &'static str) -> Self {
        Bytes::from_static(data.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(data: &'static [u8]) -> Self {
        Bytes::from_static(data).into()
    }
}

impl From<String> for Body {
    fn from(data: String) -> Self {
        Bytes::from(data).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(data: Vec<u8>) -> Self {
        Bytes::from(data).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// It is read from the start, whatever was read of it before. [`Reopen`] has an example.
impl<B> From<Reopen<B>> for Body
where
    B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    fn from(source: Reopen<B>) -> Self {
        let boxed = source.map(|body| -> Boxed { Box::pin(Plain { body }) });
        Self { kind: Kind::Source(Box::new(boxed)) }
    }
}

/// Shows the kind and the size, never the content.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = http_body::Body::size_hint(self);
        match (&self.kind, hint.exact()) {
            (Kind::Empty, _) => f.write_str("Body(empty)"),
            (Kind::Memory(_), Some(size)) => write!(f, "Body({size} bytes)"),
            (_, Some(size)) => write!(f, "Body(stream of {size} bytes)"),
            (_, None) => f.write_str("Body(stream)"),
        }
    }
}

/// A body with its data as `Bytes` and its error in a box.
#[pin_project::pin_project]
struct Plain<B> {
    #[pin]
    body: B,
}

impl<B: http_body::Body<Error: Into<BoxError>>> http_body::Body for Plain<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project()
            .body
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map(to_bytes).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
