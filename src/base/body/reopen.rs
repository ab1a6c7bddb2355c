//! A body that is opened anew each time it is sent.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::replay::{Replay, Superseded};
use super::tape::to_bytes;
use super::waiting::{ReaderId, Waiting, wake_all};
use crate::base::{BoxError, Error, Kind};

/// A body that can be read again from its source (a file, an object in a store), and so be sent again whatever its size.
///
/// It is made from a closure that opens the source. Nothing is kept of what was read: [`record`](Replay::record) is
/// always possible, and each [`fork`](Replay::fork) calls the closure when it is first polled. The closure answers
/// `Result<B, E>`, for opening a file can fail; one that cannot fail says `Ok::<_, Infallible>(body)`. It is called
/// inside a poll, so it should not block for long: what has to wait belongs into the body that it returns.
///
/// **The source has to give the same content each time.** Where a [length](Self::length) is promised, a shorter source is an
/// error; so is a longer one, though whoever sends the body may stop at the promised length and never notice. Other
/// content of the same length is not noticed.
///
/// ```
/// use std::convert::Infallible;
/// use http_body_util::{BodyExt, Full};
/// use stonework::base::body::{Body, Reopen, Replay};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::base::BoxError> {
/// let source = bytes::Bytes::from_static(b"as large as you like");
/// let upload = Reopen::new(move || Ok::<_, Infallible>(Full::new(source.clone()))).length(20);
///
/// let mut first = Body::from(upload); // for the assembled client, say
/// assert!(first.record(0), "nothing has to be kept");
/// let again = first.fork().expect("opened anew");
/// assert_eq!(first.collect().await?.to_bytes(), again.collect().await?.to_bytes());
/// # Ok(()) }
/// ```
///
/// The frames' data is [`Bytes`]. The bodies that the closure opens need to be `Send` and need not be `Sync`; one that is
/// not `Unpin` is returned as `Box::pin(body)`.
///
/// # When a retry takes over
///
/// Readers do not share a source, so none can eat what another needs. All the same [`take_over`](Replay::take_over) ends
/// the body of the attempt before, with [`Superseded`]: a server that answers 503 in the middle of an upload need not be
/// sent the rest of it, and the file is closed.
///
/// # Errors
///
/// Where the source cannot be opened, or has another length, an error of kind [`Body`](Kind::Body) that names the cause;
/// it ends the attempt. Errors of the opened body come out as they do from a [`ReplayBody`](super::ReplayBody).
/// After an error the body is at its end.
///
/// # Cancellation
///
/// Dropping a body drops what it opened.
pub struct Reopen<B> {
    shared: Arc<Shared<B>>,
    length: Option<u64>,
    id: ReaderId,
    /// Whom it was forked from.
    parent: Option<ReaderId>,
    /// Bytes of data given out.
    read: u64,
    state: State<B>,
}

enum State<B> {
    Closed,
    /// The lock is never contended, since reading has `&mut`: it makes the body `Sync` for bodies that are not.
    Open(Mutex<B>),
    /// The end or an error has been handed out.
    Over,
}

struct Shared<B> {
    open: Open<B>,
    readers: Mutex<Readers>,
}

type Open<B> = Box<dyn Fn() -> Result<B, BoxError> + Send + Sync>;

/// Who may read on, and whom to tell when that changes.
struct Readers {
    next_id: ReaderId,
    over: Vec<Range<ReaderId>>,
    waiting: Waiting,
}

impl<B> Reopen<B> {
    /// A body that `open` opens, now and for each further attempt. Its length is unknown, so it goes out in chunks.
    #[must_use]
    pub fn new<F, E>(open: F) -> Self
    where
        F: Fn() -> Result<B, E> + Send + Sync + 'static,
        E: Into<BoxError>,
    {
        let open = Box::new(move || open().map_err(Into::into));
        let readers = Readers { next_id: 1, over: Vec::new(), waiting: Waiting::Nobody };
        Self::at_start(Arc::new(Shared { open, readers: Mutex::new(readers) }), None, 0, None)
    }

    /// Promise that there are exactly so many bytes, so that they can be sent with a `Content-Length`. Default: unknown.
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }

    const fn at_start(
        shared: Arc<Shared<B>>,
        length: Option<u64>,
        id: ReaderId,
        parent: Option<ReaderId>,
    ) -> Self {
        Self { shared, length, id, parent, read: 0, state: State::Closed }
    }

    /// The same source, with its bodies passed through `change`.
    pub(super) fn map<C>(self, change: impl Fn(B) -> C + Send + Sync + 'static) -> Reopen<C>
    where
        B: 'static,
    {
        let (shared, length) = (Arc::clone(&self.shared), self.length);
        let mut mapped = Reopen::new(move || (shared.open)().map(&change));
        mapped.length = length;
        mapped
    }
}

