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
//! *Not covered:* a response body that is still streaming after its head arrived. *Not for:* work that must be
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
//! *Errors:* an [`Error`](crate::base::Error) of kind `Timeout`, at whose end stands
//! [`Elapsed`](crate::base::Elapsed) with the phase; or whatever the inner service said. *Panics:* when polled outside
//! a Tokio runtime with timers. *Cancellation:* dropping the response future drops the call inside; nothing is left
//! running. *Readiness and cloning:* a clone starts with nothing reserved and no clock running.

mod attempt;
mod future;
mod layer;
mod service;

pub use self::attempt::{AttemptFuture, AttemptTimeout};
pub use self::future::ResponseFuture;
pub use self::layer::{AttemptTimeoutLayer, TimeoutLayer};
pub use self::service::Timeout;
