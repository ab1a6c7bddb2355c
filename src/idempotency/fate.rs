//! Decides what an answer says about the work. Nothing here waits, locks or reads a clock.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::{AfterCrash, Final};

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
/// | without one, an answer with | is taken as |
/// |---|---|
/// | 2xx, 3xx, 4xx but those below | `Store` |
/// | 408, 409, 425, 429; 503 with `Retry-After` | `Release` |
/// | any other status, an error, a panic, a body that breaks off | begun, and not known how far: `Indeterminate`, or `Release` with [`AfterCrash::Rerun`] |
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
}

/// What an answer is taken as: `None`, if nobody knows.
pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Option<Disposition> {
    match status {
        // "Not now", which a handler says before it does something.
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => Some(Disposition::Release),
        // Without a time to come back it may as well be what a handler makes of any failure on its way.
        StatusCode::SERVICE_UNAVAILABLE if headers.contains_key(RETRY_AFTER) => Some(Disposition::Release),
        status if status.is_success() || status.is_redirection() || status.is_client_error() => {
            Some(Disposition::Store)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_final_or_not_now_or_unknown() {
        let none = HeaderMap::new();
        let later = HeaderMap::from_iter([(RETRY_AFTER, "1".parse().unwrap())]);
        for code in 100..=599 {
            let status = StatusCode::from_u16(code).unwrap();
            let expected = match code {
                408 | 409 | 425 | 429 => Some(Disposition::Release),
                200..=499 => Some(Disposition::Store),
                _ => None,
            };
            assert_eq!(of(status, &none), expected, "{code}");
            let expected = if code == 503 { Some(Disposition::Release) } else { expected };
            assert_eq!(of(status, &later), expected, "{code}, to come back");
        }
    }
}
