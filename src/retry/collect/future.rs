use std::error::Error as StdError;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Response, response};
use http_body::Body;
use pin_project::pin_project;

use super::Collected;
use super::body::to_bytes;
use super::gather::{Gathered, Next};
use crate::base::body::HoldUntil;
use crate::base::{
    BoxError, DO_NOT_RETRY, Delivery, Elapsed, Error, Kind, Phase, Pushback, RetryAfter, WallClock, scope,
};

/// The call, until the body of its answer is read or passed on. See [`CollectLayer`](super::CollectLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CollectFuture<F, B> {
    #[pin]
    state: State<F, B>,
    cap: Option<usize>,
    /// No body follows, whatever the head says.
    bodiless: bool,
}

#[pin_project(project = StateProjection)]
#[expect(
    clippy::large_enum_variant,
    reason = "an answer's head is this large, and a box would be an allocation"
)]
enum State<F, B> {
    /// Waits for the head; then is `Reading`, or over.
    Called {
        #[pin]
        answer: F,
    },
    /// Reads the body. Both are taken when it is over.
    Reading { response: Option<(response::Parts, B)>, gathered: Gathered, cap: usize },
}

impl<F, B> CollectFuture<F, B> {
    pub(super) const fn new(answer: F, cap: Option<usize>, bodiless: bool) -> Self {
        Self { state: State::Called { answer }, cap, bodiless }
    }
}

impl<F, B, E> Future for CollectFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Error: Into<BoxError>> + Unpin,
{
    type Output = Result<Response<Collected<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Called { answer } => {
                    let (head, body) = ready!(answer.poll(cx)).map_err(Error::wrap)?.into_parts();
                    let Some(cap) = this.cap.filter(|cap| is_wanted(*this.bodiless, &head, &body, *cap))
                    else {
                        let body = Collected::live(Gathered::default(), body);
                        return Poll::Ready(Ok(Response::from_parts(head, body)));
                    };
                    let response = Some((head, body));
                    this.state.set(State::Reading { response, gathered: Gathered::default(), cap });
                }
                StateProjection::Reading { response, gathered, cap } => {
                    let (head, body) = response.as_mut().expect("polled after it was ready");
                    let over = match Pin::new(&mut *body).poll_frame(cx) {
                        Poll::Ready(Some(Ok(frame))) => match gathered.push(to_bytes(frame), *cap) {
                            Next::Enough => Some(false),
                            Next::More if body.is_end_stream() => Some(true),
                            Next::More => None,
                        },
                        Poll::Ready(None) => Some(true),
                        Poll::Ready(Some(Err(error))) => {
                            let error = advised(broken(error.into()), head);
                            *response = None;
                            return Poll::Ready(Err(error));
                        }
                        // Whoever limits the attempt drops this future next; only here is it known that the head has
                        // arrived.
                        Poll::Pending if scope::expired() => {
                            let late = Error::from(Elapsed::before_deadline(Phase::Response));
                            let late = advised(late, head);
                            return Poll::Ready(Err(late.with_delivery(Delivery::Answered)));
                        }
                        Poll::Pending => return Poll::Pending,
                    };
                    let Some(whole) = over else { continue };
                    let (head, rest) = response.take().expect("just looked at");
                    let front = mem::take(gathered);
                    let body = if whole { Collected::whole(front) } else { Collected::live(front, rest) };
                    return Poll::Ready(Ok(Response::from_parts(head, body)));
                }
            }
        }
    }
}

/// Whether there is a body to read, and it is not known to be over the cap.
fn is_wanted<B: Body>(bodiless: bool, head: &response::Parts, body: &B, cap: usize) -> bool {
    let cap = cap as u64;
    match HoldUntil::of(bodiless, head, body) {
        HoldUntil::Head => false,
        HoldUntil::Trailers(Some(length)) | HoldUntil::Length(length) => length <= cap,
        HoldUntil::Trailers(None) | HoldUntil::End => body.size_hint().lower() <= cap,
    }
}

/// The body broke off. It is of the kind that it says it is, if it says so.
fn broken(error: BoxError) -> Error {
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*error);
    let mut says = false;
    while let Some(cause) = next {
        says |= cause.is::<Error>() || cause.is::<Kind>();
        next = cause.source();
    }
    let error = if says { Error::wrap(error) } else { Error::new(Kind::Body, error) };
    error.with_delivery(Delivery::Answered)
}

/// What the head said about trying again holds without its body, too.
fn advised(error: Error, head: &response::Parts) -> Error {
    let headers = &head.headers;
    let delay = match Pushback::of(headers) {
        Some(Pushback::Stop) => return error.without_retry(),
        Some(Pushback::After(delay)) => Some(delay),
        None if headers.contains_key(DO_NOT_RETRY) => return error.without_retry(),
        // Where all went well, it is not about this request.
        None if head.status.is_success() => None,
        None => RetryAfter::of(headers, WallClock::system().now()),
    };
    match delay {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    }
}

impl<F, B> fmt::Debug for CollectFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "called",
            State::Reading { .. } => "reading",
        };
        f.debug_struct("CollectFuture").field("state", &state).field("cap", &self.cap).finish_non_exhaustive()
    }
}
