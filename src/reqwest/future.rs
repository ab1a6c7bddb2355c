use std::fmt;
use std::future::{self, Ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::pin_project;
use tower_service::Service;

use super::delivery::{Exchanges, judge, shown};
use crate::base::Error;
use crate::base::body::Body;

type Pending = <::reqwest::Client as Service<::reqwest::Request>>::Future;

/// A request that a [`Transport`](super::Transport) sends.
///
/// Dropping it drops the attempt and lets go of its connection.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
pub struct ResponseFuture {
    #[pin]
    state: State,
}

#[pin_project(project = StateProjection)]
enum State {
    Sending(#[pin] Pending, Exchanges),
    Refused(#[pin] Ready<Error>),
}

impl ResponseFuture {
    pub(super) fn sending(pending: Pending, exchanges: Exchanges) -> Self {
        Self { state: State::Sending(pending, exchanges) }
    }

    /// It was not sent, since it cannot be.
    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Refused(future::ready(error)) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Sending(pending, exchanges) => Poll::Ready(match ready!(pending.poll(cx)) {
                Ok(response) => Ok(Response::from(response).map(Body::new)),
                Err(error) => {
                    let (kind, delivery) = judge(&error, *exchanges);
                    Err(Error::new(kind, shown(error)).with_delivery(delivery))
                }
            }),
            StateProjection::Refused(error) => error.poll(cx).map(Err),
        }
    }
}

/// Reqwest would show the URL.
impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
