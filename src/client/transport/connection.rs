use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::client::conn::{http1, http2};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::pulse::Pulse;
use super::sender::Sender;
use super::upload::Upload;
use crate::connect::Forward;

/// A connection that can be used.
#[derive(Debug)]
pub(super) enum Connection {
    /// In a box, since answers are moved often on their way to their callers, with what belongs to them.
    Http1(Box<Http1>),
    Http2(Arc<Http2>),
}

impl Connection {
    /// Whether it was there before the request that it is used for next.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.used || connection.lay_idle.is_some(),
            Self::Http2(connection) => !connection.is_fresh(),
        }
    }
}

/// A connection for one request at a time. Dropping it closes it once what was sent has been answered.
pub(super) struct Http1 {
    pub(super) sender: Arc<Sender<http1::SendRequest<Upload>>>,
    pub(super) task: AbortHandle,
    /// Set where a proxy is at the other end.
    pub(super) forwards: Option<Box<Forward>>,
    pub(super) retire_at: Option<Instant>,
    /// It has carried a request.
    pub(super) used: bool,
    /// It lay idle before it was last taken, and may have been closed meanwhile by a peer whose word of it is on its way; until when it might
    /// have lain there.
    pub(super) lay_idle: Option<Instant>,
}

impl Http1 {
    pub(super) const fn is_fresh(&self) -> bool {
        !self.used
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Not to be used again.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_closed() || (self.used && is_old(self.retire_at, now))
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("used", &self.used).finish_non_exhaustive()
    }
}

/// A connection for many requests at once. When the last of its handles is dropped it says goodbye and closes.
pub(super) struct Http2 {
    pub(super) sender: Arc<Sender<http2::SendRequest<Upload>>>,
    /// How many requests its server allows at once.
    pub(super) limit: Arc<AtomicUsize>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) retire_at: Option<Instant>,
    /// It has carried a request, or carries one now.
    pub(super) used: AtomicBool,
}

impl Http2 {
    pub(super) fn is_fresh(&self) -> bool {
        !self.used.load(Ordering::Relaxed)
    }

    pub(super) fn streams(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_old(&self, now: Instant) -> bool {
        is_old(self.retire_at, now)
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("limit", &self.limit).finish_non_exhaustive()
    }
}

fn is_old(retire_at: Option<Instant>, now: Instant) -> bool {
    retire_at.is_some_and(|at| at <= now)
}
