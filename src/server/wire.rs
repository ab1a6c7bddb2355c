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
        let result = Pin::new(&mut self.socket).poll_flush(cx);
        // Hyper flushes when it has written all that it had.
        if matches!(result, Poll::Ready(Ok(()))) {
            self.shared().sent_all();
        }
        result
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::time::Instant;

    use super::super::ServerSettings;
    use super::super::control::Control;
    use super::super::crowd::Crowd;
    use super::*;
    use crate::base::{Observe, Peer};

    /// A client that takes so much of all that is written.
    struct Takes {
        most: usize,
        vectored: bool,
    }

    impl AsyncRead for Takes {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Takes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.most == 0 {
                return Poll::Pending;
            }
            let taken = self.most.min(bytes.len());
            self.most -= taken;
            Poll::Ready(Ok(taken))
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_is_as_much_as_the_client_takes_and_a_client_that_takes_nothing_is_seen() {
        for vectored in [false, true] {
            let control =
                Control::new(ServerSettings::new(), None, Observe::default(), None, Vec::new(), None);
            let shared = Shared::new(Peer::of(&http::Extensions::new()), control, Instant::now(), None);
            let socket = Plain::new(Takes { most: 5, vectored }, Arc::clone(&shared));
            let place = Crowd::new(None, None).enter(None).expect("any number may come");
            let mut wire = Wire::new(socket, place);
            assert_eq!(wire.is_write_vectored(), vectored);
            let mut write = || {
                let cx = &mut Context::from_waker(Waker::noop());
                let written = Pin::new(&mut wire).poll_write(cx, b"abc").map(Result::unwrap);
                (written, shared.pulse.facts(None, None).stalled.is_some())
            };
            assert_eq!(write(), (Poll::Ready(3), false));
            assert_eq!(write(), (Poll::Ready(2), false));
            assert_eq!(write(), (Poll::Pending, true));
        }
    }
}
