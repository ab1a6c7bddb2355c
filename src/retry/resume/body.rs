use std::error::Error as StdError;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::LengthLimitError;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::error::{Changed, EndedEarly, NotResumed, Why};
use super::future::Asked;
use super::range::{Judgement, Representation};
use super::reading::{Arrived, Reading};
use super::service::copy;
use crate::base::body::BodyTooLarge;
use crate::base::{
    Alarm, BoxError, Deadline, Delivery, Elapsed, EndedAt, Error, Kind, Phase, StandsIn, Withdrawal,
};

/// A response body that asks for its rest when it breaks off. See [`ResumeLayer`](super::ResumeLayer).
///
/// The size hint is exact as long as it can be resumed. Trailers are those of the last answer. It is `Unpin` and `Send` if
/// the inner body is.
#[pin_project]
pub struct Resumed<S: Service<Request<ReqB>>, ReqB, B> {
    #[pin]
    state: State<S::Future, B>,
    /// Nothing, if it cannot be resumed.
    rest: Option<Rest<S>>,
    request: PhantomData<fn(ReqB)>,
}

#[pin_project(project = StateProjection)]
enum State<F, B> {
    /// Reads; when the body breaks off, is `Pausing` or `Over`.
    Reading {
        #[pin]
        body: B,
    },
    /// Waits until it may ask; then is `Readying`. Boxed, as is the answer: it is rare, and the body stays `Unpin`.
    Pausing { alarm: Pin<Box<Alarm>>, at: Instant },
    /// Waits for the service; then is `Asking`, or `Pausing` again.
    Readying,
    /// Waits for the answer; then is `Reading`, `Pausing` again, or `Over`.
    Asking { answer: Pin<Box<F>> },
    /// The end or an error has been handed out.
    Over,
}

/// What is needed to ask for the rest.
struct Rest<S> {
    asked: Asked<S>,
    known: Representation,
    reading: Reading,
    /// The pause before the last request.
    pause: Duration,
    /// What the request to come costs; it goes back to the budget if that is never made.
    charge: Option<Withdrawal>,
    /// How the body broke off the last time.
    broken: Option<BoxError>,
}

impl<S: Service<Request<ReqB>>, ReqB, B> Resumed<S, ReqB, B> {
    pub(super) fn passed(body: B) -> Self {
        Self { state: State::Reading { body }, rest: None, request: PhantomData }
    }

    pub(super) fn watched(body: B, asked: Asked<S>, known: Representation) -> Self {
        let reading = Reading::new(known.length);
        let rest = Rest { asked, known, reading, pause: Duration::ZERO, charge: None, broken: None };
        Self { state: State::Reading { body }, rest: Some(rest), request: PhantomData }
    }
}

/// The body inside, where it cannot be resumed.
impl<S, ReqB> From<Resumed<S, ReqB, Self>> for crate::base::body::Body
where
    S: Service<Request<ReqB>, Response = Response<Self>, Future: Send> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    ReqB: Default + 'static,
{
    fn from(resumed: Resumed<S, ReqB, Self>) -> Self {
        match resumed {
            Resumed { state: State::Reading { body }, rest: None, .. } => body,
            resumed => Self::new(resumed),
        }
    }
}

type Next<D> = Poll<Option<Result<Frame<D>, BoxError>>>;

