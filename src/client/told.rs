//! Settings of what servers are told beside the request itself.

use http::HeaderName;

use super::ClientSettings;
use crate::observe::Propagation;

impl ClientSettings {
    /// Tell the server in this header how much time is left for an attempt, in whole milliseconds; in a call of gRPC, in `grpc-timeout`. So nobody works
    /// for a caller who has gone. It is the time that the deadline in scope leaves, that of the request that a server is answering included; work
    /// that is [detached](crate::base::deadline::detached) from that says nothing of it. Default: [`TIMEOUT_MS`](crate::base::TIMEOUT_MS).
    pub fn deadline_header(mut self, name: HeaderName) -> Self {
        self.deadline_header = Some(name);
        self
    }

    /// Do not tell servers how much time is left. In a file: `deadline_header = "off"`.
    pub fn without_deadline_header(mut self) -> Self {
        self.deadline_header = None;
        self
    }

    /// What to tell servers of the names of the request that is being answered: see [`PropagateLayer`](crate::observe::PropagateLayer).
    /// Default: [`PassOn`](Propagation::PassOn), what there is.
    pub const fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }
}
