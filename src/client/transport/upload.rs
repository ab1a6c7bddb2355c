use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame, SizeHint};

use crate::base::body::Body;
use crate::base::{Panicked, caught};
use crate::exchange::{Outgoing, RequestBodyFailed};

/// A request body on its way out: it knows whether it has all been taken, ends where its caller said that it ends, and can be held back.
///
/// None if there is nothing to send, which is most often so. In a box, since a request is moved often on its way to its connection.
pub(super) struct Upload(Option<Box<Outbound>>);

struct Outbound {
    body: Outgoing,
    /// What the caller's `content-length` leaves of a body that does not know its own length.
    left: Option<u64>,
    /// What came after the end of that, and is no data.
    ahead: Option<Frame<Bytes>>,
    out: Arc<Out>,
    held: Option<Arc<Gate>>,
}

/// What became of a body on its way out.
#[derive(Debug, Default)]
struct Out {
    taken: AtomicBool,
    /// Kept, since over HTTP/2 hyper resets the stream and tells nobody why.
    failed: OnceLock<RequestBodyFailed>,
    end: Mutex<End>,
}

/// Nobody wants the rest of it, since the answer to it is over.
#[derive(Debug, Default)]
struct End {
    came: bool,
    /// Of whoever waits for more of it.
    waker: Option<Waker>,
}

impl Out {
    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caller said how long the body is, and it is longer.
#[derive(Debug, thiserror::Error)]
#[error("the body is longer than the header `content-length` says")]
struct TooLong;

/// It is shorter. Over HTTP/2 nobody else would notice.
#[derive(Debug, thiserror::Error)]
#[error("the body is shorter than the header `content-length` says")]
struct TooShort;

impl Upload {
    pub(super) fn of(request: Request<Body>) -> Request<Self> {
        let (head, body) = request.into_parts();
        let upload = if body.is_end_stream() {
            Self(None)
        } else {
            let left = if body.size_hint().exact().is_none() { announced(&head.headers) } else { None };
            Self::some(Outgoing(body), left)
        };
        Request::from_parts(head, upload)
    }

    /// A body that was held back, and is not.
    pub(super) fn again(body: Outgoing) -> Self {
        Self::some(body, None)
    }

    fn some(body: Outgoing, left: Option<u64>) -> Self {
        Self(Some(Box::new(Outbound { body, left, ahead: None, out: Arc::default(), held: None })))
    }

    /// The body of a request that came back unsent, and is not held back.
    pub(super) fn into_body(self) -> Body {
        self.0.map_or_else(Body::empty, |upload| upload.body.0)
    }

    /// Tells whether all of it was taken, after it was handed on.
    pub(super) fn watch(&self) -> Watch {
        Watch(self.0.as_ref().map(|upload| Arc::clone(&upload.out)))
    }

    /// Hold the body back behind this gate, which lets it through once. None if there is nothing to hold back.
    pub(super) fn hold(&mut self) -> Option<Arc<Gate>> {
        self.0.as_mut().map(|upload| upload.hold())
    }

    /// If it is held back, from now on it is not.
    pub(super) fn release(&mut self) {
        if let Some(upload) = &mut self.0 {
            upload.release();
        }
    }
}

impl Outbound {
    fn hold(&mut self) -> Arc<Gate> {
        let body = std::mem::replace(&mut self.body, Outgoing(Body::empty()));
        let size = body.size_hint();
        let gate =
            Arc::new(Gate { size, state: Mutex::new(Held { body: Some(body), open: false, waker: None }) });
        self.held = Some(Arc::clone(&gate));
        gate
    }

    fn release(&mut self) {
        if let Some(gate) = self.held.take() {
            if let Some(body) = gate.take_back() {
                self.body = body;
            }
        }
    }

