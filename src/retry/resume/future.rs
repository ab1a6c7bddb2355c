use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::Resumed;
use super::layer::Shared;
use super::range::Representation;
use crate::base::{BoxError, EndedAt, StandsIn};

/// The call, until its head has arrived. See [`ResumeLayer`](super::ResumeLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResumeFuture<S: Service<Request<ReqB>>, ReqB> {
    #[pin]
    answer: S::Future,
    asked: Option<Asked<S>>,
}

/// What it takes to ask once more.
pub(super) struct Asked<S> {
    pub(super) service: S,
    pub(super) head: Request<()>,
    pub(super) shared: Arc<Shared>,
}

impl<S: Service<Request<ReqB>>, ReqB> ResumeFuture<S, ReqB> {
    pub(super) const fn new(answer: S::Future, asked: Option<Asked<S>>) -> Self {
        Self { answer, asked }
    }
}

impl<S, ReqB, B> Future for ResumeFuture<S, ReqB>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    ReqB: Default,
    B: Body<Error: Into<BoxError>>,
{
    type Output = Result<Response<Resumed<S, ReqB, B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut head, body) = ready!(this.answer.poll(cx))?.into_parts();
        let mut asked = this.asked.take();
        // The rest is asked for where the answer was found: the tag says nothing about what is found elsewhere.
        if let Some((asked, found)) = asked.as_mut().zip(EndedAt::take(&mut head.extensions)) {
            asked.head = found;
        }
        let Some(asked) = asked else {
            return Poll::Ready(Ok(Response::from_parts(head, Resumed::passed(body))));
        };
        let known = Representation::of(head.status, &head.headers)
            // Its rest would be asked of the service that it stands in for.
            .filter(|_| !StandsIn::is_told(&head.extensions))
            // A body of another length than its head says is not the one that the head speaks of.
            .filter(|known| body.size_hint().exact().is_none_or(|size| size == known.length));
        let body = match known {
            Some(known) => Resumed::watched(body, asked, known),
            None => Resumed::passed(body),
        };
        Poll::Ready(Ok(Response::from_parts(head, body)))
    }
}

impl<S: Service<Request<ReqB>>, ReqB> fmt::Debug for ResumeFuture<S, ReqB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeFuture").field("watched", &self.asked.is_some()).finish_non_exhaustive()
    }
}
