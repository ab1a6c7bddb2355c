//! Connections on which an answer is never lost to an upload that it made pointless.
//!
//! A server that refuses an upload early answers (413, 401, …) and closes; what the client still sends is met with a
//! reset. Writing then fails while the answer lies unread in the buffer of the system, and hyper, which takes the
//! failure of a write for the end of the exchange, never reads it. RFC 9112, section 9.5, wants a client to watch for
//! that answer while it sends. So here a write that failed is pending from then on, and reading goes on: to the
//! answer, or to the end, where the failure of the write is told.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

type Inner = HttpConnector;
type Stream = TokioIo<Wire<TcpStream>>;

/// Makes TCP connections.
pub(super) struct Connector(pub(super) Inner);

impl Clone for Connector {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = <Inner as Service<Uri>>::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        Connecting(self.0.call(uri))
    }
}

pub(super) struct Connecting(<Inner as Service<Uri>>::Future);

impl Future for Connecting {
    type Output = Result<Stream, <Inner as Service<Uri>>::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stream = ready!(Pin::new(&mut self.0).poll(cx))?.into_inner();
        Poll::Ready(Ok(TokioIo::new(Wire { stream, failed: None })))
    }
}

/// A stream whose failure to write waits until everything was read.
pub(super) struct Wire<T> {
    stream: T,
    failed: Option<io::Error>,
}

impl<T> Wire<T> {
    fn written(&mut self, cx: &Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(error)) => {
                self.failed = Some(error);
                // Whoever writes next would wait for ever; whoever reads has to look once more.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let ended = read.is_ok() && buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(match self.failed.take() {
            // The system tells the failure of a connection once, and the write has heard it.
            Some(error) if ended => Err(error),
            failed => {
                self.failed = failed;
                read
            }
        })
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.failed.is_some() {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.failed.is_some() {
            return Poll::Pending;
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<T: Connection> Connection for Wire<T> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}
