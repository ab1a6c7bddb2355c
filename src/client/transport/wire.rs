//! Connections on which an answer is never lost to an upload that it made pointless.
//!
//! A server that refuses an upload early answers (413, 401, …) and closes; what the client still sends is met with a
//! reset. Writing then fails while the answer lies unread in the buffer of the system, and hyper, which takes the
//! failure of a write for the end of the exchange, never reads it. RFC 9112, section 9.5, wants a client to watch for
//! that answer while it sends. So here a write that failed is pending from then on, and reading goes on: to the
//! answer, or to the end, where the failure of the write is told.
//!
//! Hyper writes what is left in its buffer before it lets go of a connection, and reads no more then. So the failure
//! cannot wait for ever: it is told to whoever writes once the end was read, or when nothing was read for a while.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::place::Place;
use super::pulse::Pulse;

/// How long a failure to write waits for the next read. What the peer said has arrived by then: only a reader of the
/// answer that pauses can make it take longer, and all that it could cost is the rest of that answer.
const LINGER: Duration = Duration::from_secs(5);

/// A stream whose failure to write waits until everything was read.
pub(super) struct Wire<T> {
    stream: T,
    failed: Option<Failed>,
    /// Nobody reads any more.
    ended: bool,
    /// Who wants to know that something was read.
    pulse: Option<Arc<Pulse>>,
    /// Taken until the stream is closed. It is dropped after the stream, as fields are in this order.
    _place: Option<Arc<Place>>,
}

struct Failed {
    error: io::Error,
    linger: Pin<Box<Sleep>>,
}

impl<T> Wire<T> {
    pub(super) const fn new(stream: T, place: Option<Arc<Place>>, pulse: Option<Arc<Pulse>>) -> Self {
        Self { stream, failed: None, ended: false, pulse, _place: place }
    }

