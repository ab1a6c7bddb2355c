//! Decides what is said of a request that a server was sent. Nothing here waits, locks or reads a clock, and nothing of a request gets into a
//! log or a label but through here.

use std::borrow::Cow;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Request, StatusCode, Version};

use crate::base::body::BodyEnd;
use crate::base::{Asked, ClientAddress, GrpcStatus, Route};
use crate::observe::attributes;

/// What is known of a request and of its answer.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// `_OTHER`, if it is no standard one.
    pub(super) method: &'static str,
    pub(super) scheme: Option<&'static str>,
    pub(super) version: Option<&'static str>,
    pub(super) grpc: bool,
    /// Only if it is to be written down.
    pub(super) path: Option<PathAndQuery>,
    pub(super) route: Option<Route>,
    pub(super) client: ClientAddress,
    /// As many bytes as the request says that its body has.
    pub(super) request_size: Option<u64>,
    pub(super) response_size: u64,
    pub(super) status: Option<StatusCode>,
    pub(super) grpc_status: Option<GrpcStatus>,
    /// What the service failed with.
    pub(super) error: Option<&'static str>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client left, or the server was stopped, before the answer was over.
    Aborted,
    /// The answer was handed on to its end.
    Complete,
    /// The service failed, or the body of its answer did.
    Failed,
}

impl Ended {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

impl From<BodyEnd> for Ended {
    fn from(end: BodyEnd) -> Self {
        match end {
            BodyEnd::Abandoned => Self::Aborted,
            BodyEnd::Complete => Self::Complete,
            BodyEnd::Failed => Self::Failed,
        }
    }
}

impl Record {
    pub(super) fn begin<B: http_body::Body>(
        request: &Request<B>,
        scheme: Option<&'static str>,
        with_path: bool,
    ) -> Self {
        let asked = Asked::of(request);
        let uri = request.uri();
        Self {
            method: attributes::method(request.method()),
            scheme: scheme.or_else(|| known_scheme(uri.scheme_str())),
            version: version(request.version()),
            grpc: asked.grpc,
            path: if with_path { uri.path_and_query().cloned() } else { None },
            route: Route::of(request.extensions()).cloned(),
            client: ClientAddress::of(request.extensions()),
            request_size: request.body().size_hint().exact(),
            response_size: 0,
            status: None,
            grpc_status: None,
            error: None,
        }
    }

    /// The name of what went wrong, if the server or the connection is to blame: a status of 500 and more, a status of gRPC that says the
    /// same, what the service failed with, or how the request ended.
    pub(super) fn error_type(&self, ended: Ended) -> Option<Cow<'static, str>> {
        if let Some(error) = self.error {
            return Some(Cow::Borrowed(error));
        }
        match ended {
            Ended::Aborted => return Some(Cow::Borrowed("aborted")),
            Ended::Failed => return Some(Cow::Borrowed("body")),
            Ended::Complete => {}
        }
        if let Some(status) = self.grpc_status.filter(|status| is_servers_fault(*status)) {
            return Some(Cow::Owned(status.to_string()));
        }
        let status = self.status.filter(StatusCode::is_server_error)?;
        Some(Cow::Owned(status.as_str().to_owned()))
    }
}

/// As OpenTelemetry's conventions for gRPC servers have it.
const fn is_servers_fault(status: GrpcStatus) -> bool {
    matches!(
        status,
        GrpcStatus::Unknown
            | GrpcStatus::DeadlineExceeded
            | GrpcStatus::Unimplemented
            | GrpcStatus::Internal
            | GrpcStatus::Unavailable
            | GrpcStatus::DataLoss
    )
}

/// Any text can be a scheme. Only those that a server has are shown.
fn known_scheme(scheme: Option<&str>) -> Option<&'static str> {
    match scheme? {
        "http" => Some("http"),
        "https" => Some("https"),
        _ => None,
    }
}

const fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// To the microsecond, in seconds: nobody needs more, and digits cost.
pub(super) fn seconds(took: Duration) -> f64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn record(request: http::request::Builder) -> Record {
        Record::begin(&request.body(Full::<bytes::Bytes>::from("12345")).unwrap(), None, false)
    }

    #[test]
    fn versions_are_named_as_the_conventions_name_them() {
        let all = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2, Version::HTTP_3, Version::HTTP_09];
        assert_eq!(all.map(version), [Some("1.0"), Some("1.1"), Some("2"), Some("3"), None]);
    }

    #[test]
    fn of_a_request_only_fixed_words_are_kept() {
        let odd = record(Request::builder().method("SECRET").uri("secret://secret@host/secret?secret"));
        assert_eq!(
            (odd.method, odd.scheme, odd.version, odd.request_size),
            ("_OTHER", None, Some("1.1"), Some(5))
        );
        assert!(!format!("{odd:?}").contains("secret"), "{odd:?}");
        let plain = record(Request::head("https://host/"));
        assert_eq!((plain.method, plain.scheme), ("HEAD", Some("https")));
    }

    #[test]
    fn an_error_is_what_the_server_or_the_connection_is_to_blame_for() {
        let grpc = || record(Request::post("/").header("content-type", "application/grpc"));
        for (status, grpc_status, error, ended, expected) in [
            (Some(200), None, None, Ended::Complete, None),
            (Some(404), None, None, Ended::Complete, None),
            (Some(503), None, None, Ended::Complete, Some("503")),
            (Some(200), None, None, Ended::Aborted, Some("aborted")),
            (None, None, None, Ended::Aborted, Some("aborted")),
            (Some(200), None, None, Ended::Failed, Some("body")),
            (None, None, Some("timeout"), Ended::Failed, Some("timeout")),
            (Some(200), Some(GrpcStatus::Ok), None, Ended::Complete, None),
            (Some(200), Some(GrpcStatus::NotFound), None, Ended::Complete, None),
            (Some(200), Some(GrpcStatus::Unavailable), None, Ended::Complete, Some("UNAVAILABLE")),
        ] {
            let status = status.map(|code| StatusCode::from_u16(code).unwrap());
            let record = Record { status, grpc_status, error, ..grpc() };
            assert_eq!(record.error_type(ended).as_deref(), expected, "{status:?} {grpc_status:?} {ended:?}");
        }
    }

    #[test]
    fn a_duration_is_in_seconds_to_the_microsecond() {
        assert_eq!(seconds(Duration::from_nanos(1_500_999)), 0.0015);
        assert_eq!(seconds(Duration::ZERO), 0.0);
    }
}
