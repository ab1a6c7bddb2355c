//! A response body that keeps something until it is used up.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::HoldUntil;

/// How a response body ended, as a [`Guard`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyEnd {
    /// It was dropped before its end: the caller lost interest, or the connection was lost while it was being sent.
    Abandoned,
    /// All of it was read, or there was nothing to read.
    Complete,
    /// It ended with an error.
    Failed,
}

/// What is kept while a response body is being read: a permit, a measurement, a deadline.
///
/// `()` keeps nothing. `Option<G>` keeps something or nothing. To keep a permit and no more, implement
/// [`settle`](Guard::settle) as `drop(self)`.
///
/// ```
/// use std::convert::Infallible;
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use stonework::base::body::{BodyEnd, Guard, Held, HoldUntil};
/// use tokio::sync::oneshot;
///
/// /// Tells how it ended.
/// struct Tell(oneshot::Sender<BodyEnd>);
///
/// impl Guard for Tell {
///     fn settle(self, end: BodyEnd) {
///         let _ = self.0.send(end);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Infallible> {
/// let (tell, told) = oneshot::channel();
/// let body = Held::new(Full::new(Bytes::from("all of it")), Tell(tell), HoldUntil::End);
/// assert_eq!(body.collect().await?.to_bytes(), "all of it");
/// assert_eq!(told.await, Ok(BodyEnd::Complete));
///
/// // An answer that keeps nothing has the same type.
/// let refusal: Held<Full<Bytes>, Tell> = Held::bytes(Bytes::from("no"));
/// assert_eq!(refusal.collect().await?.to_bytes(), "no");
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be kept until a body has ended",
    note = "`impl stonework::base::body::Guard` for it, with `fn settle(self, _: BodyEnd)`; `drop(self)` is enough for a permit"
)]
pub trait Guard {
    /// Called around each poll of the body, so that something can be in scope meanwhile. It has to call `poll` and
    /// return what it returns; by default it does only that.
    fn scoped<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// Called with the size of each piece of data, in bytes. By default it does nothing.
    fn data(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Called with the trailers, just before the end that they are. By default it does nothing.
    fn trailers(&mut self, trailers: &HeaderMap) {
        let _ = trailers;
    }

    /// Called once, when the body has ended or was dropped. It may be called from a destructor, so it should not panic.
    fn settle(self, end: BodyEnd);
}

impl Guard for () {
    fn settle(self, _end: BodyEnd) {}
}

impl<G: Guard> Guard for Option<G> {
    fn scoped<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        match self {
            Some(guard) => guard.scoped(poll),
            None => poll(),
        }
    }

    fn data(&mut self, bytes: usize) {
        if let Some(guard) = self {
            guard.data(bytes);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(guard) = self {
            guard.trailers(trailers);
        }
    }

    fn settle(self, end: BodyEnd) {
        if let Some(guard) = self {
            guard.settle(end);
        }
    }
}

/// A response body that keeps a [`Guard`] until it is used up, or the bytes of an answer made on the spot.
///
/// The guard is settled exactly once:
///
/// * [`Complete`](BodyEnd::Complete) at the head if the response was over there (see [`HoldUntil`]); else with the
///   frame that completes the length, brings the trailers or makes [`is_end_stream`](Body::is_end_stream) true, since
///   a server drops the body then without polling it again; else at the end. The length is not the end of an answer of gRPC.
/// * [`Failed`](BodyEnd::Failed) with an error of the body.
/// * [`Abandoned`](BodyEnd::Abandoned) when it is dropped before any of these, unless all of its data was read and only trailers could
///   have come. The inner body is dropped first.
///
/// Frames, errors, size hint and the rest of the response, upgrades included, are left as they are. A layer that
/// answers in place of the inner service uses [`Held::bytes`], which keeps nothing.
///
/// ```
/// use http_body_util::{BodyExt, Full};
/// use stonework::base::body::{BodyEnd, Guard, Held, HoldUntil};
///
/// struct Permit(std::sync::mpsc::Sender<BodyEnd>);
/// impl Guard for Permit {
///     fn settle(self, end: BodyEnd) {
///         let _ = self.0.send(end);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let (sender, ends) = std::sync::mpsc::channel();
/// let (parts, body) = http::Response::new(Full::<bytes::Bytes>::from("hello")).into_parts();
/// let until = HoldUntil::of(false, &parts, &body);
/// let mut body = Held::new(body, Permit(sender), until);
/// assert!(ends.try_recv().is_err()); // still held
///
/// body.frame().await; // the only frame
/// assert_eq!(ends.try_recv(), Ok(BodyEnd::Complete));
/// # }
/// ```
#[pin_project::pin_project]
pub struct Held<B, G: Guard> {
    #[pin]
    kind: Kind<B, G>,
}

#[pin_project::pin_project(project = KindProjection)]
enum Kind<B, G: Guard> {
    Inner {
        // Before the guard, so that what the body holds is free again when the permit is.
        #[pin]
        body: B,
        guard: Settling<G>,
        /// Bytes still to come, if the head promised a number of them.
        left: Option<u64>,
        /// Whether that is not the end yet.
        trailers: bool,
    },
    Bytes(Option<Bytes>),
}

impl<B, G: Guard> Held<B, G> {
    /// Keeps `guard` until `body` is used up; with [`HoldUntil::Head`] it is settled at once.
    #[must_use]
    #[inline]
    pub fn new(body: B, guard: G, until: HoldUntil) -> Self {
        let mut guard = Settling { guard: Some(guard), dropped: BodyEnd::Abandoned };
        let (left, trailers) = match until {
            HoldUntil::Head | HoldUntil::Length(0) => {
                guard.settle(BodyEnd::Complete);
                (None, false)
            }
            HoldUntil::Length(left) => (Some(left), false),
            HoldUntil::End => (None, false),
            HoldUntil::Trailers(left) => {
                if left == Some(0) {
                    guard.dropped = BodyEnd::Complete;
                }
                (left, true)
            }
        };
        Self { kind: Kind::Inner { body, guard, left, trailers } }
    }

