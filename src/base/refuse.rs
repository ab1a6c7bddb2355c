//! How a server says no.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::body::BodyTooLarge;
use super::error::Error;
use super::grpc::GrpcStatus;
use super::hop;
use super::keyed::{KeyedFault, KeyedRefused};
use super::kind::Kind;
use super::limited::RateLimited;
use super::retry_after::{PUSHBACK, Pushback, RetryAfter};
use super::token::TokenRefused;
use super::wire::InvalidTimeout;

/// A few bytes noted from a request before it was handed on, so that it can still be refused when it is gone.
/// [`Refuse`] is handed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// The method was HEAD or CONNECT, whose answers have no body.
    pub without_body: bool,
    /// The method was CONNECT: after a success, what was its connection is a tunnel.
    pub connect: bool,
    /// It was a gRPC call, judged by its `content-type`.
    pub grpc: bool,
}

impl Asked {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        Self { grpc: kind.is_some_and(is_grpc), ..Self::of_method(request.method()) }
    }

    /// As much of it as says when the answer is over.
    #[inline]
    pub(crate) fn of_method(method: &Method) -> Self {
        let connect = *method == Method::CONNECT;
        Self { without_body: connect || *method == Method::HEAD, connect, grpc: false }
    }
}

/// `application/grpc`, alone or with a message format or a parameter behind it. Not gRPC-Web, whose answers differ.
pub(super) fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// Turns a refusal into a response.
///
/// ```
/// use bytes::Bytes;
/// use http::{Response, StatusCode};
/// use stonework::base::{Asked, Error, Refuse};
///
/// #[derive(Clone)]
/// struct Teapot;
/// impl Refuse for Teapot {
///     fn refuse(&self, _asked: Asked, _error: &Error) -> Response<Bytes> {
///         Response::builder().status(StatusCode::IM_A_TEAPOT).body("no".into()).unwrap()
///     }
/// }
/// # let _ = Teapot;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot say how a request is refused",
    label = "this has to make a response of an error",
    note = "`stonework::base::Problem` can; or a type with `impl stonework::base::Refuse`"
)]
pub trait Refuse {
    /// The response to a request that was refused with `error`.
    fn refuse(&self, asked: Asked, error: &Error) -> Response<Bytes>;
}

/// The default refusal: problem details in JSON (RFC 9457), or `grpc-status` to a gRPC call.
///
/// | kind | status | gRPC status |
/// |---|---|---|
/// | [`Timeout`](Kind::Timeout) | 504 | 4, `DEADLINE_EXCEEDED` |
/// | [`CircuitOpen`](Kind::CircuitOpen), [`NoEndpoint`](Kind::NoEndpoint), [`Overload`](Kind::Overload) | 503 | 14, `UNAVAILABLE` |
/// | [`Overload`](Kind::Overload), where a [rate limit](super::RateLimited) refused | 429 | 8, `RESOURCE_EXHAUSTED` |
/// | [`Body`](Kind::Body), [`Invalid`](Kind::Invalid) | 400 | 3, `INVALID_ARGUMENT` |
/// | [`Invalid`](Kind::Invalid), where it was for a [token](super::TokenRefused) | 401, 403 or 400 | 16, `UNAUTHENTICATED`, or 7, `PERMISSION_DENIED` |
/// | [`Invalid`](Kind::Invalid), where it was for an [`Idempotency-Key`](super::KeyedFault) | 409, 422 or 400 | see there |
/// | [`Body`](Kind::Body), where it was [too large](super::body::BodyTooLarge) | 413 | 8, `RESOURCE_EXHAUSTED` |
/// | [`Body`](Kind::Body), where the [server](crate::server) waited for it for too long | 408 | 4, `DEADLINE_EXCEEDED` |
/// | [`Connect`](Kind::Connect), [`Transport`](Kind::Transport) | 502 | 14, `UNAVAILABLE` |
/// | any other | 500 | 13, `INTERNAL` |
///
/// [`Error::retry_after`] becomes `Retry-After`, rounded up to whole seconds, and for gRPC `grpc-retry-pushback-ms`. A
/// refusal because of overload that has no such advice asks [not to be tried again here](super::DO_NOT_RETRY). Neither
/// the error's sources nor anything of the request is shown, but for the name of a
/// [timeout header](super::TimeoutHeader) or an `Idempotency-Key` that cannot be read.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "a unit struct that will stay one")]
pub struct Problem;

