//! A line for each request.

use std::time::Duration;

use super::record::{Ended, Record, seconds};
use crate::base::context::Context;

pub(super) fn write(
    record: &Record,
    context: Option<&Context>,
    ended: Ended,
    error: Option<&str>,
    took: Duration,
) {
    let trace = context.and_then(|context| context.trace.as_ref());
    let grpc = record.grpc_status.map(tracing::field::display);
    tracing::info!(
        target: "stonework::access",
        {
        http.request.method = record.method,
        http.route = record.route.as_ref().map(crate::base::Route::as_str),
        url.path = record.path.as_ref().map(http::uri::PathAndQuery::path),
        url.scheme = record.scheme,
        network.protocol.version = record.version,
        client.address = record.client.ip().map(tracing::field::display),
        http.request.body.size = record.request_size,
        http.response.status_code = record.status.map(|status| status.as_u16()),
        http.response.body.size = record.response_size,
        rpc.grpc.status = grpc,
        error.type = error,
        duration = seconds(took),
        ended = ended.name(),
        request_id = context.and_then(|context| context.request_id.as_ref()).map(crate::base::RequestId::as_str),
        trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
        span_id = trace.map(|trace| tracing::field::display(trace.span_id())),
        },
        "request"
    );
}
