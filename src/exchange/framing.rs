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
