//! How a request goes over its hop.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Version};
use http_body::Body;

/// Makes the head say what this hop needs, whichever hop the request comes from.
pub(crate) fn frame<B: Body>(request: &mut Request<B>) {
    // RFC 9110, section 2.5: the version is that of this hop, not of the one that the request may come from.
    *request.version_mut() = Version::HTTP_11;
    if is_framing_needed(request) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Hyper takes it that a GET or a HEAD has no body, and drops one whose length it does not know, unless the headers say
/// how it ends.
fn is_framing_needed<B: Body>(request: &Request<B>) -> bool {
    let (headers, body) = (request.headers(), request.body());
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !body.is_end_stream()
        && body.size_hint().exact().is_none()
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::{CONTENT_LENGTH, Method, Request, TRANSFER_ENCODING, frame};
    use crate::base::BoxError;
    use crate::base::body::Body;

    fn of_any_length() -> Body {
        Body::new(StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>()))
    }

    #[test]
    fn chunks_are_announced_only_for_a_body_that_would_be_dropped_without() {
        for (method, body, length, is_announced) in [
            (Method::GET, of_any_length(), None, true),
            (Method::HEAD, of_any_length(), None, true),
            (Method::GET, of_any_length(), Some("5"), false),
            (Method::GET, Body::from("five!"), None, false),
            (Method::GET, Body::empty(), None, false),
            (Method::POST, of_any_length(), None, false),
        ] {
            let case = format!("{method} {body:?} {length:?}");
            let mut request = Request::builder().method(method).body(body).unwrap();
            request.headers_mut().extend(length.map(|length| (CONTENT_LENGTH, length.parse().unwrap())));
            frame(&mut request);
            assert_eq!(request.headers().contains_key(TRANSFER_ENCODING), is_announced, "{case}");
        }
    }
}
