//! The other side of the wire: any tower service, an axum router included, over HTTP/1.1 and HTTP/2.
//!
//! A [`Server`] takes connections, installs the timers that a server needs, and stops without cutting off what it has
//! begun. The service it is given sees `http::Request<`[`Body`](crate::Body)`>` and may answer with any body of
//! [`Bytes`](bytes::Bytes). Without TLS, HTTP/2 is spoken to clients that begin with it ("prior knowledge", RFC 9113,
//! section 3.3); with TLS (`ServerTls`, behind the feature `tls`) it is what clients are offered first.
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
//! Customized, with settings that could as well come from a file, probes answered, and stopped by signals:
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//! use http::{Request, Response};
//! use stonework::Body;
//! use stonework::health::{Health, Impact};
//! use stonework::server::{Server, ServerSettings, ShutdownReport};
//! use tower::service_fn;
//!
//! async fn run() -> Result<ShutdownReport, Box<dyn std::error::Error>> {
//!     let health = Health::builder().readiness("disk", Impact::Hard, || async { true }).build()?;
//!     let settings = ServerSettings::new().drain_timeout(Duration::from_secs(20));
//!     let server = Server::builder().settings(settings).health(health).stop_on_signals();
//!     let service = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
//!     Ok(server.bind("127.0.0.1:8080").await?.serve(service).await)
//! }
//! # let _ = run;
//! ```
//!
//! # What clients cannot do to it
//!
//! | a client that | has so long, unless the settings say otherwise | and then |
//! |---|---|---|
//! | connects and says nothing, or sends a head byte by byte | 10 s | its connection is closed |
//! | does not end its TLS handshake | 10 s, and then 10 s for the head | its connection is closed |
//! | is idle between two requests | 75 s | its connection is closed; over HTTP/2 it is told first |
//! | sends nothing more of a body while the handler waits for it | 30 s; for ever where a stream of gRPC is being answered | the handler's read fails; an answer of 400 or 500 becomes 408 |
//! | takes nothing of its answer | 30 s | its connection is closed; over HTTP/2, its request alone |
//! | answers no ping (HTTP/2) | 20 s | its connection is closed |
//! | keeps its connection for ever | an hour or so | it is told to open another one; what it has begun goes on |
//!
//! | a client that sends | is refused |
//! |---|---|
//! | a head of more than 64 KiB, or 100 fields | with 431 |
//! | a request that names no host, more than one, or something else in its place (RFC 9112 section 3.2, RFC 9113 section 8.3.1) | with 400; over HTTP/1 its connection is closed after that |
//! | more than 100 requests at once on a connection (HTTP/2) | with `REFUSED_STREAM` |
//! | requests that it takes back at once, again and again ("rapid reset") | its connection is closed |
//! | more than 4 096 connections from one address or IPv6 network of 64 bits | its connection is closed |
//! | more than 16 384 connections, with all others | it waits in the queue of the port |
//!
//! [`ServerSettings::streaming`] is for those whose connections are meant to stay. How long a handler takes is its own affair,
//! unless there is a [deadline](ServerSettings::deadline). An idle HTTP/1 connection gives its buffers back after
//! a second, and costs no more than a new one.
//!
//! # What a request meets
//!
//! Outermost first, whatever the order of setters; [`Server::explain`] prints it with the settings in force.
//!
//! | | what it does | by default |
//! |---|---|---|
//! | health | answers [probes](ServerBuilder::health) that name a host, whatever comes below, a full server included | off |
//! | names | gives it a [request id](ServerSettings::request_id_from) and a [place in a trace](ServerSettings::trace_from), both in scope for clients in the handler | on |
//! | observe | [a span](ServerSettings::request_span), [a line](ServerSettings::access_log), perhaps [with its path](ServerSettings::access_log_paths), `metrics` | off |
//! | address | finds out [who asks](ServerSettings::trusted_proxies) | the peer |
//! | deadline | refuses it or ends it on [time](ServerSettings::deadline): the server's, or that of a [caller](ServerSettings::deadline_from) who says less | callers' |
//! | in flight | [limits](ServerSettings::concurrency) how many there are at once | 16 384 |
//! | rate | limits each [client](ServerSettings::rate_limit) | off |
//! | body | limits its [time](ServerSettings::request_body) and its [size](ServerSettings::max_request_body) | 30 s of silence |
//! | tokens | lets in those whose token is good: `ServerBuilder::jwt`, `ServerBuilder::introspect` | off |
//! | rate | limits each [sender](ServerSettings::principal_rate_limit) | off |
//! | keys | does keyed requests once: `ServerBuilder::idempotency` | off |
//!
//! Cheap refusals come before expensive checks, and what is refused is observed, too. What is switched on from the size of bodies downwards is behind
//! boxes, of which there are none without it.
//!
//! # What handlers see
//!
//! [`Peer`](crate::base::Peer), [`ClientAddress`](crate::base::ClientAddress), [`RequestId`](crate::base::RequestId),
//! [`TraceContext`](crate::base::TraceContext) and [`Shutdown`] are extensions of each request; axum takes them as `Extension<Peer>`. Upgrades, such
//! as to a WebSocket, are handed on; the upgraded connection belongs to its handler alone, but it counts as a connection, and a
//! shutdown waits for it. Over HTTP/2 what becomes of CONNECT is a stream beside others: their connection is not idle while there is one. The content of an answer to HEAD, or with the status 204 or 304, is not sent, over HTTP/2 either. A
//! handler that panics is answered for with 500, which has the names that the request was given, and told of; a panic in the body of an answer, which has begun, ends its connection
//! (HTTP/1) or its stream (HTTP/2) and is logged. A service that fails instead of answering loses its connection or its stream, too;
//! layers in the mode `.answer()` answer instead.
//!
//! # TLS
//!
//! Behind the feature `tls`, with rustls:
//!
//! ```
//! # #[cfg(feature = "tls")] {
//! use stonework::server::{Server, ServerTls};
//!
//! async fn run(service: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//!     let tls = ServerTls::from_pem_files("tls.crt", "tls.key")?;
//!     Server::builder().tls(tls).bind("[::]:443").await?.serve(service).await;
//!     Ok(())
//! }
//! # let _ = run;
//! # }
//! ```
//!
//! The certificate can be replaced while the server runs, which `ServerTls` shows. A handshake has the task of its connection, and its
//! place in the crowd; a shutdown waits for one no longer than for a client that says nothing. Whoever speaks no TLS is
//! sent an alert and closed. A client hears of the end of its connection (`close_notify`), except where that is cut off: so an answer
//! that ends with its connection cannot be shortened unseen.
//!
//! *Shutdown:* see [`Server::serve`]. *Errors:* only listening can fail. When no connection can be accepted, for instance since
//! the process is out of file descriptors, the server waits and tries again. *Panics:* outside a Tokio runtime with network and
//! timers. *Cancellation:* dropping the future of `serve` closes the port, drops every connection and every handler.
//! *Readiness and cloning:* each request gets a clone, which is driven to readiness and then called. *Clients that leave:* a
//! handler whose client closed the connection, or reset the stream, is dropped where it waits; over HTTP/1 only once the body was
//! read. *Tasks:* one for each connection and each HTTP/2 request, owned by the future of `serve`. *Events:*
//! [`ServerPhaseChanged`](crate::base::Event::ServerPhaseChanged), [`ConnectionClosed`](crate::base::Event::ConnectionClosed),
//! [`HandlerPanicked`](crate::base::Event::HandlerPanicked).
//! *Not for:* HTTP/3; TLS that asks clients for certificates, or has a certificate for each name.

mod addressed;
mod admission;
mod answering;
mod arriving;
mod bounds;
mod brought;
mod builder;
mod connection;
mod control;
mod crowd;
mod detach;
mod error;
mod exchange;
mod explain;
#[cfg(feature = "serde")]
mod file;
mod greeting;
#[cfg(feature = "tls")]
mod handshake;
mod inside;
mod instead;
mod listener;
mod outgoing;
mod pace;
mod pieces;
mod pulse;
mod servable;
mod serve;
mod serving;
mod settings;
mod shared;
mod shutdown;
mod signals;
mod stall;
mod tasks;
mod timer;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix;
mod wire;

pub use self::builder::ServerBuilder;
pub use self::detach::{DetachFuture, DetachLayer, DetachService};
pub use self::error::{BindError, InvalidServer};
pub use self::listener::Listener;
pub use self::servable::Servable;
pub use self::serve::Server;
pub use self::serving::Serving;
pub use self::settings::ServerSettings;
pub use self::shutdown::{ServerHandle, Shutdown, ShutdownReport};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use self::tls::{InvalidTls, ServerTls};
#[cfg(unix)]
pub use self::unix::UnixSocket;
