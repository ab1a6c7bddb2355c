use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::future::{Given, Limit};
use crate::base::{Alarm, Deadline, Http, Limited, Mode, Phase, Then, scope, take};

/// Gives one attempt so long, with the readiness it waits for. See the [module](super).
#[derive(Debug)]
pub struct AttemptTimeout<S, M = Http> {
    inner: S,
    limit: Option<Duration>,
    mode: M,
    readiness: Readiness,
}

/// How much of the limit went into waiting for the inner service.
#[derive(Debug)]
enum Readiness {
    /// Nothing: it was ready at once, or nobody has asked.
    Untimed,
    /// The wait goes on. It ends in `Took` or `RanOut`. Boxed, since a service moves and a timer must not; nothing is
    /// allocated for a service that is ready at once.
    Waiting { since: Instant, at: Instant, alarm: Pin<Box<Alarm>> },
    /// Ready after so long, since this instant.
    Took { waited: Duration, at: Instant },
    /// Out of time. The next call fails, and then all is forgotten. It is told in `call`, since an error of
    /// `poll_ready` would mean that the service is broken for good.
    RanOut { since: Instant, at: Instant },
}

impl Readiness {
    /// Whether whoever waited has gone: the wait was over, and nobody came back for as long as the limit, or for a second if
    /// that is longer. Then this poll begins a wait of its own; tower's buffer does so when a caller gave up.
    fn was_abandoned(&self, limit: Duration) -> bool {
        // What ran out has said that it is ready, which is not taken back.
        let (Self::Waiting { at, .. } | Self::Took { at, .. }) = self else { return false };
        at.elapsed() >= limit.max(Duration::from_secs(1))
    }
}

impl<S> AttemptTimeout<S> {
    /// Allow each attempt on `inner` so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::timeout::AttemptTimeout;
    /// use tower::service_fn;
    ///
    /// let inner = service_fn(|text: String| async { Ok::<_, std::io::Error>(text) });
    /// let service = AttemptTimeout::new(inner, Duration::from_secs(2));
    /// # let _ = service;
    /// ```
    pub const fn new(inner: S, limit: Duration) -> Self {
        Self::with(inner, Some(limit), Http)
    }
}

impl<S, M> AttemptTimeout<S, M> {
    pub(super) const fn with(inner: S, limit: Option<Duration>, mode: M) -> Self {
        Self { inner, limit, mode, readiness: Readiness::Untimed }
    }
}

impl<S: Clone, M: Clone> Clone for AttemptTimeout<S, M> {
    fn clone(&self) -> Self {
        // A clone waits for itself.
        Self::with(self.inner.clone(), self.limit, self.mode.clone())
    }
}

