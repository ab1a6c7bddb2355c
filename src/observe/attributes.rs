//! Decides what a span says. Nothing here waits, locks or reads a clock, and nothing of a request gets into a span but
//! through here.

use std::any::{Any, type_name};

use http::{Method, Request, StatusCode};
use tracing::level_filters::LevelFilter;
use tracing::{Span, debug_span, field};

use crate::base::{BoxError, Call, Error, Kind, TraceContext};

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Call,
    Attempt,
}

pub(super) fn open<B>(about: About, request: &Request<B>) -> Span {
    // Without this the values are read for the `log` crate, where that is switched on, also if nobody listens to that either.
    if LevelFilter::current() < LevelFilter::DEBUG {
        return Span::none();
    }
    match about {
        About::Call => debug_span!(
            target: "stonework",
            "call",
            otel.kind = "client",
            http.request.method = method(request.method()),
            url.scheme = request.uri().scheme_str(),
            server.address = request.uri().host(),
            server.port = request.uri().port_u16(),
            trace_id = TraceContext::current().map(|trace| field::display(trace.trace_id())),
            http.response.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
        ),
        About::Attempt => debug_span!(
            target: "stonework",
            "attempt",
            otel.kind = "client",
            http.request.method = method(request.method()),
            url.scheme = request.uri().scheme_str(),
            server.address = request.uri().host(),
            server.port = request.uri().port_u16(),
            http.request.resend_count = resend_count(request),
            trace_id = told(request).map(|trace| field::display(trace.trace_id())),
            span_id = told(request).map(|trace| field::display(trace.span_id())),
            http.response.status_code = field::Empty,
            error.type = field::Empty,
            otel.status_code = field::Empty,
        ),
    }
}

/// Any text can be a method. Only those that everybody knows are shown, so that a peer cannot make up new values.
pub(super) fn method(method: &Method) -> &'static str {
    match *method {
        Method::CONNECT => "CONNECT",
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn resend_count<B>(request: &Request<B>) -> Option<u32> {
    let before = Call::of(request.extensions()).attempt() - 1;
    (before > 0).then_some(before)
}

/// What the next hop is told, if it is told anything.
fn told<B>(request: &Request<B>) -> Option<TraceContext> {
    TraceContext::of(request.headers())?.ok()
}

pub(super) fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_client_error() || status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
}

pub(super) fn failed<E: 'static>(span: &Span, error: &E) {
    if span.is_disabled() {
        return;
    }
    span.record("error.type", error_type(error));
    span.record("otel.status_code", "ERROR");
}

pub(super) fn dropped(span: &Span) {
    span.record("error.type", "dropped");
    span.record("otel.status_code", "ERROR");
}

/// What kind of error it is, if it is one of ours or a boxed one with one of ours inside; else what type it has.
pub(super) fn error_type<E: 'static>(error: &E) -> &'static str {
    let error: &dyn Any = error;
    let kind = match error.downcast_ref::<Error>() {
        Some(ours) => Some(ours.kind()),
        None => error.downcast_ref::<BoxError>().and_then(|boxed| Error::kind_in(&**boxed)),
    };
    kind.map_or(type_name::<E>(), Kind::name)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// An error of others, around one of ours.
    #[derive(Debug, thiserror::Error)]
    #[error("foreign")]
    struct Foreign(#[source] Error);

    #[test]
    fn a_method_that_everybody_knows_is_shown_as_it_is() {
        for known in ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"] {
            assert_eq!(method(&known.parse().unwrap()), known);
        }
        assert_eq!(method(&"get".parse().unwrap()), "_OTHER");
    }

    #[test]
    fn an_error_is_told_by_its_kind_and_a_foreign_one_by_its_type() {
        assert_eq!(error_type(&Error::new(Kind::Timeout, "x")), "timeout");
        let boxed: BoxError = Error::new(Kind::Connect, "x").into();
        assert_eq!(error_type(&boxed), "connect");
        let inside: BoxError = Foreign(Error::new(Kind::Overload, "x")).into();
        assert_eq!(error_type(&inside), "overload");
        assert_eq!(error_type(&io::Error::other("x")), "std::io::error::Error");
    }

    #[test]
    fn a_method_of_ones_own_is_not_shown() {
        assert_eq!(method(&Method::PATCH), "PATCH");
        assert_eq!(method(&Method::from_bytes(b"SECRET").unwrap()), "_OTHER");
    }
}
