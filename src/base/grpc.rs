//! gRPC: what a status code says, where it stands, and how a call that ended with it is judged.

use std::fmt;

use http::header::{HeaderMap, HeaderName};
use http::{Response, StatusCode};

use super::error::Error;
use super::kind::Kind;
use super::outcome::{Classify, Outcome, judge_error};
use super::retry_after::Pushback;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

macro_rules! statuses {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal => $outcome:ident;)*) => {
        /// A gRPC status code.
        ///
        /// It stands in the trailers, or in the head of a response that has no message ("trailers-only").
        ///
        /// ```
        /// use http::{HeaderMap, StatusCode};
        /// use stonework::base::GrpcStatus;
        ///
        /// let mut trailers = HeaderMap::new();
        /// assert_eq!(GrpcStatus::of(&trailers), None);
        /// trailers.insert("grpc-status", "14".parse().unwrap());
        /// assert_eq!(GrpcStatus::of(&trailers), Some(GrpcStatus::Unavailable));
        /// assert_eq!(GrpcStatus::Unavailable.to_string(), "UNAVAILABLE");
        ///
        /// // What a proxy says in place of a gRPC server.
        /// assert_eq!(GrpcStatus::of_http(StatusCode::BAD_GATEWAY), Some(GrpcStatus::Unavailable));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum GrpcStatus {
            $($(#[$doc])* $variant = $code,)*
        }

        impl GrpcStatus {
            /// The status with this number; [`Unknown`](Self::Unknown) if there is none.
            #[must_use]
            pub const fn from_code(code: i32) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it says about the service: see [`ClassifyGrpc`].
            #[must_use]
            pub const fn outcome(self) -> Outcome {
                match self {
                    $(Self::$variant => Outcome::$outcome,)*
                }
            }

            #[cfg(test)]
            const ALL: [Self; 17] = [$(Self::$variant),*];
        }
    };
}

statuses! {
    /// It worked.
    Ok = 0 "OK" => Success;
    /// Somebody gave the call up, as a rule its caller.
    Cancelled = 1 "CANCELLED" => Neutral;
    /// Nobody knows; also what cannot be read, and codes that nobody has defined.
    Unknown = 2 "UNKNOWN" => Failure;
    /// The request makes no sense.
    InvalidArgument = 3 "INVALID_ARGUMENT" => Success;
    /// The time was over before the work was done.
    DeadlineExceeded = 4 "DEADLINE_EXCEEDED" => Failure;
    /// There is no such thing.
    NotFound = 5 "NOT_FOUND" => Success;
    /// There is such a thing already.
    AlreadyExists = 6 "ALREADY_EXISTS" => Success;
    /// The caller may not do this.
    PermissionDenied = 7 "PERMISSION_DENIED" => Success;
    /// A quota is used up, or a resource.
    ResourceExhausted = 8 "RESOURCE_EXHAUSTED" => Overload;
    /// The system is not in the state that this needs.
    FailedPrecondition = 9 "FAILED_PRECONDITION" => Success;
    /// It conflicts with something else that is going on; to be repeated from further up, if at all.
    Aborted = 10 "ABORTED" => Success;
    /// Past the end.
    OutOfRange = 11 "OUT_OF_RANGE" => Success;
    /// There is no such method.
    Unimplemented = 12 "UNIMPLEMENTED" => Success;
    /// Something is broken.
    Internal = 13 "INTERNAL" => Failure;
    /// Not at present.
    Unavailable = 14 "UNAVAILABLE" => Failure;
    /// Data is lost or corrupt.
    DataLoss = 15 "DATA_LOSS" => Failure;
    /// Nobody knows who the caller is.
    Unauthenticated = 16 "UNAUTHENTICATED" => Success;
}

impl GrpcStatus {
    /// What these trailers say, or the head of a trailers-only response; `None` if they say nothing.
    ///
    /// [`Unknown`](Self::Unknown) for what is no number, a number without a meaning, or a field that stands there more
    /// than once.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use stonework::base::GrpcStatus;
    ///
    /// let mut trailers = HeaderMap::new();
    /// assert_eq!(GrpcStatus::of(&trailers), None);
    /// trailers.insert("grpc-status", "14".parse().unwrap());
    /// assert_eq!(GrpcStatus::of(&trailers), Some(GrpcStatus::Unavailable));
    /// ```
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(GRPC_STATUS).iter();
        let first = values.next()?;
        Some(if values.next().is_some() { Self::Unknown } else { Self::parse(first.as_bytes()) })
    }

    fn parse(value: &[u8]) -> Self {
        let add = |number: i32, digit: &u8| {
            let digit = digit.is_ascii_digit().then(|| i32::from(digit - b'0'))?;
            Some(number.saturating_mul(10).saturating_add(digit))
        };
        match value.iter().try_fold(0, add) {
            Some(number) if !value.is_empty() => Self::from_code(number),
            _ => Self::Unknown,
        }
    }

    /// What an HTTP status stands for in a response that has no `grpc-status`: something between the two peers answered.
    /// `None` for 200, which says nothing.
    ///
    /// | HTTP | gRPC |
    /// |---|---|
    /// | 400 | `INTERNAL` |
    /// | 401 | `UNAUTHENTICATED` |
    /// | 403 | `PERMISSION_DENIED` |
    /// | 404 | `UNIMPLEMENTED` |
    /// | 429, 502, 503, 504 | `UNAVAILABLE` |
    /// | any other but 200 | `UNKNOWN` |
    ///
    /// ```
    /// use http::StatusCode;
    /// use stonework::base::GrpcStatus;
    ///
    /// assert_eq!(GrpcStatus::of_http(StatusCode::BAD_GATEWAY), Some(GrpcStatus::Unavailable));
    /// assert_eq!(GrpcStatus::of_http(StatusCode::OK), None);
    /// ```
    #[must_use]
    pub const fn of_http(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            200 => return None,
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        })
    }

    /// Its number, 0 to 16.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// By its name, as the specification writes it.
impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a refusal for this reason is to a gRPC client. [`Problem`](super::Problem) answers with it.
impl From<Kind> for GrpcStatus {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Timeout => Self::DeadlineExceeded,
            Kind::CircuitOpen | Kind::Overload | Kind::Connect | Kind::NoEndpoint | Kind::Transport => {
                Self::Unavailable
            }
            Kind::Body | Kind::Invalid => Self::InvalidArgument,
            Kind::Other => Self::Internal,
        }
    }
}

/// The judgement on gRPC.
///
/// | how it ended | outcome |
/// |---|---|
/// | `OK`, `INVALID_ARGUMENT`, `NOT_FOUND`, `ALREADY_EXISTS`, `PERMISSION_DENIED`, `UNAUTHENTICATED`, `FAILED_PRECONDITION`, `OUT_OF_RANGE`, `UNIMPLEMENTED`, `ABORTED` | `Success` |
/// | `UNAVAILABLE`, `INTERNAL`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `DATA_LOSS` | `Failure` |
/// | `RESOURCE_EXHAUSTED`; `UNAVAILABLE` that says when or not to come back (`grpc-retry-pushback-ms`) | `Overload` |
/// | `CANCELLED` | `Neutral` |
/// | an error | as [`ClassifyHttp`](super::ClassifyHttp) has it |
///
/// The status is read where it stands: in the head, if the response is trailers-only; else from the HTTP status, if
/// that is not 200 ([`GrpcStatus::of_http`]); else at the end, from the trailers
/// ([`classify_trailers`](Classify::classify_trailers)). A head with 200 and no status is a success so far. So a retry
/// repeats only what failed before its first message.
///
/// Of two `retry` layers in one stack the outer one decides: give this to the outer one too, since
/// [`ClassifyHttp`](super::ClassifyHttp) takes a gRPC failure for a success, and nobody would retry.
///
/// ```
/// use http::Response;
/// use stonework::base::{Classify, ClassifyGrpc, Outcome};
/// use stonework::retry::RetryLayer;
///
/// let unavailable = Response::builder().header("grpc-status", "14").body(()).unwrap();
/// assert_eq!(ClassifyGrpc.classify(Ok(&unavailable)), Outcome::Failure);
///
/// let layer = RetryLayer::new().classify(ClassifyGrpc);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct ClassifyGrpc;

impl<B> Classify<Response<B>> for ClassifyGrpc {
    fn classify(&self, result: Result<&Response<B>, &Error>) -> Outcome {
        match result {
            Ok(response) => GrpcStatus::of(response.headers())
                .or_else(|| GrpcStatus::of_http(response.status()))
                .map_or(Outcome::Success, |status| judge(status, response.headers())),
            Err(error) => judge_error(error),
        }
    }

    fn classify_trailers(&self, trailers: &HeaderMap) -> Option<Outcome> {
        GrpcStatus::of(trailers).map(|status| judge(status, trailers))
    }
}

