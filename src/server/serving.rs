use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::ShutdownReport;

/// A server that serves, until it has been stopped: see [`Server::serve`](super::Server::serve). Dropping it drops every connection at once.
#[must_use = "a server serves nothing until this is awaited"]
pub struct Serving(pub(super) Pin<Box<dyn Future<Output = ShutdownReport> + Send>>);

impl Future for Serving {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ShutdownReport> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}