impl<S, Req, M> Service<Req> for AttemptTimeout<S, M>
where
    S: Service<Req> + Clone,
    M: Mode<Req, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = AttemptFuture<S::Future, Req, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        let Some(limit) = self.limit else {
            return self.inner.poll_ready(cx).map_err(|error| self.mode.fail(error));
        };
        if self.readiness.was_abandoned(limit) {
            self.readiness = Readiness::Untimed;
        }
        let (since, limited) = match &mut self.readiness {
            Readiness::RanOut { .. } => {
                // Whoever was told has not called: a layer above ran out in the same moment, say. What became ready
                // since is the news; readiness that was given is not taken back.
                let Poll::Ready(ready) = self.inner.poll_ready(cx) else { return Poll::Ready(Ok(())) };
                self.readiness = Readiness::Untimed;
                return Poll::Ready(ready.map_err(|error| self.mode.fail(error)));
            }
            Readiness::Untimed | Readiness::Took { .. } => {
                if let Poll::Ready(ready) = self.inner.poll_ready(cx) {
                    return Poll::Ready(ready.map_err(|error| self.mode.fail(error)));
                }
                let since = Instant::now();
                let at = Deadline::after(since, limit).in_scope().instant();
                let mut alarm = Box::pin(Alarm::new());
                let ran_out = alarm.as_mut().poll_until(cx, at).is_ready();
                self.readiness = Readiness::Waiting { since, at, alarm };
                if !ran_out {
                    return Poll::Pending;
                }
                (since, Limited::Elapsed)
            }
            Readiness::Waiting { since, at, alarm } => {
                (*since, ready!(alarm.as_mut().poll_limited(cx, *at, |cx| self.inner.poll_ready(cx))))
            }
        };
        self.readiness = match (limited, &self.readiness) {
            (Limited::Elapsed, Readiness::Waiting { at, .. }) => Readiness::RanOut { since, at: *at },
            (Limited::Done(Err(error)), _) => {
                self.readiness = Readiness::Untimed;
                return Poll::Ready(Err(self.mode.fail(error)));
            }
            (_, Readiness::Waiting { at, .. }) => {
                let now = Instant::now();
                // Nobody was there when the time was over: whoever waited then has given up, and this is another
                // attempt. What is ready is not refused because of it.
                if now < *at {
                    Readiness::Took { waited: now.saturating_duration_since(since), at: now }
                } else {
                    Readiness::Untimed
                }
            }
            _ => Readiness::Untimed,
        };
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let readiness = std::mem::replace(&mut self.readiness, Readiness::Untimed);
        let asked = self.mode.ask(&request);
        let mode = self.mode.clone();
        if let Readiness::RanOut { since, at } = readiness {
            // Its place in a queue below, which nobody would come for.
            drop(take(&mut self.inner));
            return AttemptFuture::ran_out(Limit {
                asked,
                mode,
                given: Some(Given { start: since, at, hasty: false }),
            });
        }
        let waited = match readiness {
            Readiness::Took { waited, .. } => waited,
            _ => Duration::ZERO,
        };
        let Some(limit) = self.limit else {
            return AttemptFuture::called(self.inner.call(request), Limit { asked, mode, given: None });
        };
        let now = scope::now();
        let at = Deadline::after(now, limit.saturating_sub(waited)).in_scope().instant();
        // The limit began with the wait for readiness: an error says how long it was in all.
        let start = now.checked_sub(waited).unwrap_or(now);
        let limit = Limit { asked, mode, given: Some(Given { start, at, hasty: false }) };
        if at <= now {
            // What it reserved when it became ready is not kept for a call that may never come.
            drop(take(&mut self.inner));
            return AttemptFuture::ran_out(limit);
        }
        let _entered = scope::attempt(now, Some(at));
        let answer = self.inner.call(request);
        AttemptFuture { answer: Some(answer), alarm: Alarm::new(), limit, request: PhantomData }
    }
}

/// One attempt, limited. See the [module](super).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct AttemptFuture<F, Req, M> {
    // Nothing, if the time ran out before the call.
    #[pin]
    answer: Option<F>,
    #[pin]
    alarm: Alarm,
    limit: Limit<M>,
    request: PhantomData<fn(Req)>,
}

impl<F, Req, M> AttemptFuture<F, Req, M> {
    pub(super) const fn ran_out(limit: Limit<M>) -> Self {
        Self { answer: None, alarm: Alarm::new(), limit, request: PhantomData }
    }

    pub(super) const fn called(answer: F, limit: Limit<M>) -> Self {
        Self { answer: Some(answer), alarm: Alarm::new(), limit, request: PhantomData }
    }
}

impl<F, Req, Res, E, M> Future for AttemptFuture<F, Req, M>
where
    F: Future<Output = Result<Res, E>>,
    M: Mode<Req, Res, E>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(mut answer) = this.answer.as_pin_mut() else {
            return Poll::Ready(this.limit.elapsed(Phase::Readiness));
        };
        let (at, mut reached) = (this.limit.at(), None);
        // The answer outlives the attempt.
        let whole = at.and_then(|_| scope::whole());
        loop {
            let round = at.map(|at| {
                let round = this.alarm.as_mut().begin(cx, at, reached);
                scope::outlive_attempt(whole);
                round
            });
            // An answer is large: it is moved once, from where it was found to where it is handed on.
            match answer.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => return Poll::Ready(Ok(this.limit.answered(response, whole))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(this.limit.mode.fail(error))),
                Poll::Pending => {}
            }
            let Some((at, round)) = at.zip(round) else { return Poll::Pending };
            match this.alarm.as_mut().pending(cx, at, round) {
                Then::Wait => return Poll::Pending,
                Then::Again(at) => reached = Some(at),
                Then::Elapsed => return Poll::Ready(this.limit.elapsed(Phase::Response)),
            }
        }
    }
}

impl<F, Req, M> fmt::Debug for AttemptFuture<F, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptFuture").field("deadline", &self.limit.at()).finish_non_exhaustive()
    }
}
