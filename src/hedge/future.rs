use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::progress::{Charge, Due, Progress, Settled};
use super::rest::Rest;
use crate::base::body::Replay;
use crate::base::{Alarm, BoxError, Classify, Delivery, Error, scope};

/// The call, with all its attempts. See [`HedgeLayer`](super::HedgeLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HedgeFuture<S: Service<Request<B>>, B, C, R> {
    /// The first attempt, while it is under way.
    #[pin]
    first: Option<S::Future>,
    #[pin]
    alarm: Alarm,
    /// Nothing, if there is only the first.
    hedged: Option<Hedged<S, B, C, R>>,
}

struct Hedged<S: Service<Request<B>>, B, C, R> {
    /// What further attempts are made with, once there is one.
    service: Option<S>,
    /// The others, in the order in which they were begun.
    others: Vec<Option<Other<S::Future>>>,
    /// Waits for the service to be ready for another.
    is_readying: bool,
    /// The failure that is the result if nothing better comes. An answer is here only as long as no other attempt is waited for.
    failure: Option<Box<Result<S::Response, Error>>>,
    /// What is read of an answer that is not the result.
    rest: Option<Pin<Box<Rest<R>>>>,
    progress: Progress<S, B, C>,
}

struct Other<F> {
    // Before the charge, so that the attempt is over when it is paid.
    answer: Pin<Box<F>>,
    charge: Charge,
}

impl<S: Service<Request<B>>, B, C, R> HedgeFuture<S, B, C, R> {
    /// Sent once, whatever happens.
    #[inline]
    pub(super) const fn once(answer: S::Future) -> Self {
        Self { first: Some(answer), alarm: Alarm::new(), hedged: None }
    }

    /// The first attempt was begun, and others may be.
    #[inline]
    pub(super) fn new(first: S::Future, progress: Progress<S, B, C>) -> Self {
        let hedged = Hedged {
            service: None,
            others: Vec::new(),
            is_readying: false,
            failure: None,
            rest: None,
            progress,
        };
        Self { first: Some(first), alarm: Alarm::new(), hedged: Some(hedged) }
    }
}

impl<S, B, C, ResBody> Future for HedgeFuture<S, B, C, ResBody>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Response<ResBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(hedged) = this.hedged else {
            let first = this.first.as_pin_mut().expect("a future is polled until it is ready");
            return first.poll(cx).map_err(Error::wrap);
        };
        if let Some(first) = this.first.as_mut().as_pin_mut() {
            match hedged.progress.within(0, || first.poll(cx)) {
                Poll::Ready(result) => {
                    let mut result = result.map_err(Error::wrap);
                    this.first.set(None);
                    match hedged.settle(0, None, &mut result) {
                        Settled::Result => {
                            hedged.drop_others();
                            return Poll::Ready(result);
                        }
                        settled => hedged.keep(&settled, result),
                    }
                }
                Poll::Pending => hedged.progress.waits(),
            }
        }
        let mut asked = 0;
        loop {
            let mut won = hedged.poll_others(asked, cx);
            asked = hedged.others.len();
            if won.is_none() && hedged.is_readying {
                hedged.let_go(cx);
                match hedged.poll_readying(cx) {
                    Poll::Ready(None) => continue,
                    Poll::Ready(ended) => won = ended,
                    Poll::Pending => {}
                }
            }
            if let Some(won) = won {
                // The losers go with their connections, before the winner's body is read.
                this.first.set(None);
                hedged.drop_others();
                return Poll::Ready(won);
            }
            let is_alone = this.first.is_none() && hedged.is_alone();
            let due = if hedged.is_readying { Due::Never } else { hedged.progress.due(is_alone) };
            let is_due = match due {
                Due::Now => true,
                Due::At(at) => this.alarm.as_mut().poll_until(cx, at).is_ready(),
                Due::Never if is_alone => return Poll::Ready(hedged.end()),
                Due::Never => false,
            };
            if is_due {
                hedged.is_readying = hedged.progress.fires();
                continue;
            }
            if scope::expired() && hedged.progress.begun() > 1 {
                this.first.set(None);
                hedged.drop_others();
                return Poll::Ready(hedged.end());
            }
            hedged.let_go(cx);
            return Poll::Pending;
        }
    }
}

