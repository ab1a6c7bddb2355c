//! When a response is over.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, response};
use http_body::Body;

use crate::base::says_grpc;

/// The moment at which a response is over, as far as its head tells; [`Held`](super::Held) looks for it.
///
/// A server drops a body once the last byte that the head promised is written, and never polls it again. So "when the
/// body says that it ended" would be wrong for most responses: they would all look abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldUntil {
    /// With the head: the message has no content, or the connection is no longer part of the call.
    Head,
    /// With this many bytes of data, or earlier if the body ends earlier.
    Length(u64),
    /// With the end of the body.
    End,
    /// With the trailers or the end of the body, since an answer of gRPC says in its trailers how it went; or where it is dropped once this
    /// many bytes of data have come.
    Trailers(Option<u64>),
}

impl HoldUntil {
    /// Reads it from the response, by RFC 9112 section 6.3 and RFC 9110 sections 6.4.1 and 8.6.
    ///
    /// It is over with the head when the request was a HEAD or a CONNECT (`head_or_connect`), when the status is 1xx,
    /// 204 or 304, when `Content-Length` is 0 and when the body is at its end already. An answer of gRPC may have trailers after all the
    /// bytes that its head promised (RFC 9113 section 8.1.1), also after none.
    ///
    /// ```
    /// use http_body_util::Full;
    /// use stonework::base::body::HoldUntil;
    ///
    /// let (parts, body) = http::Response::new(Full::<bytes::Bytes>::from("hello")).into_parts();
    /// assert_eq!(HoldUntil::of(false, &parts, &body), HoldUntil::Length(5));
    /// assert_eq!(HoldUntil::of(true, &parts, &body), HoldUntil::Head);
    /// ```
    #[must_use]
    pub fn of<B: Body>(head_or_connect: bool, parts: &response::Parts, body: &B) -> Self {
        Self::read(head_or_connect, parts.status, &parts.headers, body)
    }

    #[inline]
    pub(crate) fn of_response<B: Body>(head_or_connect: bool, response: &Response<B>) -> Self {
        Self::read(head_or_connect, response.status(), response.headers(), response.body())
    }

    #[inline]
    fn read<B: Body>(head_or_connect: bool, status: StatusCode, headers: &HeaderMap, body: &B) -> Self {
        let no_content = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        if head_or_connect || no_content || body.is_end_stream() {
            return Self::Head;
        }
        let length = content_length(headers).or(body.size_hint().exact());
        if says_grpc(headers) {
            return Self::Trailers(length);
        }
        match length {
            Some(0) => Self::Head,
            Some(length) => Self::Length(length),
            None => Self::End,
        }
    }
}

/// The length that the head promises, if it promises exactly one.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    // Transfer-Encoding overrides it (RFC 9112 section 6.3).
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let value = values.next()?.as_bytes();
    // A sign is not allowed, though `parse` takes one. More than one value is left to whoever reads the message.
    if values.next().is_some() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
