use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::trail::Trail;
use crate::base::body::Body;
use crate::base::{Delivery, Elapsed, Error, Phase, scope};
use crate::client::service::check;

/// A call, and all those that its answers ask for.
#[pin_project]
pub(crate) struct Following<S: Service<Request<Body>>> {
    #[pin]
    state: State<S, S::Future>,
    /// Nothing, if redirects are not followed, and when the answer has come.
    plan: Option<(Trail, Arc<S>)>,
}

#[pin_project(project = StateProjection)]
enum State<S, F> {
    /// Waits for an answer; then ends, or is `Readying`.
    Asked {
        #[pin]
        answer: F,
    },
    /// Waits for the service; then calls it, and is `Asked`. In a box, since most calls never come here.
    Readying { next: Box<(S, Option<Request<Body>>)> },
}

impl<S: Service<Request<Body>>> Following<S> {
    pub(super) const fn new(answer: S::Future, plan: Option<(Trail, Arc<S>)>) -> Self {
        Self { state: State::Asked { answer }, plan }
    }
}

impl<S> Future for Following<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Error> + Clone,
{
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Asked { answer } => {
                    let result = ready!(answer.poll(cx));
                    let Some((trail, fresh)) = this.plan.as_mut() else { return Poll::Ready(result) };
                    let mut response = match result {
                        Ok(response) => response,
                        Err(error) => return Poll::Ready(Err(trail.judge(error))),
                    };
                    match trail.next(&response)? {
                        Some(request) => {
                            // Before anything else is begun: the page that nobody reads, and its connection.
                            drop(response);
                            check(&request)
                                .map_err(|why| Error::from(why).with_delivery(Delivery::Answered))?;
                            let service = S::clone(fresh);
                            this.state.set(State::Readying { next: Box::new((service, Some(request))) });
                        }
                        None => {
                            if let Some((trail, _)) = this.plan.take() {
                                trail.mark(&mut response);
                            }
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
                StateProjection::Readying { next } => {
                    let (service, request) = &mut **next;
                    match service.poll_ready(cx) {
                        Poll::Ready(Ok(())) => {
                            // `Readying` is left in the very step that takes the request.
                            let request = request.take().expect("a request is handed on once");
                            let answer = service.call(request);
                            this.state.set(State::Asked { answer });
                        }
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(error.with_delivery(Delivery::Answered)));
                        }
                        // Whoever limits the call drops this future next; only here is it known what was answered.
                        Poll::Pending if scope::expired() => {
                            let error = Error::from(Elapsed::before_deadline(Phase::Readiness));
                            return Poll::Ready(Err(error.with_delivery(Delivery::Answered)));
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }
}
