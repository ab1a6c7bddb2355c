//! What an answer to the request for a stream means.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};

use crate::base::{Classify, ClassifyHttp, Error, Kind, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is a stream of events.
    Stream,
    /// There are no more, and to ask again is not wanted.
    Over,
    /// It may be otherwise the next time.
    Later,
    /// It will not.
    Never,
}

pub(super) fn of_response<B>(response: &Response<B>) -> Meaning {
    match response.status() {
        StatusCode::OK if is_event_stream(response.headers()) => Meaning::Stream,
        StatusCode::NO_CONTENT => Meaning::Over,
        _ => match ClassifyHttp.classify(Ok(response)) {
            Outcome::Failure | Outcome::Overload => Meaning::Later,
            _ => Meaning::Never,
        },
    }
}

/// Whether an error may pass by itself: all but what is wrong with the request.
pub(super) fn of_error(error: &Error) -> Meaning {
    if error.kind() == Kind::Invalid { Meaning::Never } else { Meaning::Later }
}

/// Parameters are of no account: a stream is always UTF-8.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}
