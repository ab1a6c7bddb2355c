use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::host::{Handed, Host};
use super::lease::Lease;
use crate::base::{Alarm, Deadline, Delivery, Elapsed, Error, Kind, Limited, scope};
use crate::client::NotConnected;

/// A place in the queue of a host, given up when this is dropped.
pub(super) struct Waiting {
    host: Arc<Host>,
    ticket: u64,
    handed: oneshot::Receiver<Handed>,
}

impl Waiting {
    pub(super) const fn new(host: Arc<Host>, ticket: u64, handed: oneshot::Receiver<Handed>) -> Self {
        Self { host, ticket, handed }
    }

    /// Wait for a connection, as long as the settings allow since then. While one is being made for this caller, its own limit of time counts
    /// instead.
    pub(super) async fn wait(mut self, since: Instant) -> Result<Lease, Error> {
        let settings = &self.host.core.settings;
        let connecting = settings.connect_timeout;
        let mut until = settings.pool_timeout.map(|patience| Deadline::after(since, patience).instant());
        let mut alarm = pin!(Alarm::new());
        poll_fn(|cx| {
            loop {
                let handed = &mut self.handed;
                let polled = match until {
                    Some(at) => alarm.as_mut().poll_limited(cx, at, |cx| Pin::new(&mut *handed).poll(cx)),
                    None => Pin::new(handed).poll(cx).map(Limited::Done),
                };
                return match polled {
                    Poll::Ready(Limited::Done(handed)) => Poll::Ready(handed_over(handed)),
                    // Whoever limits the call looks once more before it ends it: this knows what was waited for.
                    _ if scope::expired() => Poll::Ready(Err(self.out_of_time())),
                    Poll::Ready(Limited::Elapsed) if self.host.is_promised(self.ticket) => {
                        // It may turn out to be for fewer than was thought: by then it has been made, and this one's turn has not come.
                        until = Some(Deadline::after(Instant::now(), connecting).instant());
                        continue;
                    }
                    Poll::Ready(Limited::Elapsed) => {
                        Poll::Ready(Err(self.host.out_of_patience(since.elapsed())))
                    }
                    Poll::Pending => Poll::Pending,
                };
            }
        })
        .await
    }

    fn out_of_time(&self) -> Error {
        let phase = self.host.phase();
        Error::from(Elapsed::before_deadline(phase)).with_delivery(Delivery::NotSent)
    }
}

fn handed_over(handed: Result<Handed, oneshot::error::RecvError>) -> Result<Lease, Error> {
    match handed {
        Ok(Ok(lease)) => Ok(lease),
        Ok(Err(error)) => Err(NotConnected::told(&error)),
        Err(_) => Err(Error::new(Kind::Connect, CutOff).with_delivery(Delivery::NotSent)),
    }
}

/// Nobody is left who could hand over a connection: the runtime is being shut down.
#[derive(Debug, thiserror::Error)]
#[error("connecting was cut off")]
pub(super) struct CutOff;

impl Drop for Waiting {
    fn drop(&mut self) {
        self.host.leave(self.ticket);
    }
}