impl Refuse for Problem {
    fn refuse(&self, asked: Asked, error: &Error) -> Response<Bytes> {
        let mut response = if asked.grpc { grpc_answer(error) } else { problem(error) };
        let headers = response.headers_mut();
        match error.retry_after() {
            Some(delay) => {
                headers.insert(header::RETRY_AFTER, RetryAfter::header_value(delay));
                if asked.grpc {
                    headers.insert(PUSHBACK, Pushback::header_value(delay));
                }
            }
            // Nobody tries again what is too large.
            None if (error.kind() == Kind::Overload || error.forbids_retry()) && !is_too_large(error) => {
                hop::forbid_retry(headers, asked.grpc);
            }
            None => {}
        }
        if let Some(refused) = token(error) {
            headers.insert(header::WWW_AUTHENTICATE, refused.challenge());
        }
        if asked.without_body {
            *response.body_mut() = Bytes::new();
        }
        response
    }
}

/// The body of a request did not come in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body took too long")]
pub(crate) struct BodyTooSlow;

/// A request does not say whom it is for as it has to: its answer says so, and has this among its extensions.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misaddressed(pub(crate) &'static str);

fn is_too_slow(error: &Error) -> bool {
    error.kind() == Kind::Body && error.cause::<BodyTooSlow>().is_some()
}

fn is_too_large(error: &Error) -> bool {
    error.kind() == Kind::Body && error.cause::<BodyTooLarge>().is_some()
}

fn token(error: &Error) -> Option<&TokenRefused> {
    if error.kind() == Kind::Invalid { error.cause() } else { None }
}

fn keyed(error: &Error) -> Option<KeyedFault> {
    let refused: Option<&KeyedRefused> = if error.kind() == Kind::Invalid { error.cause() } else { None };
    refused.map(KeyedRefused::fault)
}

/// The type of a problem that draft-ietf-httpapi-ratelimit-headers gives to a used up quota.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

