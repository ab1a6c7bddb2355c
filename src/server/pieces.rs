use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

/// As large as a frame of HTTP/2 is unless the client allows more (RFC 9113, section 4.2).
const PIECE: usize = 16 * 1024;

/// A body whose pieces are as small as its connection wants them.
///
/// Hyper hands the whole of a piece to HTTP/2's buffers, however small the client's window is. Then nobody could tell
/// whether the client takes something of it, and of the last piece nobody would ask.
#[pin_project]
pub(super) struct InPieces<B> {
    #[pin]
    body: B,
    /// What is left of the piece that the body gave last.
    rest: Bytes,
    most: usize,
}

impl<B> InPieces<B> {
    /// In small ones for HTTP/2, and as they are for a connection that takes one answer after the other.
    pub(super) const fn new(body: B, http2: bool) -> Self {
        Self { body, rest: Bytes::new(), most: if http2 { PIECE } else { usize::MAX } }
    }
}

impl<B: Body<Data = Bytes>> Body for InPieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > *this.most => *this.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(*this.most));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            all.set_upper(upper.saturating_add(rest));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_large_piece_is_cut_and_the_end_is_that_of_the_last_part() {
        let mut body = InPieces::new(Full::from(vec![b'x'; 2 * PIECE + 1]), true);
        for (size, left) in [(PIECE, PIECE + 1), (PIECE, 1), (1, 0)] {
            assert!(!body.is_end_stream());
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!((data.len(), body.size_hint().exact()), (size, Some(left as u64)));
        }
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn one_connection_for_one_answer_takes_it_as_it_is() {
        let mut body = InPieces::new(Full::from(vec![b'x'; 2 * PIECE + 1]), false);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 2 * PIECE + 1);
        assert!(body.is_end_stream());
    }
}
