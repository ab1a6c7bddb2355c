use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use super::shared::Shared;
use crate::base::{BoxError, Delivery, Elapsed, Error, Kind, ResetEarly};
use crate::timeout::TimedBody;

/// The body of a request as it comes in, within its limits of time.
#[pin_project]
pub(super) struct Arriving {
    #[pin]
    body: TimedBody<Incoming>,
    arrival: Arrival,
    begun: bool,
    http2: bool,
    /// Until there is nothing more to read.
    open: Option<Open>,
}

/// A body that somebody may still read, whether or not the request was answered.
struct Open {
    connection: Arc<Shared>,
    whole: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.pulse.end_body(self.whole);
    }
}

/// What became of a body, as whoever answers has to know.
#[derive(Clone)]
pub(super) struct Arrival(Arc<AtomicU8>);

/// The client waits to be told to send it (`Expect: 100-continue`; RFC 9110, section 10.1.1).
const AWAITED: u8 = 1;
/// Somebody has begun to read it, and so the client was told.
const BEGUN: u8 = 2;
/// It took too long.
const LATE: u8 = 4;
/// It is answered with a stream of gRPC, whose two sides are silent for as long as they have nothing to say.
const STREAMS: u8 = 8;

impl Arrival {
    fn is(&self, all: u8) -> bool {
        self.0.load(Relaxed) & all == all
    }

    fn note(&self, what: u8) {
        self.0.fetch_or(what, Relaxed);
    }

    pub(super) fn is_late(&self) -> bool {
        self.is(LATE)
    }

    /// The client was never told to send it. Answered without, it may send it or not: the connection ends.
    pub(super) fn is_not_wanted(&self) -> bool {
        self.is(AWAITED) && !self.is(BEGUN)
    }

    /// The service itself says that it speaks gRPC here; that its client says so, is no reason to wait for it.
    pub(super) fn streams(&self) {
        self.note(STREAMS);
    }

    /// What the handler is told.
    fn told(&self, error: BoxError) -> BoxError {
        let error = Error::wrap(error);
        if error.cause::<Elapsed>().is_none() {
            return Error::new(Kind::Body, error).into();
        }
        self.note(LATE);
        error.into()
    }
}

impl Arriving {
    /// `awaited`: the client waits to be told to send it.
    pub(super) fn new(
        body: Incoming,
        http2: bool,
        awaited: bool,
        connection: &Arc<Shared>,
    ) -> (Self, Arrival) {
        let arrival = Arrival(Arc::new(AtomicU8::new(if awaited { AWAITED } else { 0 })));
        let limits = &connection.control.settings.request_body;
        let body = TimedBody::within(body, limits, Delivery::Unknown);
        connection.pulse.begin_body();
        let open = Some(Open { connection: Arc::clone(connection), whole: false });
        (Self { body, arrival: arrival.clone(), begun: false, http2, open }, arrival)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if !*this.begun {
            *this.begun = true;
            this.arrival.note(BEGUN);
        }
        if this.arrival.is(STREAMS) {
            this.body.as_mut().may_pause();
        }
        let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
            // Told once: nobody waits for more of it then.
            None if *this.http2 && this.open.is_some() && !this.body.is_end_stream() => {
                Some(Err(ResetEarly.into()))
            }
            frame => frame,
        };
        match frame {
            // After this it says that it is at its end, too.
            Some(Err(_)) => drop(this.open.take()),
            // What comes in chunks is over with nothing but this.
            _ if frame.is_none() || this.body.is_end_stream() => {
                if let Some(mut open) = this.open.take() {
                    open.whole = true;
                }
            }
            _ => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| this.arrival.told(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
