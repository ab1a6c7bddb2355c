use std::sync::Arc;

use tokio::time::Instant;

use super::control::Control;
use super::pulse::Pulse;
use crate::base::body::{BodyEnd, Guard};
use crate::base::{CloseReason, Event, Peer, ServerPhase};

/// What a connection and its requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pulse: Pulse,
    pub(super) peer: Peer,
    pub(super) control: Arc<Control>,
    pub(super) old_at: Option<Instant>,
}

impl Shared {
    pub(super) fn new(peer: Peer, control: Arc<Control>, now: Instant, old_at: Option<Instant>) -> Arc<Self> {
        Arc::new(Self { pulse: Pulse::new(now), peer, control, old_at })
    }

    /// It has served as long as it may, whether or not that was seen already.
    pub(super) fn is_old(&self) -> bool {
        self.old_at.is_some_and(|at| at <= Instant::now())
    }

    pub(super) fn closes(&self, why: CloseReason) {
        self.control.tell(|| Event::ConnectionClosed { why });
        tracing::debug!(?why, peer = ?self.peer.addr(), "closing a connection");
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
        let Shared { pulse, control, .. } = &*self.connection;
        // What failed here is not the client's doing.
        if let (Some(begun), None | Some(BodyEnd::Abandoned)) = (self.begun, self.end) {
            pulse.taken_back(begun);
        }
        pulse.end();
        let answered = self.end == Some(BodyEnd::Complete);
        match control.phase() {
            ServerPhase::Serving => {}
            _ if answered => control.finished_one(),
            ServerPhase::Stopped => control.aborted_one(),
            // The client left, or the answer failed.
            _ => {}
        }
    }
}
