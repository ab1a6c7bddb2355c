//! The other side of the wire: any tower service, an axum router included, over HTTP/1.1 and HTTP/2.
//!
//! A [`Server`] takes connections, installs the timers that a server needs, and stops without cutting off what it has
//! begun. The service it is given sees `http::Request<`[`Body`](crate::Body)`>` and may answer with any body of
//! [`Bytes`](bytes::Bytes). HTTP/2 is spoken without TLS, to clients that begin with it ("prior knowledge", RFC 9113,
//! section 3.3).
//!
//! ```
//! use axum::{Router, routing::get};
//! use stonework::server::{BindError, Server};
//!
//! async fn run() -> Result<(), BindError> {
//!     let router = Router::new().route("/", get(|| async { "hello" }));
//!     let server = Server::bind("127.0.0.1:0").await?;
//!     println!("listening on {}", server.local_addr());
//!     server.serve(router).await;
//!     Ok(())
//! }
//! # let _ = run;
//! ```
//!
//! Customized, with settings that could as well come from a file, and stopped by a signal:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), stonework::server::BindError> {
//! use std::convert::Infallible;
//! use std::time::Duration;
//! use http::{Request, Response};
//! use stonework::Body;
//! use stonework::server::{Server, ServerSettings};
//! use tower::service_fn;
//!
//! let service = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
//! let settings = ServerSettings::new().drain_timeout(Duration::from_secs(30));
//! let server = Server::builder().settings(settings).bind("127.0.0.1:0").await?;
//! # let signal = std::future::ready(());
//! // In a program: `tokio::signal::ctrl_c()`.
//! let report = server.serve_until(service, signal).await;
//! assert_eq!(report.aborted, 0);
//! # Ok(()) }
//! ```
//!
//! *Slow clients:* the head of a request has a limit, also before it is known which HTTP the client speaks, and so has
//! the pause between two requests; an HTTP/2 peer that no longer answers pings is gone. *Not covered:* how long a body
//! or a handler takes; put [`TimeoutLayer`](crate::timeout::TimeoutLayer)`::answer` around the handler. *Not for:* TLS.
//! *Errors:* only binding can fail. When no connection can be accepted, for instance since the process is out of file
//! descriptors, the server waits and tries again. A service that fails instead of answering loses its connection
//! (HTTP/1) or its stream (HTTP/2); layers in the mode `.answer()` answer instead. *Panics:* outside a Tokio runtime
//! with network and timers. A panic of the service ends its connection (HTTP/1) or its stream (HTTP/2) and nothing else,
//! and is logged as an error. *Cancellation:* dropping the future of `serve` closes the port, drops every connection and
//! every handler; only an upgraded connection (WebSocket) belongs to its handler alone. *Readiness and cloning:* each
//! request gets a clone, which is driven to readiness and then called. *Clients that leave:* a handler whose client
//! closed the connection, or reset the stream, is dropped where it waits; over HTTP/1 only once the body was read.

mod arriving;
mod builder;
mod connection;
mod control;
mod crowd;
mod error;
mod exchange;
#[cfg(feature = "serde")]
mod file;
mod greeting;
mod listener;
mod outgoing;
mod pace;
mod pieces;
mod pulse;
mod serve;
mod settings;
mod shared;
mod shutdown;
mod signals;
mod stall;
mod tasks;
#[cfg(unix)]
mod unix;
mod wire;

pub use self::builder::ServerBuilder;
pub use self::error::{BindError, InvalidServer};
pub use self::listener::Listener;
pub use self::serve::Server;
pub use self::settings::ServerSettings;
pub use self::shutdown::{ServerHandle, Shutdown, ShutdownReport};
#[cfg(unix)]
pub use self::unix::UnixSocket;