fn judge(status: GrpcStatus, headers: &HeaderMap) -> Outcome {
    match status.outcome() {
        Outcome::Failure if status == GrpcStatus::Unavailable && Pushback::of(headers).is_some() => {
            Outcome::Overload
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ClassifyHttp;
    use super::*;

    fn head(status: u16, grpc: Option<&str>) -> Response<()> {
        let mut response = Response::builder().status(status);
        if let Some(grpc) = grpc {
            response = response.header(GRPC_STATUS, grpc);
        }
        response.body(()).unwrap()
    }

    #[test]
    fn a_status_without_one_of_grpc_is_read_as_the_specification_says() {
        for (http, grpc) in [
            (400, GrpcStatus::Internal),
            (401, GrpcStatus::Unauthenticated),
            (403, GrpcStatus::PermissionDenied),
            (404, GrpcStatus::Unimplemented),
            (429, GrpcStatus::Unavailable),
            (502, GrpcStatus::Unavailable),
            (503, GrpcStatus::Unavailable),
            (504, GrpcStatus::Unavailable),
            (500, GrpcStatus::Unknown),
            (302, GrpcStatus::Unknown),
        ] {
            assert_eq!(GrpcStatus::of_http(StatusCode::from_u16(http).unwrap()), Some(grpc), "{http}");
        }
    }

    fn trailers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (GRPC_STATUS, value.parse().unwrap())).collect()
    }

    fn at_the_end(values: &[&str]) -> Option<Outcome> {
        Classify::<Response<()>>::classify_trailers(&ClassifyGrpc, &trailers(values))
    }

    #[test]
    fn a_refusal_that_says_when_to_come_back_is_overload_as_it_is_over_http() {
        for (status, advised, outcome) in [
            ("14", false, Outcome::Failure),
            ("14", true, Outcome::Overload),
            ("13", true, Outcome::Failure),
            ("0", true, Outcome::Success),
        ] {
            let mut response = head(200, Some(status));
            if advised {
                response.headers_mut().insert("grpc-retry-pushback-ms", "25".parse().unwrap());
            }
            assert_eq!(ClassifyGrpc.classify(Ok(&response)), outcome, "{status}, advised: {advised}");
        }
    }

    #[test]
    fn every_status_has_its_number_its_name_and_its_outcome() {
        use Outcome::{Failure, Neutral, Overload, Success};
        let table = [
            ("OK", Success),
            ("CANCELLED", Neutral),
            ("UNKNOWN", Failure),
            ("INVALID_ARGUMENT", Success),
            ("DEADLINE_EXCEEDED", Failure),
            ("NOT_FOUND", Success),
            ("ALREADY_EXISTS", Success),
            ("PERMISSION_DENIED", Success),
            ("RESOURCE_EXHAUSTED", Overload),
            ("FAILED_PRECONDITION", Success),
            ("ABORTED", Success),
            ("OUT_OF_RANGE", Success),
            ("UNIMPLEMENTED", Success),
            ("INTERNAL", Failure),
            ("UNAVAILABLE", Failure),
            ("DATA_LOSS", Failure),
            ("UNAUTHENTICATED", Success),
        ];
        assert_eq!(GrpcStatus::ALL.len(), table.len());
        for (code, (name, outcome)) in (0..).zip(table) {
            let status = GrpcStatus::from_code(code);
            assert_eq!((status.code(), status.to_string().as_str(), status.outcome()), (code, name, outcome));
            let text = code.to_string();
            assert_eq!(ClassifyGrpc.classify(Ok(&head(200, Some(&text)))), outcome, "{name} in the head");
            assert_eq!(at_the_end(&[&text]), Some(outcome), "{name} in the trailers");
        }
    }

    #[test]
    fn the_numbers_and_names_are_those_of_tonic() {
        for status in GrpcStatus::ALL {
            let theirs = tonic::Code::from(status.code());
            assert_eq!(format!("{theirs:?}"), format!("{status:?}"));
        }
    }

    #[test]
    fn a_status_that_cannot_be_read_is_unknown() {
        for value in
            ["", " ", "-1", "+1", "1.0", "17", "255", "4294967296", "99999999999999999999", "OK", "0x0"]
        {
            assert_eq!(GrpcStatus::of(&trailers(&[value])), Some(GrpcStatus::Unknown), "{value:?}");
        }
        assert_eq!(GrpcStatus::of(&trailers(&["0", "0"])), Some(GrpcStatus::Unknown));
        assert_eq!(GrpcStatus::of(&trailers(&[])), None);
        assert_eq!(
            GrpcStatus::of(&trailers(&["00"])),
            Some(GrpcStatus::Ok),
            "any number of digits is a number"
        );
    }

    #[test]
    fn a_status_in_the_head_wins_over_that_of_http_and_that_over_nothing() {
        use Outcome::{Failure, Success};
        for (status, grpc, outcome) in [
            (200, None, Success),
            (400, None, Failure),
            (401, None, Success),
            (403, None, Success),
            (404, None, Success),
            (429, None, Failure),
            (502, None, Failure),
            (503, None, Failure),
            (504, None, Failure),
            (204, None, Failure),
            (302, None, Failure),
            (500, None, Failure),
            (503, Some("0"), Success),
            (404, Some("14"), Failure),
        ] {
            assert_eq!(ClassifyGrpc.classify(Ok(&head(status, grpc))), outcome, "{status}, {grpc:?}");
        }
    }

    #[test]
    fn an_error_is_judged_as_on_http() {
        for kind in [
            Kind::Body,
            Kind::CircuitOpen,
            Kind::Connect,
            Kind::Invalid,
            Kind::NoEndpoint,
            Kind::Other,
            Kind::Overload,
            Kind::Timeout,
        ] {
            let error = Error::new(kind, "x");
            let result: Result<&Response<()>, _> = Err(&error);
            assert_eq!(ClassifyGrpc.classify(result), ClassifyHttp.classify(result), "{kind:?}");
        }
    }

    #[test]
    fn trailers_without_a_status_say_nothing_and_neither_do_those_of_http() {
        assert_eq!(at_the_end(&[]), None);
        assert_eq!(Classify::<Response<()>>::classify_trailers(&ClassifyHttp, &trailers(&["14"])), None);
        let closure = |_: Result<&Response<()>, &Error>| Outcome::Success;
        assert_eq!(closure.classify_trailers(&trailers(&["14"])), None);
    }
}
