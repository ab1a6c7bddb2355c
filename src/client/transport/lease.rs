use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::connection::{Connection, Http1};
use super::host::Host;

/// A connection, or a share of one, for one request. What becomes of it when this is dropped depends on how far the request has come.
pub(super) struct Lease {
    pub(super) host: Arc<Host>,
    connection: Option<Connection>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent: it is as good as before.
    Unused,
    /// Something was sent, and what comes back is not all read.
    Busy {
        /// How much had been read on a shared connection by then.
        reads: u64,
        /// The time of the request is over.
        timed_out: bool,
    },
    /// All is sent and read. It can lie idle for so long, if at all.
    Done(Option<Duration>),
}

impl Lease {
    pub(super) const fn new(host: Arc<Host>, connection: Connection) -> Self {
        Self { host, connection: Some(connection), stage: Stage::Unused }
    }

    pub(super) const fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is there until this is dropped")
    }

    /// Whether others send requests over it, too.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self.connection, Some(Connection::Http2(_)))
    }

    /// The request is handed to the connection.
    pub(super) fn begin(&mut self) {
        let reads = match self.connection() {
            Connection::Http1(connection) => {
                connection.used = true;
                0
            }
            Connection::Http2(connection) => {
                connection.used.store(true, Ordering::Relaxed);
                connection.pulse.reads()
            }
        };
        self.stage = Stage::Busy { reads, timed_out: false };
    }

    /// The request came back as if it had never been sent, since the connection is closed.
    pub(super) const fn came_back(&mut self) {
        self.stage = Stage::Done(None);
    }

    /// Whoever waits for the answer is about to give up.
    pub(super) const fn times_out(&mut self) {
        if let Stage::Busy { reads, .. } = self.stage {
            self.stage = Stage::Busy { reads, timed_out: true };
        }
    }

    /// Whether nothing at all was heard since the request was handed to the connection, as far as is known: over HTTP/1.1 that would be
    /// the answer.
    pub(super) fn is_silent(&self) -> bool {
        match (&self.connection, self.stage) {
            (Some(Connection::Http1(_)), Stage::Busy { .. }) => true,
            (Some(Connection::Http2(connection)), Stage::Busy { reads, .. }) => {
                connection.pulse.reads() == reads
            }
            _ => false,
        }
    }

    /// Request and answer have come to their ends.
    pub(super) const fn done(&mut self, idle: Option<Duration>) {
        self.stage = Stage::Done(idle);
    }

    /// The connection belongs to somebody else from now on: it speaks another protocol.
    pub(super) fn leave(mut self) {
        self.connection = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that has said nothing at all since then will not say anything to the next request either.
        let dead = matches!(self.stage, Stage::Busy { timed_out: true, .. }) && self.is_silent();
        match (self.connection.take(), self.stage) {
            (Some(Connection::Http1(connection)), Stage::Unused) => {
                // Its server may close it when it has said, whoever had it in between.
                let left = |until: Instant| until.saturating_duration_since(Instant::now());
                let idle = connection.lay_idle.map(left).or(self.host.core.settings.idle_timeout);
                self.host.put_back(connection, idle);
            }
            (Some(Connection::Http1(connection)), Stage::Done(idle)) => self.host.put_back(connection, idle),
            // The rest of the answer would be taken for the next one.
            (Some(Connection::Http1(connection)), Stage::Busy { .. }) => abort(&connection),
            (Some(Connection::Http2(connection)), _) => self.host.end_stream(&connection, dead),
            (None, _) => {}
        }
    }
}

fn abort(connection: &Http1) {
    connection.task.abort();
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, connection, stage } = self;
        f.debug_struct("Lease")
            .field("host", host)
            .field("connection", connection)
            .field("stage", stage)
            .finish()
    }
}
