use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tower_service::Service;

use super::AttemptFuture;
use super::future::{Given, Limit};
use super::wire::{Note, Said, note};
use crate::base::{Deadline, Http, Mode, scope, take};

/// Tells the next hop how much time is left. See [`SendDeadlineLayer`](super::SendDeadlineLayer), and the [module](super).
#[derive(Debug)]
pub struct SendDeadline<S, M = Http> {
    inner: S,
    header: Option<Said>,
    margin: Duration,
    mode: M,
}

impl<S, M> SendDeadline<S, M> {
    pub(super) const fn with(inner: S, header: Option<Said>, margin: Duration, mode: M) -> Self {
        Self { inner, header, margin, mode }
    }
}

impl<S: Clone, M: Clone> Clone for SendDeadline<S, M> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.header.clone(), self.margin, self.mode.clone())
    }
}

impl<S, B, M> Service<Request<B>> for SendDeadline<S, M>
where
    S: Service<Request<B>> + Clone,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = AttemptFuture<S::Future, Request<B>, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.mode.fail(error))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let asked = self.mode.ask(&request);
        let mut limit = Limit { asked, mode: self.mode.clone(), given: None };
        let mut read = None;
        if let (Some(header), Some(deadline)) = (&self.header, Deadline::current()) {
            let start = scope::now();
            read = Some(start);
            let header = header.of(request.headers());
            match note(header, request.headers(), deadline.remaining(start), self.margin) {
                Note::Keep => {}
                Note::Write(value) => {
                    let name = header.name();
                    request.headers_mut().insert(name, value);
                }
                Note::Spent => {
                    // What it reserved when it became ready is not kept for a call that may never come.
                    drop(take(&mut self.inner));
                    limit.given = Some(Given { start, at: deadline.instant() });
                    return AttemptFuture::ran_out(limit);
                }
            }
        }
        let _entered = read.map(|read| scope::call(Some(read), None));
        AttemptFuture::called(self.inner.call(request), limit)
    }
}