impl<B> Shared<B> {
    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    fn is_over(&self, id: ReaderId) -> bool {
        self.over.iter().any(|range| range.contains(&id))
    }
}

impl<B> Replay for Reopen<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    /// Always possible, and keeps nothing.
    fn record(&mut self, _cap: usize) -> bool {
        true
    }

    fn fork(&self) -> Option<Self> {
        let mut readers = self.shared.readers();
        let id = readers.next_id;
        readers.next_id += 1;
        drop(readers);
        Some(Self::at_start(Arc::clone(&self.shared), self.length, id, Some(self.id)))
    }

    fn is_replayable(&self) -> bool {
        true
    }

    fn take_over(&mut self) {
        let mut readers = self.shared.readers();
        // As for a recorded body: the one that this copy was forked from, and all that were forked after the copy.
        let later = self.id + 1..readers.next_id;
        readers.over.retain(|range| range.start < later.start);
        let parent = self.parent.filter(|parent| !readers.is_over(*parent));
        readers.over.extend(parent.map(|parent| parent..parent + 1));
        readers.over.push(later);
        let waiting = readers.waiting.take();
        drop(readers);
        wake_all(waiting);
    }
}

impl<B> Reopen<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BoxError>> {
        if self.shared.readers().is_over(self.id) {
            return Poll::Ready(Err(Superseded.into()));
        }
        if matches!(self.state, State::Closed) {
            let opened = (self.shared.open)().map_err(|error| Error::new(Kind::Body, error))?;
            self.state = State::Open(Mutex::new(opened));
        }
        let State::Open(body) = &mut self.state else { return Poll::Ready(Ok(None)) };
        let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = match Pin::new(body).poll_frame(cx) {
            Poll::Pending => return self.wait(cx),
            Poll::Ready(frame) => frame.transpose().map_err(|error| Error::of_body(error.into()))?,
        };
        let frame = frame.map(to_bytes);
        let size = frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        self.read = self.read.saturating_add(size as u64);
        Poll::Ready(match self.length {
            Some(length) if self.read > length || (frame.is_none() && self.read < length) => {
                Err(Error::new(Kind::Body, WrongLength { promised: length, read: self.read }).into())
            }
            _ => Ok(frame),
        })
    }

    /// The source has nothing yet. Whoever takes over wakes this reader, so that it does not wait on.
    fn wait<T>(&self, cx: &Context<'_>) -> Poll<Result<T, BoxError>> {
        let mut readers = self.shared.readers();
        if readers.is_over(self.id) {
            return Poll::Ready(Err(Superseded.into()));
        }
        let old = readers.waiting.join(self.id, cx.waker());
        drop(readers);
        drop(old);
        Poll::Pending
    }
}

impl<B> Body for Reopen<B>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if matches!(self.state, State::Over) {
            return Poll::Ready(None);
        }
        let polled = std::task::ready!(self.poll(cx)).transpose();
        if !matches!(polled, Some(Ok(_))) {
            let opened = mem::replace(&mut self.state, State::Over);
            drop(opened);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Closed => self.length == Some(0),
            State::Open(body) => {
                let at_end = body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream();
                // One that ends too early has an error to come.
                at_end && self.length.is_none_or(|length| self.read >= length)
            }
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.state, self.length) {
            (State::Over, _) => SizeHint::with_exact(0),
            (_, Some(length)) => SizeHint::with_exact(length.saturating_sub(self.read)),
            (State::Open(body), None) => body.lock().unwrap_or_else(PoisonError::into_inner).size_hint(),
            (State::Closed, None) => SizeHint::default(),
        }
    }
}

impl<B> Drop for Reopen<B> {
    fn drop(&mut self) {
        let waker = self.shared.readers().waiting.leave(self.id);
        drop(waker);
    }
}

/// Never shows the content.
impl<B> fmt::Debug for Reopen<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reopen")
            .field("length", &self.length)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

/// A source that was opened has not the length that was promised. See [`Reopen::length`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongLength {
    /// The length that was promised, in bytes.
    pub promised: u64,
    /// How many bytes there were, or were at least.
    pub read: u64,
}

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promised, read } = self;
        let bound = if read > promised { "at least " } else { "" };
        write!(f, "the source has {bound}{read} bytes and not the {promised} that were promised")
    }
}

impl std::error::Error for WrongLength {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&Kind::Body)
    }
}
