use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncBufRead, AsyncReadExt};

use super::codings::Coding;
use super::decoder::Input;
use super::error::NotDecoded;
use super::source::{Failed, Source};
use crate::base::body::Body;
use crate::base::{BoxError, Delivery, Error, Kind};

/// The most that is decoded ahead of whoever reads, however little it takes to say it.
const PIECE: usize = 16 * 1024;

/// A body, decoded while it is read.
pub(super) struct Decoded {
    /// Nothing, once the end or an error was handed out.
    input: Option<Input>,
    /// Something has been read.
    begun: bool,
    buffer: BytesMut,
}

impl Decoded {
    /// Undoes these codings, which were done in this order.
    pub(super) fn of(codings: &[Coding], body: Body) -> Self {
        let input = Input::of(codings, Source::new(body));
        Self { input: Some(input), begun: false, buffer: BytesMut::new() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Frame<Bytes>>>> {
        let Some(input) = self.input.as_mut() else { return Poll::Ready(Ok(None)) };
        if !self.begun {
            if let Some(source) = input.source() {
                // Of nothing at all, nothing is missing: some encode it to that.
                if ready!(Pin::new(&mut *source).poll_fill_buf(cx))?.is_empty() {
                    return Poll::Ready(Ok(source.trailers().map(Frame::trailers)));
                }
            }
            self.begun = true;
        }
        self.buffer.reserve(PIECE);
        let read = pin!(input.read_buf(&mut self.buffer));
        if ready!(read.poll(cx))? > 0 {
            return Poll::Ready(Ok(Some(Frame::data(self.buffer.split().freeze()))));
        }
        ready!(input.poll_end(cx))?;
        let trailers = input.source().and_then(Source::trailers);
        Poll::Ready(Ok(trailers.map(Frame::trailers)))
    }
}

impl http_body::Body for Decoded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll(cx)).map_err(told).transpose();
        // The end, or what comes right before it.
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            this.input = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.input.is_none()
    }
}

fn told(error: io::Error) -> BoxError {
    match error.downcast::<Failed>() {
        Ok(Failed(error)) => error,
        Err(error) => Error::new(Kind::Body, NotDecoded::new(error)).with_delivery(Delivery::Answered).into(),
    }
}
