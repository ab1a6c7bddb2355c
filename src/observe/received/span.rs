//! A span for each request.

use tracing::{Span, debug_span, field};

use super::record::Record;
use crate::base::Route;
use crate::base::context::Context;

pub(super) fn open(record: &Record, context: &Context) -> Span {
    let trace = context.trace.as_ref();
    debug_span!(
        target: "stonework",
        "request",
        otel.kind = "server",
        http.request.method = record.method,
        http.route = record.route.as_ref().map(Route::as_str),
        url.scheme = record.scheme,
        network.protocol.version = record.version,
        client.address = field::Empty,
        request_id = context.request_id.as_ref().map(crate::base::RequestId::as_str),
        trace_id = trace.map(|trace| field::display(trace.trace_id())),
        span_id = trace.map(|trace| field::display(trace.span_id())),
        http.response.status_code = field::Empty,
        rpc.grpc.status = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    )
}

pub(super) fn close(span: &Span, record: &Record, error: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(ip) = record.client.ip() {
        span.record("client.address", field::display(ip));
    }
    if let Some(route) = &record.route {
        span.record("http.route", route.as_str());
    }
    if let Some(status) = record.status {
        span.record("http.response.status_code", status.as_u16());
    }
    if let Some(status) = record.grpc_status {
        span.record("rpc.grpc.status", field::display(status));
    }
    if let Some(error) = error {
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
}
