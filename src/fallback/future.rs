use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::decide::{self, Asked, Facts};
use super::layer::Shared;
use super::primary::{Primary, not_ready, unready};
use super::{Backup, Fallback, FallbackFailed, Value};
use crate::base::body::{Kept, Replay};
use crate::base::{BoxError, Call, Deadline, Elapsed, Error, Phase, Safety, scope};

/// A call, and that of another service if it failed. See [`FallbackLayer::service`](super::FallbackLayer::service).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct FallbackFuture<S: Service<Request<B>>, T: Service<Request<B>>, B> {
    #[pin]
    state: State<Primary<S, B>, T, B, T::Future>,
    // Nothing, if the layer is off.
    plan: Option<Plan<T, B>>,
    /// What the call failed with, once it has.
    original: Option<Error>,
}

#[pin_project(project = StateProjection)]
#[allow(clippy::large_enum_variant, reason = "the first one may hold a request too")]
enum State<P, T, B, F> {
    /// Waits for the call; then ends, or is `Readying`.
    Primary {
        #[pin]
        primary: P,
    },
    /// Waits for the other service; then calls it, and is `Asked`.
    Readying { backup: T, request: Option<Request<B>> },
    /// Waits for its answer.
    Asked {
        #[pin]
        answer: F,
    },
}

/// What was decided about a request before it was first sent.
struct Plan<T, B> {
    shared: Arc<Shared<Backup<T>>>,
    asked: Asked,
    copy: Option<Kept<B>>,
}

impl<T, B: Replay + Send + 'static> Plan<T, B> {
    #[inline]
    fn of(request: &mut Request<B>, shared: Arc<Shared<Backup<T>>>) -> Self {
        let call = Call::of(request.extensions());
        let (harmless, single) = (call.is_harmless_twice(), call.max_attempts() == Some(1));
        let safety = match Safety::of(request.method(), request.headers()) {
            Safety::Unsafe if harmless => Safety::Idempotent,
            safety => safety,
        };
        let keeps = !single && request.body_mut().record(shared.settings.replay_cap);
        let copy = if keeps { Kept::of(request) } else { None };
        Self { shared, asked: Asked { safety, single }, copy }
    }

    /// The request for the other service, if it may be asked.
    fn request(&mut self, error: &mut Error, unsent: Option<Request<B>>) -> Option<Request<B>> {
        if !decide::may_be_sent(&facts(&self.shared, error), self.asked) {
            return None;
        }
        // As the caller wrote it. What comes back may bear what layers inside added for their own service.
        let copy = self.copy.take().and_then(Kept::into_request);
        copy.or(unsent).or_else(|| error.take_request())
    }
}

impl<S, T, B> FallbackFuture<S, T, B>
where
    S: Service<Request<B>> + Clone,
    T: Service<Request<B>>,
    B: Replay + Send + 'static,
{
    #[inline]
    pub(super) fn new(
        service: &mut S,
        mut request: Request<B>,
        shared: Option<Arc<Shared<Backup<T>>>>,
    ) -> Self {
        let plan = shared.map(|shared| Plan::of(&mut request, shared));
        Self { state: State::Primary { primary: Primary::new(service, request) }, plan, original: None }
    }
}

