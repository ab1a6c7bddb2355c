//! What is counted of each request, by the names that OpenTelemetry gives it.

use std::borrow::Cow;
use std::time::Duration;

use metrics::{Label, SharedString, Unit, describe_gauge, describe_histogram, gauge, histogram};

use super::record::{Record, seconds};

pub(super) const DURATION: &str = "http.server.request.duration";
pub(super) const ACTIVE: &str = "http.server.active_requests";
pub(super) const REQUEST_SIZE: &str = "http.server.request.body.size";
pub(super) const RESPONSE_SIZE: &str = "http.server.response.body.size";

pub(super) fn active(record: &Record, change: f64) {
    gauge!(ACTIVE, of_method(record)).increment(change);
}

pub(super) fn count(record: &Record, error: Option<Cow<'static, str>>, took: Duration) {
    let labels = labels(record, error);
    if let Some(size) = record.request_size {
        histogram!(REQUEST_SIZE, labels.clone()).record(size as f64);
    }
    histogram!(RESPONSE_SIZE, labels.clone()).record(record.response_size as f64);
    histogram!(DURATION, labels).record(seconds(took));
}

fn of_method(record: &Record) -> Vec<Label> {
    let mut labels = Vec::with_capacity(8);
    labels.push(Label::from_static_parts("http.request.method", record.method));
    if let Some(scheme) = record.scheme {
        labels.push(Label::from_static_parts("url.scheme", scheme));
    }
    labels
}

fn labels(record: &Record, error: Option<Cow<'static, str>>) -> Vec<Label> {
    let mut labels = of_method(record);
    let mut add = |name: &'static str, value: SharedString| labels.push(Label::new(name, value));
    if let Some(route) = &record.route {
        add("http.route", SharedString::from_shared(route.shared()));
    }
    if let Some(version) = record.version {
        add("network.protocol.version", SharedString::const_str(version));
    }
    if let Some(status) = record.status {
        add("http.response.status_code", SharedString::from_owned(status.as_str().to_owned()));
    }
    if let Some(status) = record.grpc_status {
        add("rpc.grpc.status_code", SharedString::from_owned(status.code().to_string()));
    }
    if let Some(error) = error {
        add("error.type", error.into());
    }
    labels
}

pub(crate) fn describe() {
    describe_histogram!(DURATION, Unit::Seconds, "How long requests took, to the ends of their answers.");
    describe_gauge!(ACTIVE, Unit::Count, "Requests that are being answered.");
    describe_histogram!(REQUEST_SIZE, Unit::Bytes, "The sizes of the bodies of requests that say them.");
    describe_histogram!(RESPONSE_SIZE, Unit::Bytes, "As much of the bodies of answers as was handed on.");
}
