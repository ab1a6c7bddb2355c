//! How long may it take?
//!
//! Two layers, for the two questions that are often mixed up:
//!
//! * [`TimeoutLayer`] limits the **whole call**: readiness, every attempt, and every pause between attempts. Put it
//!   outside `retry`. It is always ready, and waits for the inner service inside the call, where its clock is running;
//!   an unbounded wait for readiness is how calls hang although "both timeouts are set".
//! * [`AttemptTimeoutLayer`] limits **one attempt**. Put it inside `retry`. It covers the readiness that `retry` waits
//!   for before an attempt, and then the attempt.
//!
//! Both put their deadline in scope, so an attempt is cut to what is left of the call, and so is every client call made
//! by a server's handler below a [`TimeoutLayer`]: see [`base::deadline`](crate::base::deadline).
//!
//! *Not covered:* a response body that is still streaming after its head arrived. For bodies there are
//! [`ResponseBodyTimeoutLayer`] on a client and [`RequestBodyTimeoutLayer`] on a server, with [`BodyLimits`] on silence, on
//! the whole, and on the slowest rate. *Not for:* work that must be
//! finished whether or not anybody waits: what runs inside a call is dropped with it. Start that with `tokio::spawn`,
//! which leaves the deadline behind too.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use stonework::timeout::TimeoutLayer;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! let never = service_fn(|_: &'static str| std::future::pending::<Result<(), std::io::Error>>());
//! let mut service =
//!     ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_millis(250))).service(never);
//!
//! let error = service.ready().await.unwrap().call("anyone there?").await.unwrap_err();
//! assert!(error.is_timeout());
//! # }
//! ```
//!
//! On a server a timeout is an answer, 504 by default, and the inner error type stays:
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use stonework::timeout::TimeoutLayer;
//!
//! let limit = TimeoutLayer::new(Duration::from_secs(10)).answer();
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(limit);
//! # let _ = app;
//! ```
//!
//! # From one process to the next
//!
//! Two more layers carry the deadline over the wire, so that nobody works for a caller who has gone: in a header,
//! `grpc-timeout` or one of your own with milliseconds ([`TimeoutHeader`](crate::base::TimeoutHeader)), as what is left
//! and not as an instant, since clocks differ.
//!
//! * [`SendDeadlineLayer`], in a client: each request says how much time is left, less a margin for the way back. Put it
//!   inside `retry`, right above the transport.
//! * [`ReceiveDeadlineLayer`], in a server: what the request says is in scope and ends the call, so the clients in the
//!   handler are cut to it and pass it on. The server's own limit is [said there](ReceiveDeadlineLayer::at_most), or stands next to it, on either side.
//!
//! The assembled client and server have them; [`detached`](crate::base::deadline::detached) work leaves the deadline behind, and says nothing of it.
//!
//! ## With tonic
//!
//! On a server, `Server::builder().layer(…)` takes both kinds of limit, with `.answer()`: what runs out of time is
//! `DEADLINE_EXCEEDED`. Tonic's server and its channel obey `grpc-timeout` too, and call that `CANCELLED`. So give
//! [`ReceiveDeadlineLayer::margin`] a few milliseconds there, to answer first; and on a client let one function say
//! outermost what a failure is:
//!
//! ```
//! use std::time::Duration;
//! use http::Request;
//! use stonework::Error;
//! use stonework::base::body::ReplayBody;
//! use stonework::base::{ClassifyGrpc, GrpcStatus, Kind, TimeoutHeader};
//! use stonework::retry::RetryLayer;
//! use stonework::timeout::{SendDeadlineLayer, TimeoutLayer};
//! use tonic::{Status, body::Body, client::Grpc, transport::Endpoint};
//! use tower::ServiceBuilder;
//!
//! fn status(error: Error) -> Status {
//!     // Tonic's channel obeys the header too, and takes that for a cancelled call.
//!     let late = error.is_timeout() || error.cause::<tonic::TimeoutExpired>().is_some();
//!     let code = match error.kind() {
//!         _ if late => GrpcStatus::DeadlineExceeded,
//!         // Tonic knows its own errors.
//!         Kind::Other => return Status::from_error(error.into()),
//!         kind => kind.into(),
//!     };
//!     Status::new(code.code().into(), error.to_string())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let channel = Endpoint::from_static("http://orders.internal").connect_lazy();
//! let channel = ServiceBuilder::new()
//!     .map_err(status)
//!     .map_request(|request: Request<Body>| request.map(ReplayBody::new))
//!     .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!     .layer(RetryLayer::new().classify(ClassifyGrpc))
//!     .layer(SendDeadlineLayer::new(TimeoutHeader::Grpc))
//!     .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
//!     .service(channel);
//! let client = Grpc::new(channel); // or a generated client
//! # let _ = client;
//! # }
//! ```
//!
//! An outermost `.answer()` is not enough there: when a retry below it runs out of time, the retry says so first, by an
//! error that knows how many attempts were made, and tonic takes errors that it does not know for `UNKNOWN`.
//!
//! # What holds for all
//!
//! *Errors:* an [`Error`](crate::base::Error) of kind `Timeout`, at whose end stands
//! [`Elapsed`](crate::base::Elapsed) with the phase; or whatever the inner service said. *Panics:* when polled outside
//! a Tokio runtime with timers. *Cancellation:* dropping the response future drops the call inside; nothing is left
//! running. *Readiness and cloning:* a clone starts with nothing reserved and no clock running. An attempt timeout whose
//! call has no time left gives back what readiness had reserved below, by putting a clone in the service's place; hence
//! `S: Clone`.

mod attempt;
mod body;
mod deadline_layer;
mod future;
mod layer;
mod receive;
mod send;
mod service;
mod wire;

pub use self::attempt::{AttemptFuture, AttemptTimeout};
pub use self::body::{
    BodyLimits, BodyTimeoutFuture, InvalidBodyLimits, RequestBodyTimeout, RequestBodyTimeoutLayer,
    ResponseBodyTimeout, ResponseBodyTimeoutLayer, TimedBody,
};
pub use self::deadline_layer::{ReceiveDeadlineLayer, SendDeadlineLayer};
pub use self::future::ResponseFuture;
pub use self::layer::{AttemptTimeoutLayer, TimeoutLayer};
pub use self::receive::ReceiveDeadline;
pub use self::send::{SendDeadline, SendDeadlineFuture};
pub use self::service::Timeout;