    /// The body of an answer made on the spot. It keeps nothing.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self { kind: Kind::Bytes((!bytes.is_empty()).then_some(bytes)) }
    }
}

impl<B, G: Guard> Held<B, Option<G>> {
    /// The body inside, where nothing is kept.
    #[cfg(feature = "client")]
    pub(crate) fn into_free(self) -> Result<B, Self> {
        match self.kind {
            Kind::Inner { body, mut guard, .. } if !matches!(guard.guard, Some(Some(_))) => {
                guard.guard = None;
                Ok(body)
            }
            kind => Err(Self { kind }),
        }
    }
}

impl<B: Body<Data = Bytes>, G: Guard> Body for Held<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (mut body, guard, left, trailers) = match self.project().kind.project() {
            KindProjection::Inner { body, guard, left, trailers } => (body, guard, left, *trailers),
            KindProjection::Bytes(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
        };
        if guard.guard.is_none() {
            return body.poll_frame(cx);
        }
        // A body that panics has come to no good end.
        let dropped = mem::replace(&mut guard.dropped, BodyEnd::Abandoned);
        let polled = guard.scoped(|| body.as_mut().poll_frame(cx));
        guard.dropped = dropped;
        let polled = ready!(polled);
        match &polled {
            None => guard.settle(BodyEnd::Complete),
            Some(Err(_)) => guard.settle(BodyEnd::Failed),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    guard.trailers(trailers);
                }
                let size = frame.data_ref().map_or(0, Bytes::len);
                if size > 0 {
                    guard.data(size);
                }
                *left = left.map(|left| left.saturating_sub(size as u64));
                let all_data = *left == Some(0) || body.size_hint().exact() == Some(0);
                if frame.is_trailers() || body.is_end_stream() || (all_data && !trailers) {
                    guard.settle(BodyEnd::Complete);
                } else if all_data {
                    guard.dropped = BodyEnd::Complete;
                }
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body, .. } => body.is_end_stream(),
            Kind::Bytes(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body, .. } => body.size_hint(),
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

impl<B, G: Guard> fmt::Debug for Held<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Inner { guard, .. } => {
                f.debug_struct("Held").field("settled", &guard.guard.is_none()).finish_non_exhaustive()
            }
            Kind::Bytes(bytes) => write!(f, "Held({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
        }
    }
}

/// A guard that is settled when it is dropped, if nothing else settles it.
struct Settling<G: Guard> {
    guard: Option<G>,
    dropped: BodyEnd,
}

impl<G: Guard> Settling<G> {
    fn settle(&mut self, end: BodyEnd) {
        if let Some(guard) = self.guard.take() {
            guard.settle(end);
        }
    }

    fn data(&mut self, bytes: usize) {
        if let Some(guard) = &mut self.guard {
            guard.data(bytes);
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(guard) = &mut self.guard {
            guard.trailers(trailers);
        }
    }

    fn scoped<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        match &mut self.guard {
            Some(guard) => guard.scoped(poll),
            None => poll(),
        }
    }
}

impl<G: Guard> Drop for Settling<G> {
    fn drop(&mut self) {
        self.settle(self.dropped);
    }
}
