use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as _;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use crate::base::BoxError;
use crate::base::body::Body;

/// The data of a body as a stream of bytes, as decoders read it.
pub(super) struct Source {
    body: Body,
    piece: Bytes,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Source {
    pub(super) const fn new(body: Body) -> Self {
        Self { body, piece: Bytes::new(), trailers: None, ended: false }
    }

    /// What came after the last byte.
    pub(super) fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

impl AsyncBufRead for Source {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.piece.is_empty() && !this.ended {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.piece = piece,
                    Err(frame) => this.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(Failed(error)))),
                None => this.ended = true,
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().piece.advance(amount);
    }
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(()))
    }
}

/// An error of the body, on its way through the decoders.
#[derive(Debug, thiserror::Error)]
#[error("the body failed")]
pub(super) struct Failed(#[source] pub(super) BoxError);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn it_is_read_in_pieces_of_any_size() {
        let mut source = Source::new(Body::from("twelve bytes"));
        let mut first = [0; 5];
        assert_eq!(source.read_exact(&mut first).await.unwrap(), 5);
        let mut rest = String::new();
        assert_eq!(source.read_to_string(&mut rest).await.unwrap(), 7);
        assert_eq!((&first, rest.as_str()), (b"twelv", "e bytes"));
    }
}