impl<S, B, C, ResBody> Hedged<S, B, C, ResBody>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
    ResBody: Body,
{
    /// An attempt has ended. One that waits for the service may be none from then on.
    fn settle(
        &mut self,
        before: u32,
        charge: Option<Charge>,
        result: &mut Result<S::Response, Error>,
    ) -> Settled {
        let readied = self.is_readying;
        let settled = self.progress.settle(before, charge, result, &mut self.is_readying);
        if readied && !self.is_readying {
            // With what it has reserved, of which nobody makes use.
            self.service = None;
        }
        settled
    }

    /// Whether nothing is under way beside the first.
    fn is_alone(&self) -> bool {
        !self.is_readying && self.others.iter().all(Option::is_none)
    }

    /// Ask those that were not asked in this poll.
    fn poll_others(&mut self, asked: usize, cx: &mut Context<'_>) -> Option<Result<S::Response, Error>> {
        for at in asked..self.others.len() {
            let before = at as u32 + 1;
            let Some(other) = &mut self.others[at] else { continue };
            let Poll::Ready(result) = self.progress.within(before, || other.answer.as_mut().poll(cx)) else {
                continue;
            };
            let mut result = result.map_err(Error::wrap);
            let charge = self.others[at].take().map(|other| other.charge);
            match self.settle(before, charge, &mut result) {
                Settled::Result => return Some(result),
                settled => self.keep(&settled, result),
            }
        }
        None
    }

    /// Wait for the service, and call it; or that was the end.
    fn poll_readying(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S::Response, Error>>> {
        let before = self.progress.begun() - 1;
        let service = self.service.get_or_insert_with(|| self.progress.service());
        let Poll::Ready(ready) = self.progress.within(before, || service.poll_ready(cx)) else {
            return Poll::Pending;
        };
        self.is_readying = false;
        match ready {
            Ok(()) => {
                if let Some((request, charge)) = self.progress.start() {
                    let answer = self.progress.within(before, || service.call(request));
                    self.others.push(Some(Other { answer: Box::pin(answer), charge }));
                } else {
                    // With what it has reserved, of which nobody makes use.
                    self.service = None;
                }
            }
            Err(error) => {
                // Readiness that failed is the end of this value; a further attempt goes on with a clone.
                self.service = None;
                self.progress.unready();
                self.others.push(None);
                let mut result = Err(Error::wrap(error).with_delivery(Delivery::NotSent));
                match self.settle(before, None, &mut result) {
                    Settled::Result => return Poll::Ready(Some(result)),
                    settled => self.keep(&settled, result),
                }
            }
        }
        Poll::Ready(None)
    }

    fn keep(&mut self, settled: &Settled, result: Result<S::Response, Error>) {
        if self.failure.is_none() || !matches!(settled, Settled::LeastOfAll) {
            self.failure = Some(Box::new(result));
        }
    }

    /// Another attempt is waited for, which may need what an answer holds that is not read to its end: a place, a connection. A small rest
    /// of it is read meanwhile, as the connection can be used again then; but no attempt waits for that.
    fn let_go(&mut self, cx: &mut Context<'_>) {
        if let Some(failure) = self.failure.take_if(|failure| failure.is_ok()) {
            self.rest = failure.ok().map(|answer| Box::pin(Rest::of(answer.into_body(), Instant::now())));
        }
        let is_over = self.rest.as_mut().is_some_and(|rest| rest.as_mut().poll(cx).is_ready());
        if is_over || self.is_readying {
            self.rest = None;
        }
    }

    /// Nothing better will come.
    fn end(&mut self) -> Result<S::Response, Error> {
        self.rest = None;
        match self.failure.take() {
            Some(failure) => self.progress.end(*failure),
            None => self.progress.without_result(),
        }
    }

    /// There is a result.
    fn drop_others(&mut self) {
        self.others.clear();
        self.rest = None;
    }
}

impl<S: Service<Request<B>>, B, C, R> fmt::Debug for HedgeFuture<S, B, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = self.hedged.as_ref().map_or(1, |hedged| hedged.progress.begun());
        f.debug_struct("HedgeFuture").field("attempts", &attempts).finish_non_exhaustive()
    }
}
