use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project::pin_project;

use super::shared::Shared;
use crate::base::{BoxError, Delivery, Elapsed, Error, Kind};
use crate::timeout::{BodyLimits, TimedBody};

/// The body of a request as it comes in, within its limits of time.
#[pin_project]
pub(super) struct Arriving {
    #[pin]
    body: TimedBody<Incoming>,
    late: Late,
    failed: bool,
    connection: Arc<Shared>,
}

/// Whether a body took too long.
#[derive(Clone)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// What the handler is told.
    fn told(&self, error: BoxError) -> BoxError {
        let error = Error::wrap(error);
        if error.cause::<Elapsed>().is_none() {
            return Error::new(Kind::Body, error).into();
        }
        self.0.store(true, Relaxed);
        error.into()
    }
}

impl Arriving {
    /// `may_pause`: the client may be silent for as long as it likes.
    pub(super) fn new(body: Incoming, may_pause: bool, connection: &Arc<Shared>) -> (Self, Late) {
        let limits = if may_pause { BodyLimits::none() } else { connection.control.settings.request_body };
        let late = Late(Arc::new(AtomicBool::new(false)));
        let body = TimedBody::within(body, &limits, Delivery::Unknown);
        (Self { body, late: late.clone(), failed: false, connection: Arc::clone(connection) }, late)
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
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match frame {
            // After this it says that it is at its end, too.
            Some(Err(_)) => *this.failed = true,
            _ if !*this.failed && this.body.is_end_stream() => this.connection.pulse.read_whole(),
            _ => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| this.late.told(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
