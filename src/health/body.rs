use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::answer::trailers;
use super::grpc::{Of, Serving};
use super::watch::Changes;
use crate::base::{Alarm, GrpcStatus, OldAt};

/// The answer to a probe, or the body of a response that is none. See the [module](super).
#[pin_project]
pub struct HealthBody<B> {
    #[pin]
    kind: Kind<B>,
}

#[pin_project(project = KindProjection)]
enum Kind<B> {
    Inner(#[pin] B),
    Answer(Answer),
}

/// What is said to a probe: data, then changes of it, then trailers.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) data: Option<Bytes>,
    pub(super) watching: Option<Watching>,
    pub(super) trailers: Option<HeaderMap>,
}

/// A stream of how it is.
pub(super) struct Watching {
    changes: Changes,
    /// Nothing, of a service that nobody knows: the stream stays open, in case that it comes.
    of: Option<Of>,
    last: Serving,
    /// When it ends in any case: its connection is old, and its client is to make another.
    ends: Option<(Instant, Pin<Box<Alarm>>)>,
    _place: OwnedSemaphorePermit,
}

impl<B> HealthBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner(body) }
    }

    pub(super) const fn answer(answer: Answer) -> Self {
        Self { kind: Kind::Answer(answer) }
    }
}

impl Answer {
    pub(super) fn bytes(data: Bytes) -> Self {
        Self { data: (!data.is_empty()).then_some(data), ..Self::default() }
    }

    /// A message, and that all is well.
    pub(super) fn message(data: Bytes) -> Self {
        Self { data: Some(data), trailers: Some(trailers(GrpcStatus::Ok)), watching: None }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Frame::data(data)));
        }
        if let Some(watching) = &mut self.watching {
            if let Some(news) = ready!(watching.poll_next(cx)) {
                return Poll::Ready(Some(Frame::data(news.frame())));
            }
            self.watching = None;
        }
        Poll::Ready(self.trailers.take().map(Frame::trailers))
    }
}

impl Watching {
    pub(super) fn new(
        changes: Changes,
        of: Option<Of>,
        last: Serving,
        old_at: Option<OldAt>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let ends = old_at.map(|OldAt(at)| (at, Box::pin(Alarm::new())));
        Self { changes, of, last, ends, _place: place }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Serving>> {
        loop {
            let Poll::Ready(changed) = self.changes.poll_next(cx) else {
                let Some((at, alarm)) = &mut self.ends else { return Poll::Pending };
                ready!(alarm.as_mut().poll_until(cx, *at));
                return Poll::Ready(None);
            };
            let Some(status) = changed else { return Poll::Ready(None) };
            let now = self.of.map_or(Serving::Unknown, |of| of.serving(status));
            if self.last != now {
                self.last = now;
                return Poll::Ready(Some(now));
            }
        }
    }
}

impl<B: Body<Data = Bytes>> Body for HealthBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner(body) => body.poll_frame(cx),
            KindProjection::Answer(answer) => answer.poll_frame(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner(body) => body.is_end_stream(),
            Kind::Answer(Answer { data, watching, trailers }) => {
                data.is_none() && watching.is_none() && trailers.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner(body) => body.size_hint(),
            Kind::Answer(Answer { data, watching: None, .. }) => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Kind::Answer(_) => SizeHint::new(),
        }
    }
}

/// Never shows the content.
impl<B> fmt::Debug for HealthBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner(_) => "HealthBody(of the inner service)",
            Kind::Answer(_) => "HealthBody(of a probe)",
        })
    }
}