    /// Not beyond the end of its answer. Over HTTP/2 whoever reads it resets its stream then, which is how a server learns that its
    /// client has left; over HTTP/1.1 the connection is closed.
    fn poll_wanted(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        if self.out.end().came {
            return Poll::Ready(Some(Err(RequestBodyFailed::new(h2::Error::from(h2::Reason::CANCEL)))));
        }
        let polled = self.poll_frame(cx);
        if polled.is_pending() {
            let mut end = self.out.end();
            if end.came {
                cx.waker().wake_by_ref();
            } else if !end.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                end.waker = Some(cx.waker().clone());
            }
        }
        polled
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        ready!(self.poll_held(cx));
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = ready!(self.poll_body(cx));
        if let Some(Err(failed)) = &polled {
            // The first is the one that counts.
            let _ = self.out.failed.set(failed.clone());
        }
        Poll::Ready(polled)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        let frame = ready!(self.poll_caught(cx)?);
        let is_over = frame.as_ref().is_none_or(Frame::is_trailers);
        if is_over && self.left.is_some_and(|left| left > 0) {
            return Poll::Ready(Some(Err(RequestBodyFailed::new(TooShort))));
        }
        let Some(frame) = frame else {
            self.taken();
            return Poll::Ready(None);
        };
        if let (Some(left), Some(data)) = (self.left, frame.data_ref()) {
            let rest = left.checked_sub(data.len() as u64);
            self.left = rest;
            let ends = match rest {
                Some(0) => self.poll_beyond(cx),
                Some(_) => true,
                None => false,
            };
            if !ends {
                return Poll::Ready(Some(Err(RequestBodyFailed::new(TooLong))));
            }
        }
        // Hyper does not ask again once it has as much as was announced.
        if self.body.is_end_stream() || self.body.size_hint().exact() == Some(0) || self.left == Some(0) {
            self.taken();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// A connection is shared: a body that panics is not to end what others do over it.
    fn poll_caught(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        caught(|| Pin::new(&mut self.body).poll_frame(cx)).unwrap_or_else(|_| {
            self.body = Outgoing(Body::empty());
            Poll::Ready(Some(Err(RequestBodyFailed::new(Panicked))))
        })
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(gate) = &self.held {
            if let Some(body) = ready!(gate.poll_open(cx)) {
                self.body = body;
            }
            self.held = None;
        }
        Poll::Ready(())
    }

    /// Look at what comes after the announced end, which nobody will ask for, as far as it is there already. It is not to be data.
    fn poll_beyond(&mut self, cx: &mut Context<'_>) -> bool {
        match self.poll_caught(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| !data.is_empty()) => false,
            Poll::Ready(Some(Ok(frame))) => {
                self.ahead = Some(frame);
                true
            }
            _ => true,
        }
    }

    fn taken(&self) {
        self.out.taken.store(true, Ordering::Release);
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.held {
            Some(gate) => gate.size,
            None => self.body.size_hint(),
        }
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = RequestBodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFailed>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |upload| upload.poll_wanted(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.size_hint())
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

/// Whether a request body has left, as far as its connection is concerned. None of an empty one, which always has.
#[derive(Debug)]
pub(super) struct Watch(Option<Arc<Out>>);

impl Watch {
    pub(super) fn is_out(&self) -> bool {
        self.0.as_ref().is_none_or(|out| out.taken.load(Ordering::Acquire))
    }

    /// The answer is over, and nobody wants what is left of the body. What its connection has taken of it goes out, or is reset with it.
    pub(super) fn end(&self) {
        let Some(out) = &self.0 else { return };
        let waker = {
            let mut end = out.end();
            end.came = true;
            end.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it did not, if that is its own fault.
    pub(super) fn failed(&self) -> Option<RequestBodyFailed> {
        self.0.as_ref()?.failed.get().cloned()
    }
}

/// Holds a body back until its server says that it wants it (RFC 9110, section 10.1.1).
pub(super) struct Gate {
    size: SizeHint,
    state: Mutex<Held>,
}

struct Held {
    body: Option<Outgoing>,
    open: bool,
    waker: Option<Waker>,
}

impl Gate {
    /// Let it through.
    pub(super) fn open(&self) {
        let waker = {
            let mut state = self.state();
            state.open = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The body, if it has not been let through. Nobody gets it then.
    pub(super) fn take_back(&self) -> Option<Outgoing> {
        self.state().body.take()
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        let mut state = self.state();
        if state.open {
            return Poll::Ready(state.body.take());
        }
        let before = state.waker.replace(cx.waker().clone());
        drop(state);
        // A task may go with it.
        drop(before);
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
