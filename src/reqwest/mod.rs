//! The layers of this crate over a [`reqwest::Client`].
//!
//! [`Transport`] is a [`Service`](tower_service::Service) of `http::Request` around one, for the bottom of a stack:
//!
//! ```
//! use std::time::Duration;
//!
//! use http::Request;
//! use stonework::Body;
//! use stonework::retry::RetryLayer;
//! use stonework::reqwest::Transport;
//! use stonework::testing::{Reaction, ScriptedServer, in_order, respond};
//! use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
//! let server = ScriptedServer::start(in_order([
//!     Reaction::read_all_then_close(), // has a bad moment
//!     respond(200).keep_alive(),
//! ]))
//! .await;
//!
//! let client = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(10)))
//!     .layer(RetryLayer::new())
//!     .layer(AttemptTimeoutLayer::new(Duration::from_secs(2)))
//!     .service(Transport::build(reqwest::Client::builder().no_proxy())?);
//! let request = Request::get(server.uri("/orders/7")).body(Body::empty()).unwrap();
//! assert_eq!(client.oneshot(request).await?.status(), 200);
//! # Ok(()) }
//! ```
//!
//! It stands below [`AttemptTimeoutLayer`](crate::timeout::AttemptTimeoutLayer), where the assembled
//! client has its own transport. What reqwest is built with (TLS, proxies, decompression, cookies, the
//! pool) stays its own affair; three things are better left to the layers:
//!
//! * **Retries.** Reqwest repeats what the peer refused over HTTP/2, unseen and uncounted, if it can copy the body. It
//!   cannot copy the one that it gets from here, so it never does; [`RetryLayer`](crate::retry::RetryLayer) does,
//!   on its budget.
//! * **Limits of time.** Reqwest's `timeout` begins anew with each attempt and reaches into the body, and says of a
//!   request that ran out of it only that it may have been received. Leave it and `read_timeout` off. A
//!   `connect_timeout` well below that of an attempt is useful: a connection that was never made proves that nothing
//!   was sent.
//! * **Redirects.** A client that follows one makes two exchanges of one request, and its error does not say in which it
//!   failed: "no connection" may be said of the second, when the first has been processed. So [`Transport::build`] makes
//!   a client that follows none, and [`Transport::new`] takes any client and claims of no failure that nothing was
//!   processed.
//!
//! *Not covered:* reqwest keeps idle connections for 90 s; many servers close them after 5 s, and a request that meets
//! the close may have been received. `pool_idle_timeout` of 4 s avoids most of it.
//!
//! # Errors
//!
//! Everything fails with an [`Error`](crate::Error), and no error shows the URL:
//!
//! | what happened | [`kind`](crate::Error::kind) | [`delivery`](crate::Error::delivery) |
//! |---|---|---|
//! | the name is unknown, the connection is refused, or takes longer than reqwest's `connect_timeout` | `Connect` | `NotSent`* |
//! | a connection closed before the request was written to it | `Transport` | `NotSent`* |
//! | the peer reset the stream as unprocessed (RFC 9113, section 8.7) | `Transport` | `Refused`* |
//! | a connection closed or was reset before the response head was complete, or the response is not HTTP | `Transport` | `Unknown` |
//! | the request body failed | `Body`, with [`RequestBodyFailed`] | `Unknown` |
//! | one of reqwest's own limits of time ran out | `Timeout` | `Unknown` |
//! | the request cannot be sent as it is | `Invalid`, with [`InvalidRequest`] | `NotSent` |
//! | reqwest refused something else: an `https_only` client, too many redirects | `Invalid` or `Other` | `Unknown` |
//!
//! \* `Unknown` for a transport made with [`Transport::new`].
//!
//! The response is not an error, whatever its status. Its body fails with the errors of reqwest.
//!
//! *Panics:* outside a Tokio runtime with network and timers, when a request is sent. *Cancellation:* dropping a call
//! drops the attempt and lets go of its connection; the server may still do what it was asked. *Background:* the tasks of
//! the client inside, one for each connection; they end with its last clone. *Readiness and cloning:* it is always ready;
//! a clone shares the client. *Defaults:* none but those of reqwest.

mod delivery;
mod future;
mod transport;

pub use self::future::ResponseFuture;
pub use self::transport::Transport;
pub use crate::exchange::{InvalidRequest, RequestBodyFailed};
