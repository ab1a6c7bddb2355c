//! What happened?
//!
//! [`SpanLayer`] opens one [`tracing`] span for each call and one below it for each attempt, so that a call which
//! succeeded at the third try does not look like one that succeeded at once. It is put into the stack twice:
//!
//! ```
//! use stonework::observe::SpanLayer;
//! use stonework::retry::RetryLayer;
//! use tower::ServiceBuilder;
//!
//! let layers = ServiceBuilder::new()
//!     .layer(SpanLayer::call()) // once for all attempts
//!     .layer(RetryLayer::new())
//!     .layer(SpanLayer::attempt()); // once for each
//! # let _ = layers;
//! ```
//!
//! Spans carry the attributes that OpenTelemetry's conventions for HTTP clients have, and nothing that may be secret: no
//! path, no query, no user information, no header, no body.
//!
//! | attribute | on | value |
//! |---|---|---|
//! | `http.request.method` | both | the method, `_OTHER` if it is not a standard one |
//! | `server.address`, `server.port`, `url.scheme` | both | from the URI, if it says |
//! | `http.request.resend_count` | attempt | 1 for the second attempt, 2 for the third; absent from the first |
//! | `http.response.status_code` | both | the status, if there was a response |
//! | `trace_id` | both | the trace that the call belongs to, if it belongs to one; see [`PropagateLayer`] |
//! | `span_id` | attempt | its own, as the headers that are sent say it |
//! | `error.type` | both | the status from 400 on; the [`Kind`](crate::base::Kind) of an error of this crate, or of a boxed error around one, in lower case; of any other error its type; `dropped` |
//! | `otel.kind` | both | `client` |
//! | `otel.status_code` | both | `ERROR` where there is an `error.type`; else absent |
//!
//! Their target is `stonework` and their level `DEBUG`. They are for subscribers of [`tracing`]: where there is none, the `log`
//! crate is told of events, and not of spans.
//!
//! Events of layers below, and of the service, are inside the span. A subscriber that exports to OpenTelemetry gives each
//! attempt a span identifier of its own.
//!
//! [`MetricsObserver`] counts the same (feature `metrics`); [`TracingObserver`](crate::base::TracingObserver) writes
//! events instead of spans.
//!
//! *Not covered:* the response body: a span ends with the head. *Cost:* where no subscriber wants spans of level `DEBUG`, nothing is allocated, and
//! no attribute is read. *Errors, panics and readiness:* those of the inner service and of the subscriber. *Cancellation:* dropping the future
//! drops the call inside and then ends the span, which says `dropped`.
//!
//! # On a server
//!
//! Outermost first, each of them for itself or all together:
//!
//! ```
//! use axum::{Router, routing::get};
//! use stonework::observe::{AccessLogLayer, RequestIdLayer, RequestSpanLayer, RouteLayer, TraceLayer};
//!
//! let router: Router = Router::new()
//!     .route("/users/{id}", get(|| async { "hello" }))
//!     .layer(RouteLayer::matched()) // tells those outside
//!     .layer(AccessLogLayer::new()) // or `ServerMetricsLayer`
//!     .layer(RequestSpanLayer::new())
//!     .layer(TraceLayer::new())
//!     .layer(RequestIdLayer::new());
//! # let _ = router;
//! ```
//!
//! * [`RequestIdLayer`] and [`TraceLayer`] say what a request is called; [`PropagateLayer`], in a client, passes that on.
//! * [`AccessLogLayer`], [`RequestSpanLayer`] and `ServerMetricsLayer` (feature `metrics`) say what became of it, when its answer is over and not at
//!   its head: how long it took, how many bytes were handed on, and whether the client left.
//! * [`RouteLayer`] tells them the [`Route`](crate::base::Route). Of paths there are as many as clients like to make up, so no path is a label.
//! * `Prometheus` (feature `prometheus`) shows what was counted.
//!
//! The names of a request are in scope wherever its work is called or polled, as its [deadline](crate::base::deadline) is:
//! [`RequestId::current`](crate::base::RequestId::current), [`TraceContext::current`](crate::base::TraceContext::current). What is spawned does not
//! have them; [detached](crate::base::Detach) work does.

mod attributes;
mod future;
mod layer;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "prometheus")]
mod prometheus;
mod propagate;
mod received;
mod route;
mod service;
#[cfg(all(test, feature = "prometheus"))]
mod tests;

pub use self::future::SpanFuture;
pub use self::layer::SpanLayer;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::metrics::MetricsObserver;
#[cfg(feature = "prometheus")]
#[cfg_attr(docsrs, doc(cfg(feature = "prometheus")))]
pub use self::prometheus::{Prometheus, PrometheusRefused, PrometheusService};
pub use self::propagate::{Propagate, PropagateFuture, PropagateLayer, Propagation};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use self::received::ServerMetricsLayer;
pub use self::received::{
    AccessLogLayer, Exchange, Received, ReceivedFuture, RequestIdLayer, RequestSpanLayer, TraceLayer,
};
#[cfg(feature = "server")]
pub(crate) use self::received::{Log, Naming, Parts, Tracing};
pub use self::route::{RouteLayer, Routed};
pub use self::service::Spanned;
