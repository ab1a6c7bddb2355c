use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::crowd::Place;
use super::shared::Shared;

/// The socket of a connection, which tells what the client takes and sends.
///
/// It has the place of the connection: whoever is handed the socket by an upgrade has the place with it.
#[derive(Debug)]
pub(super) struct Wire<T> {
    socket: T,
    /// What was read to learn which HTTP it is, or ahead of the last request.
    first: Bytes,
    shared: Arc<Shared>,
    _place: Place,
}

impl<T> Wire<T> {
    pub(super) fn new(socket: T, shared: Arc<Shared>, place: Place) -> Self {
        Self { socket, first: Bytes::new(), shared, _place: place }
    }

    /// The same, with this to be read first.
    pub(super) fn again(self, first: Bytes) -> Self {
        debug_assert!(self.first.is_empty(), "read before it was known what it is");
        Self { first, ..self }
    }

    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Note what became of an attempt to have the client take something.
    fn note<R>(&self, result: &Poll<io::Result<R>>) {
        match result {
            Poll::Ready(_) => self.shared.pulse.took(),
            Poll::Pending => self.shared.pulse.stalls(),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let size = self.first.len().min(into.remaining());
            into.put_slice(&self.first[..size]);
            self.first.advance(size);
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(cx, into);
        if into.filled().len() > before {
            self.shared.pulse.received();
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.note(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_flush(cx);
        // A flush with nothing to send is no sign of life.
        if result.is_pending() {
            self.shared.pulse.stalls();
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(&result);
        result
    }
}
