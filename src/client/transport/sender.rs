use std::error::Error as _;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use super::upload::Upload;
use crate::base::{BoxError, Delivery, Error, Kind};
use crate::exchange::Facts;

pub(super) type Answer = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

/// What hands requests to a connection, until that has ended.
///
/// A request that is handed over in that very moment may be left in the queue between the two, which is dropped with the last of its senders
/// and gives the request back then. Whoever waits for the answer holds the connection, so that would be never: the task of the connection
/// takes the sender away when it ends.
pub(super) struct Sender<S>(Mutex<Option<S>>);

/// A request that got no answer.
pub(super) enum Lost {
    /// The connection had ended before it was handed over.
    Ended(Box<Request<Upload>>),
    Failed(Box<TrySendError<Request<Upload>>>),
}

impl<S> Sender<S> {
    pub(super) const fn new(sender: S) -> Self {
        Self(Mutex::new(Some(sender)))
    }

    /// The connection has ended.
    pub(super) fn end(this: &Weak<Self>) {
        if let Some(this) = this.upgrade() {
            let sender = this.lock().take();
            drop(sender);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender<http1::SendRequest<Upload>> {
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut *self.lock() {
            Some(sender) => sender.poll_ready(cx).map_err(Into::into),
            None => Poll::Ready(Err(Ended.into())),
        }
    }

    pub(super) fn send(
        &self,
        request: Request<Upload>,
    ) -> Result<impl Future<Output = Answer> + use<>, Lost> {
        match &mut *self.lock() {
            Some(sender) => Ok(sender.try_send_request(request)),
            None => Err(Lost::Ended(Box::new(request))),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().as_ref().is_none_or(http1::SendRequest::is_closed)
    }
}

impl Sender<http2::SendRequest<Upload>> {
    pub(super) fn send(
        &self,
        request: Request<Upload>,
    ) -> Result<impl Future<Output = Answer> + use<>, Lost> {
        match &mut *self.lock() {
            Some(sender) => Ok(sender.try_send_request(request)),
            None => Err(Lost::Ended(Box::new(request))),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().as_ref().is_none_or(http2::SendRequest::is_closed)
    }
}

impl Lost {
    /// The request, if it was not sent, and what its caller is told if nobody sends it then. `kept`: its connection had been there before.
    pub(super) fn judge(self, kept: bool) -> (Option<Request<Upload>>, Error) {
        let cut_off = |error: Error| if kept { error.while_kept() } else { error };
        match self {
            Self::Ended(request) => {
                let error = Error::new(Kind::Transport, Ended).with_delivery(Delivery::NotSent);
                (Some(*request), cut_off(error))
            }
            Self::Failed(mut failed) => {
                let unsent = failed.take_message();
                let error = failed.into_error();
                let facts = Facts::sent(&error);
                let (kind, delivery) = facts.judge();
                let broke = facts.is_broken() && !ends_a_stream(&error);
                let error = Error::new(kind, error).with_delivery(delivery);
                (unsent, if broke { cut_off(error) } else { error })
            }
        }
    }
}

/// Whether the peer has ended this stream alone, and its connection goes on (RFC 9113, section 5.4.2).
fn ends_a_stream(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(h2::Error::is_reset)
}

#[derive(Debug, thiserror::Error)]
#[error("the connection had ended before the request was handed to it")]
struct Ended;