impl<S, T, B, R> Future for FallbackFuture<S, T, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    T: Service<Request<B>, Response = Response<R>> + Clone,
    T::Error: Into<BoxError>,
    B: Replay + Send + 'static,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            match this.state.as_mut().project() {
                StateProjection::Primary { mut primary } => {
                    let mut error = match ready!(primary.as_mut().poll(cx)) {
                        Ok(response) => return Poll::Ready(Ok(response)),
                        Err(error) => error,
                    };
                    let Some(plan) = this.plan.as_mut() else { return Poll::Ready(Err(error)) };
                    let Some(request) = plan.request(&mut error, primary.unsent()) else {
                        return Poll::Ready(Err(error));
                    };
                    // What the call held goes home before the other service is asked.
                    let backup = plan.shared.form.0.clone();
                    this.state.set(State::Readying { backup, request: Some(request) });
                    plan.shared.tell(&error);
                    *this.original = Some(error);
                }
                StateProjection::Readying { backup, request } => match backup.poll_ready(cx) {
                    Poll::Ready(Ok(())) if is_late() => break Err(not_ready()),
                    Poll::Ready(Ok(())) => {
                        // `Readying` is left in the very step that takes the request.
                        let request = request.take().expect("a request is handed on once");
                        let answer = backup.call(request);
                        this.state.set(State::Asked { answer });
                    }
                    Poll::Ready(Err(error)) => break Err(unready(error)),
                    Poll::Pending if scope::expired() => break Err(not_ready()),
                    Poll::Pending => return Poll::Pending,
                },
                StateProjection::Asked { answer } => match answer.poll(cx) {
                    Poll::Ready(result) => break result.map_err(Error::wrap),
                    // Whoever limits the whole call drops this future next; only here is it known what failed first.
                    Poll::Pending if scope::expired() => {
                        break Err(Elapsed::before_deadline(Phase::Response).into());
                    }
                    Poll::Pending => return Poll::Pending,
                },
            }
        };
        let original = this.original.take().expect("only a call that failed falls back");
        Poll::Ready(match result {
            Ok(mut response) => {
                Fallback::mark(&mut response, original);
                Ok(response)
            }
            Err(backup) => Err(FallbackFailed::of(original, backup)),
        })
    }
}

impl<S: Service<Request<B>>, T: Service<Request<B>>, B> fmt::Debug for FallbackFuture<S, T, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").field("original", &self.original).finish_non_exhaustive()
    }
}

/// A call, and the value that stands in if it failed. See [`FallbackLayer::value`](super::FallbackLayer::value).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ValueFuture<S: Service<Request<B>>, V, B> {
    #[pin]
    primary: Primary<S, B>,
    // Nothing, if the layer is off.
    shared: Option<Arc<Shared<Value<V>>>>,
}

impl<S: Service<Request<B>>, V, B> ValueFuture<S, V, B> {
    pub(super) const fn new(primary: Primary<S, B>, shared: Option<Arc<Shared<Value<V>>>>) -> Self {
        Self { primary, shared }
    }
}

impl<S, V, B, R> Future for ValueFuture<S, V, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    V: Fn(&Error) -> Response<R>,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.primary.poll(cx) {
            Poll::Ready(result) => result,
            // Whoever limits the whole call drops this future next; only here is there a value, which takes no time.
            Poll::Pending if this.shared.is_some() && scope::expired() => {
                Err(Elapsed::before_deadline(Phase::Response).into())
            }
            Poll::Pending => return Poll::Pending,
        };
        let error = match result {
            Ok(response) => return Poll::Ready(Ok(response)),
            Err(error) => error,
        };
        let Some(shared) = this.shared else { return Poll::Ready(Err(error)) };
        if !decide::may_stand_in(&facts(shared, &error)) {
            return Poll::Ready(Err(error));
        }
        shared.tell(&error);
        let mut response = (shared.form.0)(&error);
        Fallback::mark(&mut response, error);
        Poll::Ready(Ok(response))
    }
}

impl<S: Service<Request<B>>, V, B> fmt::Debug for ValueFuture<S, V, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueFuture").field("on", &self.shared.is_some()).finish_non_exhaustive()
    }
}

fn facts<F>(shared: &Shared<F>, error: &Error) -> Facts {
    let stated = shared.settings.on.contains(error.kind());
    Facts { stated, late: is_late(), delivery: error.delivery() }
}

/// Whether the deadline in scope has passed: then nothing is begun.
pub(super) fn is_late() -> bool {
    Deadline::current().is_some_and(|deadline| deadline.instant() <= Instant::now())
}
