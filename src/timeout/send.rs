use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use pin_project::pin_project;
use tower_service::Service;

use super::future::{Given, Limit};
use super::wire::{Note, Said, note};
use crate::base::{Deadline, Error, Http, Mode, Phase, scope, take};

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
    B: 'static,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = SendDeadlineFuture<S::Future, B, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.mode.fail(error))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let asked = self.mode.ask(&request);
        let mut limit = Limit { asked, mode: self.mode.clone(), given: None };
        let (mut read, mut written) = (None, None);
        if let (Some(header), Some(deadline)) = (&self.header, Deadline::current()) {
            let start = scope::now();
            read = Some(start);
            let header = header.of(request.headers());
            match note(header, request.headers(), deadline.remaining(start), self.margin) {
                Note::Keep => {}
                Note::Write(value) => {
                    let name = header.name();
                    let more = request.headers().get_all(&name).iter().skip(1).cloned().collect();
                    let before = request.headers_mut().insert(name.clone(), value);
                    written = Some(Written { name, before, more });
                }
                Note::Spent => {
                    // What it reserved when it became ready is not kept for a call that may never come.
                    drop(take(&mut self.inner));
                    limit.given = Some(Given { start, at: deadline.instant(), hasty: false });
                    return SendDeadlineFuture { answer: None, limit, written, body: PhantomData };
                }
            }
        }
        let _entered = read.map(|read| scope::call(Some(read), None));
        let answer = Some(self.inner.call(request));
        SendDeadlineFuture { answer, limit, written, body: PhantomData }
    }
}

/// What was written into a request, which takes it back should that come back unsent: it holds for this attempt alone.
struct Written {
    name: HeaderName,
    /// What its caller had written there, line by line.
    before: Option<HeaderValue>,
    more: Vec<HeaderValue>,
}

impl Written {
    fn undo(self, headers: &mut HeaderMap) {
        let Some(value) = self.before else {
            headers.remove(self.name);
            return;
        };
        headers.insert(self.name.clone(), value);
        for value in self.more {
            headers.append(self.name.clone(), value);
        }
    }
}

/// The call of a [`SendDeadline`]. See the [module](super).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct SendDeadlineFuture<F, B, M> {
    // Nothing, if the time ran out before the call.
    #[pin]
    answer: Option<F>,
    limit: Limit<M>,
    written: Option<Written>,
    body: PhantomData<fn(B)>,
}

impl<F, B, Res, E, M> Future for SendDeadlineFuture<F, B, M>
where
    F: Future<Output = Result<Res, E>>,
    M: Mode<Request<B>, Res, E>,
    B: 'static,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(answer) = this.answer.as_pin_mut() else {
            return Poll::Ready(this.limit.elapsed(Phase::Readiness));
        };
        // An answer is large: it is moved once, from where it was found to where it is handed on.
        match answer.poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(Ok(this.limit.answered(response, None))),
            Poll::Ready(Err(error)) => {
                let mut error = this.limit.mode.fail(error);
                let unsent = M::ours(&mut error).and_then(Error::request_mut::<Request<B>>);
                if let Some((request, written)) = unsent.zip(this.written.take()) {
                    written.undo(request.headers_mut());
                }
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<F, B, M> fmt::Debug for SendDeadlineFuture<F, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendDeadlineFuture").finish_non_exhaustive()
    }
}
