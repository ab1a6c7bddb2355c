use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{
    BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use async_compression::zstd::DParameter;
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::codings::Coding;
use super::source::Source;

/// How far back a body in zstd may refer, as the logarithm of a number of bytes: 8 MiB, since all of it is kept (RFC 9659).
const WINDOW: u32 = 23;

/// What a decoder reads: the body itself, or what another decoder makes of it.
pub(super) enum Input {
    Body(Source),
    Decoded(Box<BufReader<Decoder>>),
}

/// Decodes one coding. All are `Unpin`, as the body is.
pub(super) enum Decoder {
    Brotli(BrotliDecoder<Input>),
    /// Until the first byte has come, which tells the next two apart.
    Deflate(Option<Input>),
    /// As it should be: in the frame of zlib.
    Framed(ZlibDecoder<Input>),
    /// As some send it (RFC 9110, section 8.4.1.2).
    Raw(DeflateDecoder<Input>),
    Gzip(GzipDecoder<Input>),
    Zstd(ZstdDecoder<Input>),
}

impl Input {
    /// Undoes these codings, which were done in this order.
    pub(super) fn of(codings: &[Coding], body: Source) -> Self {
        let decode =
            |input, coding: &Coding| Self::Decoded(Box::new(BufReader::new(Decoder::of(*coding, input))));
        codings.iter().rev().fold(Self::Body(body), decode)
    }

    /// The body, below all decoders.
    pub(super) fn source(&mut self) -> Option<&mut Source> {
        match self {
            Self::Body(source) => Some(source),
            Self::Decoded(decoder) => decoder.get_mut().input()?.source(),
        }
    }

    /// Reads on behind the last byte that was decoded, where nothing may come but the end.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !ready!(Pin::new(&mut *self).poll_fill_buf(cx))?.is_empty() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind the end")));
        }
        match self {
            Self::Body(_) => Poll::Ready(Ok(())),
            Self::Decoded(decoder) => match decoder.get_mut().input() {
                Some(input) => input.poll_end(cx),
                None => Poll::Ready(Ok(())),
            },
        }
    }
}

impl Decoder {
    fn of(coding: Coding, input: Input) -> Self {
        match coding {
            Coding::Brotli => Self::Brotli(BrotliDecoder::new(input)),
            Coding::Deflate => Self::Deflate(Some(input)),
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(input);
                // RFC 1952, section 2.2, and RFC 8878, section 3: there may be several, one after the other.
                decoder.multiple_members(true);
                Self::Gzip(decoder)
            }
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::with_params(input, &[DParameter::window_log_max(WINDOW)]);
                decoder.multiple_members(true);
                Self::Zstd(decoder)
            }
        }
    }

    fn input(&mut self) -> Option<&mut Input> {
        Some(match self {
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Deflate(input) => return input.as_mut(),
            Self::Framed(decoder) => decoder.get_mut(),
            Self::Raw(decoder) => decoder.get_mut(),
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        })
    }
}

impl AsyncRead for Decoder {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Self::Deflate(input) = this {
            if let Some(mut undecided) = input.as_mut() {
                let first = ready!(Pin::new(&mut undecided).poll_fill_buf(cx))?.first().copied();
                if let Some(input) = input.take() {
                    *this = if first.is_none_or(is_zlib) {
                        Self::Framed(ZlibDecoder::new(input))
                    } else {
                        Self::Raw(DeflateDecoder::new(input))
                    };
                }
            }
        }
        match this {
            Self::Brotli(decoder) => Pin::new(decoder).poll_read(cx, buffer),
            // It was decided above.
            Self::Deflate(_) => Poll::Ready(Ok(())),
            Self::Framed(decoder) => Pin::new(decoder).poll_read(cx, buffer),
            Self::Raw(decoder) => Pin::new(decoder).poll_read(cx, buffer),
            Self::Gzip(decoder) => Pin::new(decoder).poll_read(cx, buffer),
            Self::Zstd(decoder) => Pin::new(decoder).poll_read(cx, buffer),
        }
    }
}

/// The only method of zlib (RFC 1950, section 2.2). As the start of bare data it would be a stored block whose unused bits are
/// set (RFC 1951, section 3.2.4), which nothing writes.
const fn is_zlib(first: u8) -> bool {
    first & 0x0f == 8
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Body(source) => Pin::new(source).poll_read(cx, buffer),
            Self::Decoded(decoder) => Pin::new(decoder).poll_read(cx, buffer),
        }
    }
}

impl AsyncBufRead for Input {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        match self.get_mut() {
            Self::Body(source) => Pin::new(source).poll_fill_buf(cx),
            Self::Decoded(decoder) => Pin::new(decoder).poll_fill_buf(cx),
        }
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        match self.get_mut() {
            Self::Body(source) => Pin::new(source).consume(amount),
            Self::Decoded(decoder) => Pin::new(decoder).consume(amount),
        }
    }
}