fn problem(error: &Error) -> Response<Bytes> {
    let status = match error.kind() {
        Kind::Body if is_too_large(error) => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Body if is_too_slow(error) => StatusCode::REQUEST_TIMEOUT,
        Kind::Overload if error.cause::<RateLimited>().is_some() => StatusCode::TOO_MANY_REQUESTS,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::CircuitOpen | Kind::NoEndpoint | Kind::Overload => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Body | Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Connect | Kind::Transport => StatusCode::BAD_GATEWAY,
        Kind::Other => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let status = token(error).map_or(status, TokenRefused::status);
    let status = keyed(error).map_or(status, KeyedFault::status);
    let title = status.canonical_reason().unwrap_or_default();
    // All texts are ours and hold nothing that JSON would have to escape; nor has the name of a limit.
    let (kind, violated) = match error.cause::<RateLimited>() {
        Some(limited) => (QUOTA_EXCEEDED, format!(r#","violated-policies":["{}"]"#, limited.policy())),
        None => (keyed(error).map_or("about:blank", KeyedFault::problem_type), String::new()),
    };
    let body = format!(
        r#"{{"type":"{kind}","title":"{title}","status":{},"detail":"{}"{violated}}}"#,
        status.as_u16(),
        detail(error)
    );
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A trailers-only answer: gRPC reads the status from the head when there is no message.
fn grpc_answer(error: &Error) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let status = match error.kind() {
        Kind::Invalid if token(error).is_some_and(|refused| refused.status() == StatusCode::FORBIDDEN) => {
            GrpcStatus::PermissionDenied
        }
        Kind::Invalid if token(error).is_some() => GrpcStatus::Unauthenticated,
        Kind::Body if is_too_large(error) => GrpcStatus::ResourceExhausted,
        Kind::Body if is_too_slow(error) => GrpcStatus::DeadlineExceeded,
        Kind::Overload if error.cause::<RateLimited>().is_some() => GrpcStatus::ResourceExhausted,
        kind => GrpcStatus::from(kind),
    };
    let status = keyed(error).map_or(status, KeyedFault::grpc_status);
    headers.insert("grpc-status", HeaderValue::from(status.code()));
    // gRPC wants a percent sign escaped; no text of ours has one, unless a header is named so.
    let message = HeaderValue::try_from(detail(error).replace('%', "%25"));
    headers.insert("grpc-message", message.unwrap_or_else(|_| HeaderValue::from_static(error.kind().text())));
    response
}

/// The kind, or what is known better: how large a body may be, or of a timeout header that cannot be read, which it is and why. Its value
/// is not shown.
fn detail(error: &Error) -> Cow<'static, str> {
    if let Some(refused) = token(error) {
        return Cow::Borrowed(refused.detail());
    }
    if let Some(fault) = keyed(error) {
        return Cow::Owned(fault.to_string());
    }
    if error.kind() == Kind::Body {
        if let Some(too_large) = error.cause::<BodyTooLarge>() {
            return Cow::Owned(too_large.to_string());
        }
        if let Some(too_slow) = error.cause::<BodyTooSlow>() {
            return Cow::Owned(too_slow.to_string());
        }
    }
    #[cfg(feature = "server")]
    if let Some(Misaddressed(how)) = error.cause() {
        return Cow::Borrowed(how);
    }
    match error.cause::<InvalidTimeout>() {
        Some(invalid) => Cow::Owned(invalid.to_string()),
        None if error.cause::<RateLimited>().is_some() => Cow::Borrowed("the quota is used up"),
        None => Cow::Borrowed(error.kind().text()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn advice_is_rounded_up_so_that_an_obedient_client_is_not_refused_again() {
        let error = Error::new(Kind::Overload, "full").with_retry_after(Duration::from_millis(1_001));
        let response = Problem.refuse(Asked::default(), &error);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
    }

    #[test]
    fn a_refusal_says_when_to_come_back_or_not_to_come_back_here() {
        let grpc = Asked { grpc: true, ..Asked::default() };
        let refused = |asked, kind, advice: Option<u64>| {
            let error = Error::new(kind, "no");
            Problem.refuse(
                asked,
                &match advice {
                    Some(millis) => error.with_retry_after(Duration::from_millis(millis)),
                    None => error,
                },
            )
        };
        let marked = |response: &Response<Bytes>| response.headers().contains_key(super::super::DO_NOT_RETRY);
        assert!(marked(&refused(Asked::default(), Kind::Overload, None)));
        assert!(!marked(&refused(Asked::default(), Kind::Overload, Some(1))), "it says when");
        assert!(!marked(&refused(Asked::default(), Kind::Timeout, None)), "another try may be quicker");
        assert_eq!(refused(grpc, Kind::Overload, None).headers()["grpc-retry-pushback-ms"], "-1");
        assert_eq!(refused(grpc, Kind::Overload, Some(1_500)).headers()["grpc-retry-pushback-ms"], "1500");
        let last = Problem.refuse(Asked::default(), &Error::new(Kind::Transport, "no").without_retry());
        assert!(marked(&last));
    }

    #[test]
    fn a_problem_is_json_that_names_the_status_and_shows_no_source() {
        let error = Error::new(Kind::Timeout, "secret");
        let response = Problem.refuse(Asked::default(), &error);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(json["status"], 504);
        assert_eq!(json["detail"], "the call ran out of time");
        assert!(!json.to_string().contains("secret"));
    }

    #[test]
    fn a_grpc_call_is_refused_with_a_grpc_status() {
        let request = Request::post("/").header("content-type", "application/grpc+proto").body(()).unwrap();
        let response = Problem.refuse(Asked::of(&request), &Error::new(Kind::Timeout, "x"));
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "4");
        assert!(response.body().is_empty());
    }

    #[test]
    fn only_grpc_itself_is_taken_for_grpc() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+json", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web+proto", false),
            ("application/grpcurl", false),
            ("application/json", false),
        ] {
            let request = Request::post("/").header("content-type", kind).body(()).unwrap();
            assert_eq!(Asked::of(&request).grpc, grpc, "{kind}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let request = Request::head("/").body(()).unwrap();
        let response = Problem.refuse(Asked::of(&request), &Error::new(Kind::Overload, "x"));
        assert!(response.body().is_empty());
    }

    #[test]
    fn a_grpc_call_is_told_by_its_status_what_was_wrong() {
        let asked = Asked { grpc: true, ..Asked::default() };
        let cases = [
            (Error::new(Kind::Body, BodyTooSlow), "4", "the body took too long"),
            (
                Error::new(Kind::Body, BodyTooLarge::of(9)),
                "8",
                "the body is larger than the limit of 9 bytes",
            ),
            (Error::new(Kind::Body, "broken"), "3", Kind::Body.text()),
            #[cfg(feature = "limit")]
            (RateLimited::new(None, 0, None).into(), "8", "the quota is used up"),
            (Error::new(Kind::Overload, "full"), "14", Kind::Overload.text()),
        ];
        for (error, status, message) in cases {
            let response = Problem.refuse(asked, &error);
            assert_eq!(response.headers()["grpc-status"], status, "{error:#}");
            assert_eq!(response.headers()["grpc-message"], message, "{error:#}");
        }
    }
}
