//! Decides what an answer says about the work. Nothing here waits, locks or reads a clock.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::{AfterCrash, Begun, Final};
use crate::base::{GrpcStatus, Pushback, says_grpc};

/// What becomes of a key, whatever the status of the answer says: an extension of the response, for a handler that knows better.
///
/// ```
/// use http::{Response, StatusCode};
/// use stonework::idempotency::Disposition;
///
/// // The card was not charged, and this handler is sure of it.
/// let mut response = Response::new("try another card");
/// *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
/// response.extensions_mut().insert(Disposition::Release);
/// ```
///
/// An answer is of gRPC if its content type is, and it has a `grpc-status`: in its head, or in its trailers.
///
/// | without one, an answer with | is taken as |
/// |---|---|
/// | 2xx, 3xx, 4xx but those below | `Store` |
/// | 409, 425, 429; 503 with `Retry-After` | `Release` |
/// | of gRPC: 8, 10 or 14 with a time to come back (`grpc-retry-pushback-ms`) | `Release`, if nothing was sent before |
/// | of gRPC: 1, 2, 4, 13, 15; 8, 10 and 14 otherwise | as those in the last line |
/// | of gRPC: any other | `Store` |
/// | 408, any other status, an error, a panic, a body that breaks off | begun, and not known how far: `Indeterminate`, or `Release` with [`AfterCrash::Rerun`] |
///
/// **A handler that has done something already, and then passes on what somebody else has answered, says `Store` or `Indeterminate`**: what
/// the other one refused "for now" looks like its own refusal. So it is with `?` over a client of tonic, which takes even the time to come
/// back along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "complete: it was done, it was not, or nobody knows")]
pub enum Disposition {
    /// This is the answer, also for all who ask again.
    Store,
    /// Nothing was done, and whoever asks again may have it done.
    Release,
    /// Nobody knows how much of it was done: whoever asks again is told so.
    Indeterminate,
}

/// What is written of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Release,
    Finally(Final),
}

impl End {
    /// Of work of which nobody knows how far it came.
    pub(super) const fn unknown(after_crash: AfterCrash) -> Self {
        match after_crash {
            AfterCrash::FailClosed => Self::Finally(Final::Indeterminate),
            AfterCrash::Rerun => Self::Release,
        }
    }

    /// Whether this is the end that somebody who asks is told of.
    pub(super) fn is(&self, begun: &Begun) -> bool {
        matches!((self, begun), (Self::Finally(own), Begun::Ended(found)) if own == found)
    }
}

/// What an answer is taken as by its head: `None`, if nobody knows.
pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Disposition> {
    if let Some(grpc) = grpc_status(headers, headers) {
        return of_grpc(grpc, headers);
    }
    match status {
        // "Not now", which a handler says before it does something.
        StatusCode::CONFLICT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Some(Disposition::Release)
        }
        // The request was there as a whole, so what took too long was the handler: it may have been cut off in the middle.
        StatusCode::REQUEST_TIMEOUT => None,
        // Without a time to come back it may as well be what a handler makes of any failure on its way.
        StatusCode::SERVICE_UNAVAILABLE if headers.contains_key(RETRY_AFTER) => Some(Disposition::Release),
        status if status.is_success() || status.is_redirection() || status.is_client_error() => {
            Some(Disposition::Store)
        }
        _ => None,
    }
}

/// What an answer is taken as by how it ended, whose head is worth to be stored: `None`, if nobody knows. Whether it `is_empty` but for that.
pub(super) fn at_the_end(head: &HeaderMap, is_empty: bool, trailers: &HeaderMap) -> Option<Disposition> {
    let Some(grpc) = grpc_status(head, trailers) else { return Some(Disposition::Store) };
    // Whoever has sent a message had begun.
    of_grpc(grpc, trailers).filter(|told| is_empty || *told == Disposition::Store)
}

fn grpc_status(head: &HeaderMap, said: &HeaderMap) -> Option<GrpcStatus> {
    says_grpc(head).then(|| GrpcStatus::of(said)).flatten()
}

/// As of the status of HTTP that stands for the same.
fn of_grpc(status: GrpcStatus, said: &HeaderMap) -> Option<Disposition> {
    match status {
        // Without a time to come back each may be what a handler passes on of a failure on its way.
        GrpcStatus::ResourceExhausted | GrpcStatus::Aborted | GrpcStatus::Unavailable => {
            matches!(Pushback::of(said), Some(Pushback::After(_))).then_some(Disposition::Release)
        }
        // A handler that is cut off ends with the first of them, or the third.
        GrpcStatus::Cancelled
        | GrpcStatus::Unknown
        | GrpcStatus::DeadlineExceeded
        | GrpcStatus::Internal
        | GrpcStatus::DataLoss => None,
        _ => Some(Disposition::Store),
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn grpc(code: i32, pushback: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", code.into());
        if let Some(pushback) = pushback {
            headers.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
        }
        headers
    }

    #[test]
    fn every_status_of_grpc_is_final_or_not_now_or_unknown() {
        let kind = HeaderMap::from_iter([(CONTENT_TYPE, "application/grpc+proto".parse().unwrap())]);
        for code in 0..=17 {
            for pushback in [None, Some("25"), Some("-1")] {
                let said = grpc(code, pushback);
                let expected = match code {
                    8 | 10 | 14 if pushback == Some("25") => Some(Disposition::Release),
                    1 | 2 | 4 | 8 | 10 | 13 | 14 | 15 | 17 => None,
                    _ => Some(Disposition::Store),
                };
                let mut head = said.clone();
                assert_eq!(of(StatusCode::OK, &head), Some(Disposition::Store), "it is none of gRPC");
                head.extend(kind.clone());
                assert_eq!(of(StatusCode::OK, &head), expected, "{code} in the head, {pushback:?}");
                let alone = at_the_end(&kind, true, &said);
                assert_eq!(alone, expected, "{code} in the trailers, {pushback:?}");
                let behind = expected.filter(|told| *told == Disposition::Store);
                assert_eq!(at_the_end(&kind, false, &said), behind, "{code} behind a message, {pushback:?}");
                assert_eq!(at_the_end(&HeaderMap::new(), true, &said), Some(Disposition::Store));
            }
        }
        assert_eq!(at_the_end(&kind, true, &HeaderMap::new()), Some(Disposition::Store));
    }

    #[test]
    fn every_status_is_final_or_not_now_or_unknown() {
        let none = HeaderMap::new();
        let later = HeaderMap::from_iter([(RETRY_AFTER, "1".parse().unwrap())]);
        for code in 100..=599 {
            let status = StatusCode::from_u16(code).unwrap();
            let expected = match code {
                409 | 425 | 429 => Some(Disposition::Release),
                408 => None,
                200..=499 => Some(Disposition::Store),
                _ => None,
            };
            assert_eq!(of(status, &none), expected, "{code}");
            let expected = if code == 503 { Some(Disposition::Release) } else { expected };
            assert_eq!(of(status, &later), expected, "{code}, to come back");
        }
    }
}