    /// What became of a failure to write, if there was one.
    fn poll_failed<R>(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<R>>> {
        let failed = self.failed.as_mut()?;
        if failed.linger.as_mut().poll(cx).is_pending() {
            return Some(Poll::Pending);
        }
        self.ended = true;
        self.failed.take().map(|failed| Poll::Ready(Err(failed.error)))
    }

    fn written<R>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        match result {
            Poll::Ready(Err(error)) if !self.ended => {
                let mut linger = Box::pin(sleep(LINGER));
                // Whoever reads has to look once more; whoever writes is woken at the end of the wait.
                cx.waker().wake_by_ref();
                let _ = linger.as_mut().poll(cx);
                self.failed = Some(Failed { error, linger });
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
        let at_end = read.is_ok() && buf.filled().len() == before && buf.remaining() > 0;
        self.ended |= at_end || read.is_err();
        if self.ended {
            // The system tells the failure of a connection once, and the write has heard it.
            return Poll::Ready(match self.failed.take() {
                Some(failed) if at_end => Err(failed.error),
                _ => read,
            });
        }
        if let Some(pulse) = &self.pulse {
            pulse.beat();
        }
        if let Some(failed) = &mut self.failed {
            failed.linger.as_mut().reset(Instant::now() + LINGER);
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(told) = self.poll_failed(cx) {
            return told;
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(told) = self.poll_failed(cx) {
            return told;
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // With TLS, what was written may only leave now.
        if let Some(told) = self.poll_failed(cx) {
            return told;
        }
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::{self, BrokenPipe, ConnectionReset};
    use std::task::Waker;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::TokioIo;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// A peer in memory that says this and takes no byte after the first thousand: writes fail.
    struct Deaf {
        says: &'static [u8],
        then_ends: bool,
        left: usize,
    }

    impl AsyncRead for Deaf {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.left > 0 || (self.says.is_empty() && !self.then_ends) {
                return Poll::Pending;
            }
            let most = self.says.len().min(buf.remaining());
            let (now, later) = self.says.split_at(most);
            buf.put_slice(now);
            self.says = later;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Deaf {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let most = self.left.min(buf.len());
            self.left -= most;
            Poll::Ready(if most > 0 { Ok(most) } else { Err(ErrorKind::BrokenPipe.into()) })
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether the task of the connection ends, once its call has: with the body read, or dropped unread.
    async fn ends(says: &'static [u8], then_ends: bool, read: bool) -> bool {
        let peer = Wire::new(Deaf { says, then_ends, left: 1000 }, None, None);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(peer)).await.unwrap();
        let task = tokio::spawn(connection);
        let request = http::Request::post("/").body(Full::new(Bytes::from(vec![b'x'; 1 << 20]))).unwrap();
        if let Ok(Ok(answer)) = timeout(LONG, sender.send_request(request)).await {
            if read {
                let _ = timeout(LONG, answer.into_body().collect()).await;
            }
        }
        timeout(LONG, task).await.is_ok()
    }

    /// A peer of which each read gives the next of these, and to which every write fails.
    struct Scripted {
        reads: Vec<io::Result<&'static [u8]>>,
        vectored: bool,
    }

    impl AsyncRead for Scripted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            buf.put_slice(self.reads.remove(0)?);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Scripted {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(ErrorKind::BrokenPipe.into()))
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(ErrorKind::NotConnected.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(ErrorKind::Deadlock.into()))
        }
    }

    impl Wire<Scripted> {
        fn of(reads: impl IntoIterator<Item = io::Result<&'static [u8]>>) -> Self {
            Self::new(Scripted { reads: reads.into_iter().collect(), vectored: false }, None, None)
        }

        /// What became of a read into so much room.
        fn reads(&mut self, room: usize) -> Result<usize, ErrorKind> {
            let mut room = vec![0; room];
            let mut buf = ReadBuf::new(&mut room);
            match Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
                Poll::Ready(read) => read.map(|()| buf.filled().len()).map_err(|error| error.kind()),
                Poll::Pending => panic!("this peer is never late"),
            }
        }

        /// What became of a write, once that is told.
        fn writes(&mut self) -> Option<ErrorKind> {
            let cx = &mut Context::from_waker(Waker::noop());
            match Pin::new(self).poll_write(cx, b"x") {
                Poll::Ready(written) => Some(written.unwrap_err().kind()),
                Poll::Pending => None,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_to_write_is_told_at_the_end_of_what_is_read() {
        let mut wire = Wire::of([Ok(&b"answer"[..]), Ok(b""), Ok(b"")]);
        assert_eq!(wire.writes(), None);
        assert_eq!(wire.reads(9), Ok(6));
        assert_eq!(wire.writes(), None, "there may be more");
        assert_eq!(wire.reads(0), Ok(0), "who has no room cannot see the end");
        assert_eq!(wire.writes(), None);
        assert_eq!(wire.reads(9), Err(BrokenPipe));
        assert_eq!(wire.writes(), Some(BrokenPipe), "nothing is waited for any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_to_read_is_told_as_such_and_ends_the_wait_too() {
        let mut wire = Wire::of([Err(ConnectionReset.into())]);
        assert_eq!(wire.writes(), None);
        assert_eq!(wire.reads(9), Err(ConnectionReset));
        assert_eq!(wire.writes(), Some(BrokenPipe));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_to_write_waits_for_as_long_as_something_is_read() {
        let mut wire = Wire::of([Ok(&b"slow"[..]), Ok(b"er")]);
        assert_eq!(wire.writes(), None);
        for size in [4, 2] {
            tokio::time::advance(LINGER - Duration::from_millis(10)).await;
            assert_eq!(wire.reads(9), Ok(size));
            assert_eq!(wire.writes(), None);
        }
        tokio::time::advance(LINGER - Duration::from_millis(10)).await;
        assert_eq!(wire.writes(), None);
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(wire.writes(), Some(BrokenPipe));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_when_it_is_flushed_is_told_at_the_end_of_what_is_read_too() {
        let mut wire = Wire::of([Ok(&b"answer"[..]), Ok(b"")]);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut wire).poll_flush(cx).is_pending());
        assert_eq!(wire.reads(9), Ok(6));
        assert!(Pin::new(&mut wire).poll_flush(cx).is_pending(), "there may be more");
        assert_eq!(wire.reads(9), Err(ErrorKind::NotConnected));
    }

    #[test]
    fn what_the_stream_says_of_itself_is_passed_on() {
        let mut wire = Wire::of([]);
        assert!(!wire.is_write_vectored());
        wire.stream.vectored = true;
        assert!(wire.is_write_vectored());
        let cx = &mut Context::from_waker(Waker::noop());
        let told = Pin::new(&mut wire).poll_shutdown(cx).map(|told| told.unwrap_err().kind());
        assert_eq!(told, Poll::Ready(ErrorKind::Deadlock));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_writes_fail_ends_whatever_was_read_from_it() {
        const CLOSE: &[u8] = b"HTTP/1.1 413 No\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
        const KEEP: &[u8] = b"HTTP/1.1 413 No\r\ncontent-length: 3\r\n\r\nbig";
        const HALF: &[u8] = b"HTTP/1.1 413 No\r\ncontent-length: 9\r\n\r\nbig";
        let mut stuck = Vec::new();
        for says in [&b""[..], CLOSE, KEEP, HALF, b"HTTP/1.1 nonsense\r\n\r\n"] {
            for then_ends in [true, false] {
                for read in [true, false] {
                    if !ends(says, then_ends, read).await {
                        stuck.push((String::from_utf8_lossy(says), then_ends, read));
                    }
                }
            }
        }
        assert!(stuck.is_empty(), "{stuck:#?}");
    }
}
