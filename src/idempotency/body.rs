//! Bodies that are read as a whole, and what becomes of those that cannot be.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project::pin_project;

/// The body of an answer through an [`IdempotencyLayer`](super::IdempotencyLayer): that of the service inside, or one that was kept.
///
/// Its errors are those of the service's.
#[pin_project]
pub struct KeyedBody<B: Body> {
    #[pin]
    kind: Kind<B>,
}

#[pin_project(project = KindProjection)]
enum Kind<B: Body> {
    /// As it came.
    Passed {
        #[pin]
        body: B,
    },
    /// What is there already, and what comes behind it.
    Read { data: VecDeque<Bytes>, then: Then<B> },
}

enum Then<B: Body> {
    End,
    Trailers(HeaderMap),
    Rest(Pin<Box<B>>),
    Error(B::Error),
}

impl<B: Body> KeyedBody<B> {
    pub(super) const fn passed(body: B) -> Self {
        Self { kind: Kind::Passed { body } }
    }

    pub(super) fn whole(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self::read([data].into(), trailers.map_or(Then::End, Then::Trailers))
    }

    /// What was read of one that is too large, and the rest of it.
    pub(super) fn goes_on(data: VecDeque<Bytes>, rest: Pin<Box<B>>) -> Self {
        Self::read(data, Then::Rest(rest))
    }

    /// One that breaks off where it did.
    pub(super) fn breaks_off(data: VecDeque<Bytes>, error: B::Error) -> Self {
        Self::read(data, Then::Error(error))
    }

    fn read(mut data: VecDeque<Bytes>, then: Then<B>) -> Self {
        data.retain(|part| !part.is_empty());
        Self { kind: Kind::Read { data, then } }
    }
}

impl<B: Body<Data = Bytes>> Body for KeyedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (data, then) = match self.project().kind.project() {
            KindProjection::Passed { body } => return body.poll_frame(cx),
            KindProjection::Read { data, then } => (data, then),
        };
        if let Some(part) = data.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if let Then::Rest(body) = then {
            return body.as_mut().poll_frame(cx);
        }
        Poll::Ready(match mem::replace(then, Then::End) {
            Then::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
            Then::Error(error) => Some(Err(error)),
            Then::End | Then::Rest(_) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed { body } => body.is_end_stream(),
            Kind::Read { data, then } => data.is_empty() && then.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (data, then) = match &self.kind {
            Kind::Passed { body } => return body.size_hint(),
            Kind::Read { data, then } => (data, then),
        };
        let there: u64 = data.iter().map(|part| part.len() as u64).sum();
        let rest = match then {
            Then::End => return SizeHint::with_exact(there),
            Then::Rest(body) => body.size_hint(),
            // A length that is known would leave no room for trailers over HTTP/1.
            Then::Trailers(_) | Then::Error(_) => SizeHint::default(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(there.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(there)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> Then<B> {
    fn is_over(&self) -> bool {
        match self {
            Self::End => true,
            Self::Trailers(_) | Self::Error(_) => false,
            Self::Rest(body) => body.is_end_stream(),
        }
    }
}

impl<B: Body> fmt::Debug for KeyedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Passed { .. } => "KeyedBody(passed)",
            Kind::Read { .. } => "KeyedBody(read)",
        })
    }
}

/// What reading a body came to.
pub(super) enum Gathered<B: Body> {
    Whole {
        data: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// There is more than is wanted.
    TooLarge {
        read: VecDeque<Bytes>,
        rest: Pin<Box<B>>,
    },
    BrokeOff {
        read: VecDeque<Bytes>,
        error: B::Error,
    },
}

/// Reads a body to its end, if it has no more than `most` bytes.
pub(super) async fn gather<B>(body: B, most: usize) -> Gathered<B>
where
    B: Body<Data = Bytes>,
{
    let mut body = Box::pin(body);
    let (mut read, mut size, mut trailers) = (VecDeque::new(), 0, None);
    if body.size_hint().lower() > most as u64 {
        return Gathered::TooLarge { read, rest: body };
    }
    loop {
        match body.frame().await {
            None => break,
            Some(Err(error)) => return Gathered::BrokeOff { read, error },
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    size += data.len();
                    read.push_back(data);
                    if size > most {
                        return Gathered::TooLarge { read, rest: body };
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
    Gathered::Whole { data: one(read, size), trailers }
}

/// One part is not copied.
fn one(mut parts: VecDeque<Bytes>, size: usize) -> Bytes {
    if parts.len() <= 1 {
        return parts.pop_front().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(size);
    parts.into_iter().for_each(|part| all.put(part));
    all.freeze()
}
