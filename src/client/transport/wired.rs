use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::lease::Lease;
use super::upload::Watch;
use crate::base::{BoxError, ResetEarly};

/// How much of an answer that nobody reads to its end is read so that its connection can be used again, and for how long: more would
/// cost more than a new connection.
const DRAIN_BYTES: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(100);

/// The body of an answer, and the connection that it comes over, which is free once the body has ended.
pub(in crate::client) struct Wired {
    /// There until this is dropped.
    body: Option<Incoming>,
    rest: Option<Rest>,
    /// It came to its end, and says so from then on: where the rest of the request is taken back then, its stream forgets that.
    over: bool,
}

/// What is to be done at the end.
pub(super) struct Rest {
    pub(super) lease: Lease,
    pub(super) upload: Watch,
    /// How long the connection may lie idle then.
    pub(super) idle: Option<Duration>,
}

impl Wired {
    pub(super) fn new(body: Incoming, rest: Option<Rest>) -> Self {
        let mut wired = Self { body: Some(body), rest, over: false };
        if wired.is_end_stream() {
            wired.ended();
        }
        wired
    }

    fn ended(&mut self) {
        self.over = true;
        if let Some(Rest { mut lease, upload, idle }) = self.rest.take() {
            // An answer may come before all of the request was sent. Nobody would know when the rest has been.
            if upload.is_out() {
                lease.done(idle);
            } else {
                upload.end();
            }
        }
    }

    /// Whether a body of which nothing more comes was sent to its end. Over HTTP/1.1 hyper knows.
    fn is_whole(&self) -> bool {
        self.is_end_stream() || !self.rest.as_ref().is_some_and(|rest| rest.lease.is_shared())
    }

    /// Nothing more is heard of it.
    fn cut_off(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.upload.end();
        }
    }
}

impl http_body::Body for Wired {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            None if !self.is_whole() => Some(Err(ResetEarly.into())),
            frame => frame.map(|frame| frame.map_err(BoxError::from)),
        };
        match &frame {
            Some(Ok(_)) if !self.is_end_stream() => {}
            Some(Ok(_)) | None => self.ended(),
            Some(Err(_)) => self.cut_off(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        let (Some(rest), Some(body)) = (self.rest.take(), self.body.take()) else { return };
        let shared = rest.lease.is_shared();
        let short = body.size_hint().upper().is_none_or(|most| most <= DRAIN_BYTES);
        let kept = rest.idle.is_some() && rest.upload.is_out() && !rest.lease.host.core.is_closed();
        if shared || !short || !kept {
            rest.upload.end();
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(drain(body, rest)));
        }
    }
}

async fn drain(mut body: Incoming, mut rest: Rest) {
    let mut left = DRAIN_BYTES;
    let read = async {
        while !body.is_end_stream() {
            let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            match next {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => {
                    let read = frame.data_ref().map_or(0, |data| data.len() as u64);
                    match left.checked_sub(read) {
                        Some(rest) => left = rest,
                        None => return false,
                    }
                }
            }
        }
        true
    };
    if timeout(DRAIN_TIME, read).await == Ok(true) {
        rest.lease.done(rest.idle);
    }
}

impl fmt::Debug for Wired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wired").field("body", &self.body).finish_non_exhaustive()
    }
}