impl<S, ReqB, B> Body for Resumed<S, ReqB, B>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    ReqB: Default,
    B: Body<Error: Into<BoxError>>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<B::Data> {
        let mut this = self.project();
        let Some(rest) = this.rest.as_mut() else {
            return match this.state.project() {
                StateProjection::Reading { body } => {
                    body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
                }
                _ => Poll::Ready(None),
            };
        };
        loop {
            let step = match this.state.as_mut().project() {
                StateProjection::Reading { body } => match rest.read(ready!(body.poll_frame(cx))) {
                    Read::Pass(polled) => return Poll::Ready(polled),
                    // The answer was longer than it said: nothing here can know what the bytes are.
                    Read::Unwatch(frame) => {
                        *this.rest = None;
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    Read::Stop(error) => Err(error),
                    Read::Broken(error) => rest.break_off(error),
                },
                StateProjection::Pausing { alarm, at } => {
                    ready!(alarm.as_mut().poll_until(cx, *at));
                    this.state.set(State::Readying);
                    continue;
                }
                StateProjection::Readying => match ready!(rest.asked.service.poll_ready(cx)) {
                    // The pause, or the wait for readiness, may have ended too late.
                    Ok(()) if rest.left().is_some_and(|left| left.is_zero()) => Err(rest.give_up()),
                    Ok(()) => {
                        let answer = Box::pin(rest.ask());
                        this.state.set(State::Asking { answer });
                        continue;
                    }
                    Err(error) => {
                        // Readiness that failed is the end of this value; it goes on with a clone.
                        let clone = rest.asked.service.clone();
                        rest.asked.service = clone;
                        rest.begin();
                        rest.failed(Error::wrap(error))
                    }
                },
                StateProjection::Asking { answer } => match ready!(answer.as_mut().poll(cx)) {
                    Ok(response) => match rest.accept(&response) {
                        Ok(()) => {
                            this.state.set(State::Reading { body: response.into_body() });
                            continue;
                        }
                        Err(error) => Err(error),
                    },
                    Err(error) => rest.failed(Error::wrap(error)),
                },
                StateProjection::Over => return Poll::Ready(None),
            };
            match step {
                // What broke off is dropped before anything else is asked for.
                Ok(at) => this.state.set(State::Pausing { alarm: Box::pin(Alarm::new()), at }),
                Err(error) => {
                    this.state.set(State::Over);
                    *this.rest = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            // One that ends too early is not at its end.
            State::Reading { body } => body.is_end_stream() && self.left().unwrap_or(0) == 0,
            State::Over => true,
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.state, self.left()) {
            (State::Over, _) => SizeHint::with_exact(0),
            (_, Some(left)) => SizeHint::with_exact(left),
            (State::Reading { body }, None) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl<S: Service<Request<ReqB>>, ReqB, B> Resumed<S, ReqB, B> {
    /// How many bytes are still to come, as long as it can be resumed.
    fn left(&self) -> Option<u64> {
        self.rest.as_ref().map(|rest| rest.reading.left())
    }
}

/// What a poll of the answer in progress came to.
enum Read<D> {
    Pass(Option<Result<Frame<D>, BoxError>>),
    Unwatch(Frame<D>),
    Stop(BoxError),
    Broken(BoxError),
}

impl<S> Rest<S> {
    fn read<D: Buf, E: Into<BoxError>>(&mut self, polled: Option<Result<Frame<D>, E>>) -> Read<D> {
        let left = self.reading.left();
        match polled {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                match self.reading.arrived(size) {
                    Arrived::Beyond if self.reading.is_first() => Read::Unwatch(frame),
                    Arrived::Beyond => Read::Stop(self.not_resumed(Why::TooLong)),
                    // Trailers in the middle end this answer, not the body.
                    Arrived::Expected if frame.is_trailers() && left > 0 => self.ended_early(),
                    Arrived::Expected => Read::Pass(Some(Ok(frame))),
                }
            }
            None if left > 0 => self.ended_early(),
            None => Read::Pass(None),
            Some(Err(error)) if left > 0 => Read::Broken(error.into()),
            Some(Err(error)) => Read::Stop(error.into()),
        }
    }

    fn ended_early<D>(&self) -> Read<D> {
        let Reading { delivered, length, .. } = self.reading;
        let error = Error::new(Kind::Body, EndedEarly { delivered, length });
        Read::Broken(error.with_delivery(Delivery::Answered).into())
    }

    /// When to ask for the rest; or what the reader gets.
    fn break_off(&mut self, broken: BoxError) -> Result<Instant, BoxError> {
        let at = if is_limit(&*broken) { None } else { self.pause() };
        self.broken = Some(broken);
        at.ok_or_else(|| self.give_up())
    }

    /// Asking failed: ask again, as long as nobody says when to come back.
    fn failed(&mut self, error: Error) -> Result<Instant, BoxError> {
        let again = if error.retry_after().is_none() { self.pause() } else { None };
        again.ok_or_else(|| self.not_resumed(Why::Failed(error)))
    }

    /// The end of the pause before the next request, if there may be one; it is charged.
    fn pause(&mut self) -> Option<Instant> {
        let shared = &self.asked.shared;
        let settings = &shared.settings;
        if !self.reading.may_resume(settings.resumes, settings.in_all) {
            return None;
        }
        let fruitless = self.reading.fruitless();
        let previous = if fruitless == 0 { Duration::ZERO } else { self.pause };
        self.pause = settings.backoff.delay(fruitless, previous, &shared.rng);
        let now = Instant::now();
        if self.left().is_some_and(|left| self.pause >= left) {
            return None;
        }
        self.charge = Some(shared.budget.try_withdraw(now, 1)?);
        Some(Deadline::after(now, self.pause).instant())
    }

    /// What the deadline in scope leaves.
    fn left(&self) -> Option<Duration> {
        Deadline::current().map(|deadline| deadline.remaining(Instant::now()))
    }

    /// What was scheduled is being done: it counts, and it costs.
    fn begin(&mut self) {
        if let Some(charge) = self.charge.take() {
            charge.spend();
        }
        self.reading.resume();
    }

    fn ask<ReqB: Default>(&mut self) -> S::Future
    where
        S: Service<Request<ReqB>>,
    {
        self.begin();
        let mut request = copy(&self.asked.head, ReqB::default());
        self.known.ask(self.reading.delivered, request.headers_mut());
        self.asked.service.call(request)
    }

    /// Whether this goes on where the body broke off.
    fn accept<B: Body>(&mut self, response: &Response<B>) -> Result<(), BoxError> {
        let delivered = self.reading.delivered;
        // Tags tell the versions of one resource apart, and say nothing about those of another.
        if StandsIn::is_told(response.extensions()) || EndedAt::is_told(response.extensions()) {
            return Err(self.not_resumed(Why::Elsewhere));
        }
        match self.known.judge(delivered, response.status(), response.headers()) {
            Judgement::GoOn { until }
                if response.body().size_hint().exact().is_none_or(|size| size == until - delivered) =>
            {
                self.reading.go_on(until);
                Ok(())
            }
            Judgement::Changed => Err(answered(Kind::Body, Changed::new(delivered, self.give_up()))),
            _ => Err(self.not_resumed(Why::Answered(response.status()))),
        }
    }

    /// How the body broke off.
    fn give_up(&mut self) -> BoxError {
        self.charge = None;
        let error = self.broken.take();
        error.unwrap_or_else(|| Error::new(Kind::Body, "the body cannot be resumed").into())
    }

    fn not_resumed(&mut self, why: Why) -> BoxError {
        let error = NotResumed::new(self.reading.delivered, why, self.give_up());
        answered(error.kind(), error)
    }
}

fn answered(kind: Kind, error: impl Into<BoxError>) -> BoxError {
    Error::new(kind, error).with_delivery(Delivery::Answered).into()
}

/// Whether the body was cut off on purpose: then its rest is not wanted.
fn is_limit(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let is_over = error.downcast_ref().is_some_and(|it: &Elapsed| it.phase() == Phase::BodyTotal);
        if is_over || error.is::<BodyTooLarge>() || error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

impl<S: Service<Request<ReqB>>, ReqB, B> fmt::Debug for Resumed<S, ReqB, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Reading { .. } => "reading",
            State::Pausing { .. } => "pausing",
            State::Readying => "waiting for readiness",
            State::Asking { .. } => "asking",
            State::Over => "over",
        };
        let mut shown = f.debug_struct("Resumed");
        shown.field("state", &state).field("left", &self.left()).finish_non_exhaustive()
    }
}
