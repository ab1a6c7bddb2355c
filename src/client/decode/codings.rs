//! Which requests ask for an encoded answer, and how an answer is encoded. Nothing here waits, locks or reads a clock.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;

/// Everything that can be decoded: the best first, for servers that go by that.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("zstd, br, gzip, deflate");

/// Nobody encodes more often in earnest, and each time costs memory.
const MOST: usize = 3;

/// RFC 9110, section 8.4.1, RFC 7932 and RFC 8878.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Deflate,
    Gzip,
    Zstd,
}

impl Coding {
    fn of(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Coding); 5] = [
            (b"br", Coding::Brotli),
            (b"deflate", Coding::Deflate),
            (b"gzip", Coding::Gzip),
            (b"x-gzip", Coding::Gzip),
            (b"zstd", Coding::Zstd),
        ];
        NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| *coding)
    }
}

/// Whether to ask for an encoded answer. Who says what it accepts wants just that; and a range is one of encoded bytes, a
/// part of which cannot be decoded.
pub(super) fn is_asked_for(method: &Method, headers: &HeaderMap) -> bool {
    *method != Method::HEAD && !headers.contains_key(ACCEPT_ENCODING) && !headers.contains_key(RANGE)
}

/// What has been done to a body, in the order in which it was done; nothing, if it is to be handed out as it is.
pub(super) fn done_to<B: Body>(response: &Response<B>) -> Vec<Coding> {
    let status = response.status();
    let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        && status != StatusCode::PARTIAL_CONTENT
        && !response.body().is_end_stream();
    if !has_body || !response.headers().contains_key(CONTENT_ENCODING) {
        return Vec::new();
    }
    read(response.headers()).unwrap_or_default()
}

fn read(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut codings = Vec::new();
    for name in names {
        // The name for nothing, which stands in `accept-encoding` only, and empty elements (RFC 9110, section 5.6.1.2).
        if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        // Below what is not known, nothing can be decoded; and half of it is of no use to anybody.
        codings.push(Coding::of(name).filter(|_| codings.len() < MOST)?);
    }
    Some(codings)
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Deflate, Gzip, Zstd};
    use super::*;

    #[test]
    fn codings_are_read_in_their_order_and_not_at_all_if_one_is_unknown() {
        for (lines, codings) in [
            (&["gzip"][..], &[Gzip][..]),
            (&["x-gzip"], &[Gzip]),
            (&["GZip"], &[Gzip]),
            (&["br"], &[Brotli]),
            (&["deflate"], &[Deflate]),
            (&["zstd"], &[Zstd]),
            (&["identity"], &[]),
            (&[""], &[]),
            (&["deflate, gzip"], &[Deflate, Gzip]),
            (&["deflate", "gzip , br"], &[Deflate, Gzip, Brotli]),
            (&["gzip,,identity, br"], &[Gzip, Brotli]),
            (&["aes128gcm"], &[]),
            (&["aes128gcm, gzip"], &[]),
            (&["gzip, aes128gcm"], &[]),
            (&["gzip gzip"], &[]),
            (&["gzip, gzip, gzip, gzip"], &[]),
            (&[], &[]),
        ] {
            let mut response = Response::new("body".to_owned());
            for line in lines {
                response.headers_mut().append(CONTENT_ENCODING, line.parse().unwrap());
            }
            assert_eq!(done_to(&response), codings, "{lines:?}");
        }
    }

    #[test]
    fn what_has_no_body_of_its_own_is_handed_out_as_it_is() {
        for (status, body, decoded) in [
            (200, "x", true),
            (404, "x", true),
            (200, "", false),
            (204, "x", false),
            (206, "x", false),
            (304, "x", false),
        ] {
            let response = Response::builder().status(status).header("content-encoding", "gzip");
            assert_eq!(!done_to(&response.body(body.to_owned()).unwrap()).is_empty(), decoded, "{status}");
        }
    }

    #[test]
    fn whoever_says_something_about_it_or_wants_a_part_is_not_spoken_for() {
        let asked = |method, name: Option<&'static str>| {
            let headers = name.map(|name| (name.parse().unwrap(), HeaderValue::from_static("x")));
            is_asked_for(&method, &headers.into_iter().collect())
        };
        assert!(asked(Method::GET, None) && asked(Method::POST, None) && asked(Method::GET, Some("accept")));
        assert!(!asked(Method::HEAD, None));
        assert!(!asked(Method::GET, Some("accept-encoding")) && !asked(Method::GET, Some("range")));
    }
}
