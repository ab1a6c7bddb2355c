use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::error::Error;
use super::grpc::GrpcStatus;
use super::key::InvalidKey;
use super::kind::{Delivery, Kind};

/// A keyed request was not done, or not once more, and there is no answer that can be given in its place. It stands at the end of the chain of
/// an [`Error`], and [`Problem`](super::Problem) makes an answer of it as draft-ietf-httpapi-idempotency-key-header says.
///
/// ```
/// use stonework::Error;
/// use stonework::base::{Asked, KeyedFault, KeyedRefused, Problem, Refuse};
///
/// let error = Error::from(KeyedRefused::new(KeyedFault::Mismatch));
/// assert_eq!(error.cause::<KeyedRefused>().unwrap().fault(), KeyedFault::Mismatch);
/// assert_eq!(Problem.refuse(Asked::default(), &error).status(), 422);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRefused {
    fault: KeyedFault,
}

/// Why. See [`KeyedRefused`].
///
/// | fault | status | gRPC status | may be sent again |
/// |---|---|---|---|
/// | `InFlight` | 409, with `Retry-After` | 10, `ABORTED` | then, with this key |
/// | `Indeterminate` | 409 | 9, `FAILED_PRECONDITION` | with another key, if it may be done twice |
/// | `Invalid`, `Missing` | 400 | 3, `INVALID_ARGUMENT` | with a key |
/// | `Mismatch` | 422 | 3, `INVALID_ARGUMENT` | with another key |
/// | `NotKept` | 409 | 6, `ALREADY_EXISTS` | no: it is done |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyedFault {
    /// Another request with this key is being done.
    InFlight,
    /// A request with this key was begun, and nobody knows how much of it was done.
    Indeterminate,
    /// The header cannot be read.
    Invalid(InvalidKey),
    /// There is no key, and there has to be one.
    Missing,
    /// The key is that of another request.
    Mismatch,
    /// A request with this key was done, and its answer was too large to be kept.
    NotKept,
}

impl KeyedFault {
    /// The status of the answer: 400, 409 or 422.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InFlight | Self::Indeterminate | Self::NotKept => StatusCode::CONFLICT,
            Self::Invalid(_) | Self::Missing => StatusCode::BAD_REQUEST,
            Self::Mismatch => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Indeterminate => "indeterminate",
            Self::Invalid(_) => "invalid",
            Self::Mismatch => "mismatch",
            Self::Missing => "missing",
            Self::NotKept => "not_kept",
        }
    }

    pub(crate) const fn grpc_status(self) -> GrpcStatus {
        match self {
            Self::InFlight => GrpcStatus::Aborted,
            Self::Indeterminate => GrpcStatus::FailedPrecondition,
            Self::Invalid(_) | Self::Missing | Self::Mismatch => GrpcStatus::InvalidArgument,
            Self::NotKept => GrpcStatus::AlreadyExists,
        }
    }

    /// What tells problems of one status apart (RFC 9457, section 3.1.1).
    pub(crate) const fn problem_type(self) -> &'static str {
        macro_rules! page {
            ($variant:literal) => {
                concat!(
                    "https://docs.rs/stonework/latest/stonework/base/enum.KeyedFault.html#variant.",
                    $variant
                )
            };
        }
        match self {
            Self::InFlight => page!("InFlight"),
            Self::Indeterminate => page!("Indeterminate"),
            Self::Invalid(_) => page!("Invalid"),
            Self::Missing => page!("Missing"),
            Self::Mismatch => page!("Mismatch"),
            Self::NotKept => page!("NotKept"),
        }
    }
}

impl fmt::Display for KeyedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InFlight => "another request with this `Idempotency-Key` is being done",
            Self::Indeterminate => {
                "a request with this `Idempotency-Key` was begun, and it is not known what became of it"
            }
            Self::Invalid(invalid) => return invalid.fmt(f),
            Self::Missing => "the header `Idempotency-Key` is missing",
            Self::Mismatch => "this `Idempotency-Key` is that of another request",
            Self::NotKept => "the request with this `Idempotency-Key` was done, and its answer was not kept",
        })
    }
}

impl KeyedRefused {
    /// For this reason.
    #[must_use]
    pub const fn new(fault: KeyedFault) -> Self {
        Self { fault }
    }

    /// Why.
    #[must_use]
    pub const fn fault(&self) -> KeyedFault {
        self.fault
    }

    /// To be sent again in so long: for one that is [in flight](KeyedFault::InFlight).
    #[must_use]
    pub fn again_in(self, delay: Duration) -> Error {
        Error::from(self).with_retry_after(delay)
    }
}

impl fmt::Display for KeyedRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for KeyedRefused {}

/// This request was not done: what is said of another with its key is no news of it.
impl From<KeyedRefused> for Error {
    fn from(refused: KeyedRefused) -> Self {
        Self::new(Kind::Invalid, refused).with_delivery(Delivery::NotSent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_its_fault_is() {
        for (fault, text) in [
            (KeyedFault::Missing, "the header `Idempotency-Key` is missing"),
            (KeyedFault::Mismatch, "this `Idempotency-Key` is that of another request"),
        ] {
            assert_eq!(KeyedRefused::new(fault).to_string(), text);
        }
    }
}
