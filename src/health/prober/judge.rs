//! Decides what the answer to a probe says. Nothing here waits, locks or reads a clock.

use http::StatusCode;

use crate::base::GrpcStatus;
use crate::health::{Verdict, grpc};

/// An answer over HTTP, of which somebody says whether it passes.
pub(super) fn http(status: StatusCode, passes: bool) -> Verdict {
    if passes { Verdict::pass() } else { Verdict::fail(format_args!("it answered {}", status.as_u16())) }
}

/// An answer of gRPC's health service to `Check`: what its trailers say, or its head if there are none, and its message.
///
/// A server that does not know the service is as well as it can tell: so gRPC's own clients have it. That is for gRPC to say: 404 from
/// something that is no gRPC server says nothing of the kind.
pub(super) fn grpc(http: StatusCode, status: Option<GrpcStatus>, message: &[u8]) -> Verdict {
    match status {
        Some(GrpcStatus::Unimplemented) => Verdict::pass(),
        Some(GrpcStatus::Ok) => match grpc::serving(message) {
            Ok(1) => Verdict::pass(),
            Ok(2) => Verdict::fail("it does not serve"),
            Ok(3) => Verdict::fail("it does not know this service"),
            Ok(_) => Verdict::fail("it does not know how it is"),
            Err(_) => Verdict::fail("its answer cannot be read"),
        },
        Some(other) => Verdict::fail(other),
        None if http == StatusCode::OK => Verdict::fail("its answer has no gRPC status"),
        None => Verdict::fail(format_args!("it answered {}, and no gRPC status", http.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_serves_or_knows_no_health_is_well() {
        let (ok, message) = (StatusCode::OK, |number| [0, 0, 0, 0, 2, 8, number]);
        let said = |status, message: &[u8]| {
            let verdict = grpc(ok, status, message);
            (verdict.state().is_good(), verdict.output().unwrap_or_default().to_owned())
        };
        let fails = |why: &str| (false, why.to_owned());
        let passes = (true, String::new());
        assert_eq!(said(Some(GrpcStatus::Ok), &message(1)), passes);
        assert_eq!(said(Some(GrpcStatus::Unimplemented), &[]), passes);
        assert_eq!(said(Some(GrpcStatus::Ok), &message(2)), fails("it does not serve"));
        assert_eq!(said(Some(GrpcStatus::Ok), &message(3)), fails("it does not know this service"));
        assert_eq!(said(Some(GrpcStatus::Ok), &[0; 5]), fails("it does not know how it is"));
        assert_eq!(said(Some(GrpcStatus::Ok), &[]), fails("its answer cannot be read"));
        assert_eq!(said(Some(GrpcStatus::NotFound), &[]), fails("NOT_FOUND"));
        assert_eq!(said(Some(GrpcStatus::Unavailable), &message(1)), fails("UNAVAILABLE"));
        assert_eq!(said(None, &message(1)), fails("its answer has no gRPC status"), "it broke off");
        let stranger = grpc(StatusCode::NOT_FOUND, None, &[]);
        assert_eq!(stranger.output(), Some("it answered 404, and no gRPC status"));
    }
}
