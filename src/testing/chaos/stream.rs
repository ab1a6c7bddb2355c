use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::{Link, Read};
use super::wire::Shared;
use super::{Direction, What};

/// An end of a connection over a [`Wire`](super::Wire). Dropped with bytes that nobody has read, it resets the connection, as sockets do.
pub struct WireStream {
    shared: Arc<Shared>,
    link: Arc<Mutex<Link>>,
    number: u64,
    /// It is known by the direction that it writes in.
    end: Direction,
    finished: bool,
    reads: Timer,
    writes: Timer,
}

/// Both ends, first that of whoever connects.
pub(super) fn ends(shared: &Arc<Shared>, link: Link, number: u64) -> [WireStream; 2] {
    let link = Arc::new(Mutex::new(link));
    [Direction::Up, Direction::Down].map(|end| WireStream {
        shared: Arc::clone(shared),
        link: Arc::clone(&link),
        number,
        end,
        finished: false,
        reads: Timer::default(),
        writes: Timer::default(),
    })
}

impl WireStream {
    /// Which connection this is, as its [`Happening`](super::Happening)s say.
    #[must_use]
    pub const fn connection(&self) -> u64 {
        self.number
    }
}

fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut link = lock(&this.link);
            let at = match link.read(this.end, into.remaining(), Instant::now())? {
                Read::Some(bytes) => {
                    drop(link);
                    this.shared.carried(this.number, this.end.other(), &bytes);
                    into.put_slice(&bytes);
                    return Poll::Ready(Ok(()));
                }
                Read::End => return Poll::Ready(Ok(())),
                Read::NotBefore(at) => at,
            };
            link.waits_to_read(this.end, cx.waker());
            drop(link);
            ready!(this.reads.poll(at, cx));
        }
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.finished {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        loop {
            let mut link = lock(&this.link);
            if this.shared.is_calm() {
                link.calm();
            }
            let (written, what) = link.write(this.end, bytes, &this.shared.faults, Instant::now());
            if let Some(what) = what {
                this.shared.note(this.number, what);
            }
            if let Some(taken) = written? {
                return Poll::Ready(Ok(taken));
            }
            link.waits_to_write(this.end, cx.waker());
            let at = link.reset_of(this.end);
            drop(link);
            ready!(this.writes.poll(at, cx));
        }
    }

    /// What was written is under way.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finished = true;
        lock(&self.link).finish(self.end, &self.shared.faults, Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl Drop for WireStream {
    fn drop(&mut self) {
        let last = lock(&self.link).leave(self.end, &self.shared.faults, Instant::now());
        if last {
            self.shared.note(self.number, What::Gone);
        }
    }
}

impl fmt::Debug for WireStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireStream").field("connection", &self.number).field("writes", &self.end).finish()
    }
}

/// Wakes a task at an instant, which may change.
#[derive(Default)]
struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Waits until then; for whoever wakes the task, where there is no instant.
    fn poll(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else {
            self.0 = None;
            return Poll::Pending;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
