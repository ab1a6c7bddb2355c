use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::crowd::Place;
use super::shared::Shared;

/// Bytes to and from a client, which know their connection.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn shared(&self) -> &Arc<Shared>;
}

/// The socket itself, which tells what the client takes. Under TLS it is below the encryption, which takes some tens of
/// kilobytes of anything, whether or not the client does.
#[derive(Debug)]
pub(super) struct Plain<T> {
    socket: T,
    shared: Arc<Shared>,
}

impl<T> Plain<T> {
    pub(super) fn new(socket: T, shared: Arc<Shared>) -> Self {
        Self { socket, shared }
    }

    /// Note what became of an attempt to have the client take something.
    fn note<R>(&self, result: &Poll<io::Result<R>>) {
        match result {
            Poll::Ready(_) => self.shared.pulse.took(),
            Poll::Pending => self.shared.pulse.stalls(),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for Plain<T> {
    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// What HTTP is spoken over: a socket which tells what the client sends. Over TLS it is above the encryption, since a
/// handshake, a new key or a last word are not the beginning of a request.
///
/// It has the place of the connection: whoever is handed the socket by an upgrade has the place with it.
#[derive(Debug)]
pub(super) struct Wire<T> {
    socket: T,
    /// What was read to learn which HTTP it is, or ahead of the last request.
    first: Bytes,
    _place: Place,
}

impl<T: Socket> Wire<T> {
    pub(super) fn new(socket: T, place: Place) -> Self {
        Self { socket, first: Bytes::new(), _place: place }
    }

    /// The same, with this to be read first, before what was to be read already.
    pub(super) fn again(self, first: Bytes) -> Self {
        if self.first.is_empty() {
            return Self { first, ..self };
        }
        let mut all = BytesMut::with_capacity(first.len() + self.first.len());
        all.extend_from_slice(&first);
        all.extend_from_slice(&self.first);
        Self { first: all.freeze(), ..self }
    }

    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.socket.shared()
    }

    /// Tells the client that nothing more will come, if that can be done without waiting. Over TLS it could not tell
    /// otherwise whether somebody has cut the connection.
    pub(super) async fn say_goodbye(&mut self) {
        poll_fn(|cx| {
            let _ = Pin::new(&mut self.socket).poll_shutdown(cx);
            Poll::Ready(())
        })
        .await;
    }
}

impl<T: Socket> AsyncRead for Wire<T> {
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
            self.shared().pulse.received();
        }
        result
    }
}

impl<T: Socket> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Plain<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Plain<T> {
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
        match result {
            Poll::Pending => self.shared.pulse.stalls(),
            // Nothing is left that the client has not taken.
            Poll::Ready(_) => self.shared.pulse.flushed(),
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.note(&result);
        result
    }
}
