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
    let (mut read, mut size, mut trailers) = (Parts::default(), 0, None);
    if body.size_hint().lower() > most as u64 {
        return Gathered::TooLarge { read: read.all(), rest: body };
    }
    loop {
        match body.frame().await {
            None => break,
            Some(Err(error)) => return Gathered::BrokeOff { read: read.all(), error },
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    size += data.len();
                    read.push(data);
                    if size > most {
                        return Gathered::TooLarge { read: read.all(), rest: body };
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    }
    Gathered::Whole { data: one(read.all(), size), trailers }
}

/// What was read of a body. Those who send it a byte at a time are not to have it kept in as many parts, each of which is larger than that.
#[derive(Default)]
struct Parts {
    whole: VecDeque<Bytes>,
    small: BytesMut,
}

impl Parts {
    /// What is shorter is copied.
    const SMALL: usize = 1024;

    fn push(&mut self, data: Bytes) {
        if data.len() < Self::SMALL && !(self.whole.is_empty() && self.small.is_empty()) {
            self.small.extend_from_slice(&data);
            return;
        }
        self.end_small();
        if !data.is_empty() {
            self.whole.push_back(data);
        }
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.whole.push_back(self.small.split().freeze());
        }
    }

    fn all(mut self) -> VecDeque<Bytes> {
        self.end_small();
        self.whole
    }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    async fn gathered(parts: &[usize], most: usize) -> (usize, Vec<u8>) {
        let mut begun = 0;
        let mut part = |length: &usize| {
            let bytes: Vec<u8> = (begun..begun + length).map(|at| at as u8).collect();
            begun += length;
            Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)))
        };
        let frames: Vec<_> = parts.iter().map(&mut part).collect();
        match gather(StreamBody::new(stream::iter(frames)), most).await {
            Gathered::Whole { data, .. } => (0, data.to_vec()),
            Gathered::TooLarge { read, .. } => (read.len(), read.into_iter().flatten().collect()),
            Gathered::BrokeOff { error, .. } => match error {},
        }
    }

    #[tokio::test]
    async fn however_it_was_cut_it_is_the_same_and_in_few_parts() {
        let all = |length: usize| (0..length).map(|at| at as u8).collect::<Vec<_>>();
        for parts in
            [vec![], vec![5], vec![0, 0, 1, 0], vec![1; 5_000], vec![2_000, 1, 1, 3_000, 0, 1_023, 1_024]]
        {
            let length = parts.iter().sum();
            assert_eq!(gathered(&parts, 100_000).await, (0, all(length)), "{parts:?}");
        }
        let (parts, read) = gathered(&vec![1; 5_000], 4_000).await;
        assert_eq!((parts, read), (2, all(4_001)), "the first, which may be all, and the rest");
    }
}
