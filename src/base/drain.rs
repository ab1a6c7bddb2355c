//! What is left of a response that is thrown away.
//!
//! An HTTP/1 connection can be used again only when its response has been read to the end; one that is dropped half
//! read has to be closed. So a small rest is read while the call waits for another attempt anyway.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body::Body;
use pin_project::pin_project;

/// The most that is read of a response that nobody wants: a page that says what is wrong fits, a download does not.
const MOST: u64 = 64 * 1024;

/// What has not come by then is not worth its connection, which is held meanwhile.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);

#[pin_project]
pub(crate) struct Drain<B> {
    #[pin]
    body: Option<B>,
    left: u64,
}

impl<B> Drain<B> {
    /// Whether there is more to read.
    pub(crate) fn is_open(self: Pin<&mut Self>) -> bool {
        self.project().body.is_some()
    }

    /// Let go of what is left.
    pub(crate) fn close(self: Pin<&mut Self>) {
        self.project().body.set(None);
    }
}

impl<B: Body> Drain<B> {
    /// Of nothing, if it is at its end already or known to be too long.
    pub(crate) fn of(body: Option<B>) -> Self {
        Self {
            body: body.filter(|body| !body.is_end_stream() && body.size_hint().lower() <= MOST),
            left: MOST,
        }
    }

    /// Read what is there. The body is dropped at its end, and when it turns out to be too long.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        while let Some(body) = this.body.as_mut().as_pin_mut() {
            let frame = match body.poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return,
            };
            let more = match frame {
                Some(Ok(frame)) => {
                    // One with nothing in it counts as a byte: a body may have no end of those, and all of them at once.
                    let size = frame.data_ref().map_or(0, |data| data.remaining() as u64).max(1);
                    let fits = size <= *this.left;
                    *this.left = this.left.saturating_sub(size);
                    fits
                }
                Some(Err(_)) | None => false,
            };
            if !more {
                this.body.set(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use http_body_util::Full;

    use super::*;

    #[test]
    fn there_is_something_to_read_until_the_end_and_nothing_of_what_is_too_long() {
        let mut drain = pin!(Drain::of(Some(Full::new(&b"a page"[..]))));
        assert!(drain.as_mut().is_open());
        drain.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(!drain.is_open());
        let long = vec![0; MOST as usize + 1];
        assert!(!pin!(Drain::of(Some(Full::new(&long[..])))).is_open());
    }
}
