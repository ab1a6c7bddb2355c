use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::panicking;

use tokio::time::Instant;

use super::control::Control;
use super::pulse::Pulse;
use super::tasks;
use crate::base::body::{BodyEnd, Guard};
use crate::base::{CloseReason, Event, Peer, ServerPhase};

/// What a connection and its requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pulse: Pulse,
    pub(super) peer: Peer,
    pub(super) control: Arc<Control>,
    pub(super) old_at: Option<Instant>,
    /// Answers over HTTP/1 that are over here, and of which the system has not taken all.
    unsent: AtomicU64,
}

impl Shared {
    pub(super) fn new(peer: Peer, control: Arc<Control>, now: Instant, old_at: Option<Instant>) -> Arc<Self> {
        Arc::new(Self { pulse: Pulse::new(now), peer, control, old_at, unsent: AtomicU64::new(0) })
    }

    /// It has served as long as it may, whether or not that was seen already.
    pub(super) fn is_old(&self) -> bool {
        self.old_at.is_some_and(|at| at <= Instant::now())
    }

    /// All that there was to send over HTTP/1 has been sent.
    pub(super) fn sent_all(&self) {
        if self.unsent.load(Relaxed) > 0 {
            self.count(self.unsent.swap(0, Relaxed), true);
        }
    }

    /// So many answers are over, and were sent or will not be.
    pub(super) fn count(&self, answers: u64, sent: bool) {
        match self.control.phase() {
            ServerPhase::Serving => {}
            _ if sent => self.control.finished(answers),
            ServerPhase::Stopped => self.control.aborted(answers),
            // The client took none of it for too long, or left.
            _ => {}
        }
    }

    pub(super) fn closes(&self, why: CloseReason) {
        self.control.tell(|| Event::ConnectionClosed { why });
        tracing::debug!(?why, peer = ?self.peer.addr(), "closing a connection");
    }
}

/// What a connection has not sent is lost with it.
pub(super) struct Unsent(pub(super) Arc<Shared>);

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.count(self.0.unsent.swap(0, Relaxed), false);
    }
}

/// A request, from when it came until its answer is over.
#[derive(Debug)]
pub(super) struct InFlight {
    connection: Arc<Shared>,
    /// Over HTTP/2, where a client can take a request back and keep the connection.
    begun: Option<Instant>,
    /// Nothing, if it was dropped before.
    end: Option<BodyEnd>,
}

impl InFlight {
    /// `more`: a body will follow.
    pub(super) fn begin(connection: Arc<Shared>, http2: bool, more: bool) -> Self {
        connection.pulse.begin(more);
        Self { connection, begun: http2.then(Instant::now), end: None }
    }

    pub(super) fn connection(&self) -> &Shared {
        &self.connection
    }
}

impl Guard for InFlight {
    fn settle(mut self, end: BodyEnd) {
        self.end = Some(end);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Shared { pulse, control, unsent, .. } = &*self.connection;
        // What failed or panicked here is not the client's doing.
        if let (Some(begun), None | Some(BodyEnd::Abandoned), false) = (self.begun, self.end, panicking()) {
            pulse.taken_back(begun);
        }
        pulse.end();
        if self.end != Some(BodyEnd::Complete) {
            // Before that, the client left or the answer failed.
            if control.phase() == ServerPhase::Stopped {
                control.aborted(1);
            }
        } else if self.begun.is_some() {
            tasks::answered();
        } else {
            // It may be large, and lie here for as long as its client likes.
            unsent.fetch_add(1, Relaxed);
        }
    }
}
