//! Decides whether a body is too large. Nothing here waits, locks or reads a clock.

use http::{HeaderMap, StatusCode};
use http_body::SizeHint;

use crate::base::body::BodyTooLarge;
use crate::base::{Delivery, Error, Kind};

/// Whether the body is known to be larger than `cap` before it is read.
pub(super) fn is_announced_over(cap: u64, hint: &SizeHint) -> bool {
    hint.lower() > cap
}

/// Whether the body is known to be no larger than `cap`.
pub(super) fn is_announced_within(cap: u64, hint: &SizeHint) -> bool {
    hint.upper().is_some_and(|most| most <= cap)
}

/// How many bytes may still come after so many more, or nothing if they were too many.
pub(super) fn left(left: u64, bytes: u64) -> Option<u64> {
    left.checked_sub(bytes)
}

/// Whether a response to a request that grew too large is likely the complaint about it. A gRPC service complains with
/// 200 and a status of its own.
pub(super) fn is_complaint(status: StatusCode, headers: &HeaderMap) -> bool {
    let grpc = headers.get("grpc-status").is_some_and(|status| status != "0");
    grpc || status.is_client_error() || status.is_server_error()
}

/// Not sent again: it would be as large.
pub(super) fn refusal(cap: u64, delivery: Delivery) -> Error {
    let limit = usize::try_from(cap).unwrap_or(usize::MAX);
    Error::new(Kind::Body, BodyTooLarge::of(limit)).with_delivery(delivery).without_retry()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_judged_before_it_is_read() {
        assert!(!is_announced_over(5, &SizeHint::with_exact(5)));
        assert!(is_announced_over(5, &SizeHint::with_exact(6)));
        assert!(!is_announced_over(5, &SizeHint::default()) && !is_announced_within(5, &SizeHint::default()));
        assert!(is_announced_within(5, &SizeHint::with_exact(5)));
        assert!(!is_announced_within(5, &SizeHint::with_exact(6)));
        assert_eq!((left(5, 5), left(5, 6)), (Some(0), None));
    }
}
