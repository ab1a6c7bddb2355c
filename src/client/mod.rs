//! The assembled HTTP client.
//!
//! A [`Client`] is a pool of connections with the layers of this crate above it, in the one order that keeps their
//! promises, whatever the order of the setters:
//!
//! | layer, outermost first | what it does | default | why it stands there |
//! |---|---|---|---|
//! | decompression | asks for encoded responses, and decodes them | off, behind a feature | outermost, so that all below deals with the bytes that were sent: a range is one of those |
//! | resume | asks for the rest of a large response that broke off | off | outside, so that each further request is a call of its own |
//! | span | makes the call visible | `DEBUG` | outside the deadline, so that it says what ran out of time |
//! | deadline | limits the whole call | 30 s | outside `retry`, so that it covers all attempts and the pauses |
//! | fallback | asks another service, or makes a value, when a call has failed | none | outside `retry`, so that what another attempt can help is helped so |
//! | redirects | asks where the server says that the answer is | up to 10 | outside `retry`, so that each hop has attempts of its own; inside the deadline, which they share, and the fallback, which is for the call as a whole |
//! | retry | sends again what may be sent again | 3 attempts, on a budget | outside the attempt, so that the next one is new |
//! | hedge | sends a second time what takes longer than nearly all others | off | inside `retry`, which sees one result; outside the limit on an attempt, so that each of those under way has its own |
//! | span | makes each attempt visible | `DEBUG` | |
//! | auth | sends it with a token, and once more with another if that is refused | off, behind a feature | inside `retry`, so that each attempt has a token that is good then; outside of the limit on an attempt, so that the wait for a token does not count as the server's slowness |
//! | attempt timeout | limits one attempt | 10 s | inside `retry`, so that one silent server leaves time for another try |
//! | collect | reads small bodies within the attempt | where a request asks | inside the limit on the attempt, so that one that breaks off is an attempt that failed |
//! | throttle | does not send what would most likely be refused | off | inside of `retry`, so that each attempt counts; outside of the circuit, which does not count what is not sent |
//! | server quotas | keeps to what servers say of their limits | off | inside of the throttle, which does not count what is kept back so |
//! | breaker | stops calling a host while too many calls to it fail | on, by host and port | inside of the limit on an attempt, so that it sees each of them, and of `retry`, so that it sees what that repeats |
//! | response body | limits the time of bodies | 30 s of silence | where the bodies come from |
//! | transport | sends it over a [connection](self#connections) | 5 s to connect, 5 s to wait for one | |
//!
//! [`Client::explain`] prints this stack with the settings in force.
//!
//! ```
//! use serde::Deserialize;
//! use stonework::client::Client;
//! use stonework::testing::{Reaction, ScriptedServer, in_order, respond};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     id: u32,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
//! let server = ScriptedServer::start(in_order([
//!     Reaction::read_all_then_close(), // has a bad moment
//!     respond(200).body(r#"{ "id": 7 }"#).keep_alive(),
//! ]))
//! .await;
//!
//! let client = Client::new();
//! let answer = client.get(server.uri("/orders/7")).send().await?.error_for_status()?;
//! assert_eq!(answer.attempts(), 2);
//! let order: Order = answer.json().await?;
//! assert_eq!(order.id, 7);
//! # Ok(()) }
//! ```
//!
//! Customized, with settings that could as well come from a file, and a budget shared by all clients of one service:
//!
//! ```
//! use std::time::Duration;
//! use stonework::base::{Budget, TracingObserver};
//! use stonework::client::{Client, ClientSettings};
//! use stonework::retry::RetrySettings;
//!
//! let budget = Budget::default();
//! let settings = ClientSettings::new()
//!     .deadline(Duration::from_secs(5))
//!     .attempt_timeout(Duration::from_secs(2))
//!     .retry(RetrySettings::new().attempts(2));
//! let client = Client::builder()
//!     .settings(settings)
//!     .budget(budget.clone())
//!     .observer(TracingObserver)
//!     .build()?;
//! # let _ = client;
//! # Ok::<(), stonework::client::InvalidClient>(())
//! ```
//!
//! It is also a [`Service`](tower_service::Service) of `http::Request<B>` with any body that is `Send`, for layers of one's own around it
//! and for generated clients on top of it.
//!
//! *Not for:* HTTP/3. It keeps no cookies and no answers.
//!
//! # Connections
//!
//! Each clone sends over the same connections:
//!
//! - There are at most [100 to a host](ClientSettings::max_connections_per_host) and [1024 in all](ClientSettings::max_connections). Requests
//!   for which there is none wait in the order in which they came, [up to five seconds](ClientSettings::pool_timeout), and a connection that
//!   becomes free goes to the first of them. A connection is made for a request, and belongs to all who wait: whoever gives up takes it
//!   away from nobody, and why it failed is told to each.
//! - HTTP/2 is spoken where a host over TLS chooses it, and everywhere [if you say so](ClientSettings::http2_only), as for gRPC. As long as nothing
//!   is known of a host, one connection is made; another one, when as many requests are under way as the host allows on the first. A host that
//!   says goodbye finishes what it has; what it says that it has not processed is [`Refused`](crate::base::Delivery::Refused), and is sent again whatever its
//!   method. A connection that goes silent is noticed within 30 s, also while nobody uses it, and left as soon as a call has timed out on it.
//! - Over HTTP/1.1 a connection is used again when the answer has been read to its end; of one that nobody reads, the rest is read if it is
//!   short. It is [let go](ClientSettings::idle_timeout) before its server closes it, as far as one can know. Where a call ends early, its
//!   connection is closed, so that what comes late is not taken for the next answer.
//! - A request that a connection gives back unsent, since the connection was closed at that moment, goes out over another one, whatever its method; at most
//!   twice, and counted by [`connections`](Client::connections).
//! - Where a connection breaks that had been kept, or says nothing until the time of the attempt is over, the attempt that follows goes over a
//!   new one, since the others may be as dead: one that lies idle makes room for it at the limit of connections, and if none can be made, the
//!   next attempt takes what there is.
//! - No connection is used for longer than [five minutes](ClientSettings::connection_lifetime), so that the client follows its hosts to new
//!   addresses.
//! - A large body waits until the server [says that it wants it](ClientSettings::expect_continue).
//!
//! With the feature `tls`, `https` works with the roots of Mozilla or [your own](crate::connect::ClientTls). A
//! [connector](ClientBuilder::connector) brings those, proxies, resolvers, and connections over something else than TCP. An answer with status 101
//! carries the connection for `hyper::upgrade::on`; over HTTP/2 there is none, so whoever asks for it has a client of its own that is
//! [`http1_only`](ClientSettings::http1_only).
//!
//! # What the limits of time cover
//!
//! The limits on the call and on an attempt end when the response head has arrived, unless the body is
//! [collected](RequestBuilder::collect_within) within the attempt. A body that is read afterwards may be silent for 30 s at
//! a time and is limited in no other way in time; [`BodyLimits`](crate::timeout::BodyLimits) has more, the
//! [deadline of the call](crate::timeout::BodyLimits::until_deadline) among them. It is limited in size by [`bytes`](Response::bytes),
//! [`text`](Response::text) and [`json`](Response::json).
//!
//! # Services with several endpoints
//!
//! With the feature `balance`, what goes to an origin can go to one of several endpoints: see `ClientBuilder::upstream`, and `ClientSettings::upstream`
//! for a file. The balancer stands inside of `retry`, so that the next attempt goes to an endpoint that was not tried, and outside of circuits and
//! limits, which belong to endpoints.
//!
//! # Redirects
//!
//! Up to ten redirects are [followed](ClientSettings::redirects), as RFC 9110, section 15.4, describes them:
//!
//! | status | the next request |
//! |---|---|
//! | 303 | a GET without a body; a HEAD stays one |
//! | 301, 302 | the same; but only where the first was a POST. Other methods stay, with their body |
//! | 307, 308 | the same method with the same body |
//!
//! - A body is sent once more if it can be: bytes in memory, streams of up to 64 KiB, a
//!   [`Reopen`](crate::base::body::Reopen) of any size, and nothing of a request that is [never to be
//!   retried](RequestBuilder::never_retry). Otherwise the redirect itself is the answer. Where the body stays behind, so do the fields
//!   that speak of it, and the idempotency key.
//! - To another origin, that is, if scheme, host or port differ, go no `authorization`, `proxy-authorization`, `www-authenticate`,
//!   `cookie`, `idempotency-key`, `host` and `referer`, and no field with a value that is
//!   [sensitive](http::HeaderValue::set_sensitive); nor do they come back when a later redirect leads home. All other fields go along, so
//!   mark what is secret. No `referer` is ever made.
//! - From `https` to `http` nothing is sent, nor to another scheme, nor to a URI with user information: these are errors with an
//!   [`InvalidRedirect`].
//! - An answer without `location` is for the caller, as are 300, 304 and 305.
//!
//! Each hop is a call below `retry`: it has attempts of its own, each with its own limit, and all hops have one deadline. An error of a
//! later hop is never [`NotSent`](crate::base::Delivery::NotSent): the first request was answered. [`Response::redirected`] says where
//! the answer was found.
//!
//! ```
//! use stonework::client::{Client, ClientSettings};
//! use stonework::testing::{ScriptedServer, respond};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = ScriptedServer::start(|request| match request.target.as_str() {
//!     "/old" => respond(308).header("location", "new").keep_alive(),
//!     _ => respond(200).keep_alive(),
//! })
//! .await;
//! let client = Client::builder().settings(ClientSettings::new().redirects(3)).build()?;
//! let answer = client.put(server.uri("/old")).body("content").send().await?;
//! let redirected = answer.redirected().expect("it was");
//! assert_eq!((redirected.count(), redirected.uri().path()), (1, "/new"));
//! # Ok(()) }
//! ```
//!
//! # Decompression
//!
//! With the feature `decompression`, and where the setting of that name says so, requests ask for `zstd`, `br`, `gzip` or `deflate`, and what comes so is decoded while it is read:
//! - `content-encoding` and `content-length` are taken off, several codings are undone in their order, trailers stay.
//!   [`max_response_body`](ClientSettings::max_response_body) limits what was decoded,
//!   [`collect_within`](RequestBuilder::collect_within) what was sent.
//! - Whoever sets `accept-encoding`, or `range`, gets what the server sends; so does a HEAD. Answers without a body, with status 206 and
//!   with an unknown coding are handed out as they come.
//! - A download that is [resumed](ClientSettings::resume) is asked for and decoded as one.
//! - Pieces of up to 16 KiB are made as they are read, and none ahead. zstd keeps at most 8 MiB for each body, brotli 16; three codings at
//!   most are undone.
//! - A body that is not what it says fails with `NotDecoded`. It is no longer a part of the attempt, so it is not retried.
//!
//! # Tokens
//!
//! With the feature `oauth`, a client that is given a [layer for tokens](ClientBuilder::bearer) gets a token for each attempt that goes to one of
//! that layer's origins. A redirect to another origin carries none; one that leads back has the token again. The source of tokens asks with another client, for
//! which a `Client` will do.
//!
//! # Errors
//!
//! Everything fails with an [`Error`](crate::Error):
//!
//! | what happened | [`kind`](crate::Error::kind) | [`delivery`](crate::Error::delivery) |
//! |---|---|---|
//! | the name is unknown, the connection is refused, not trusted, or takes too long | `Connect`, with [`NotConnected`] and [`ConnectError`](crate::connect::ConnectError) or [`Elapsed`](crate::base::Elapsed) | `NotSent` |
//! | too many requests wait for a connection | `Overload`, with [`ConnectionsExhausted`] | `NotSent` |
//! | the request waited for too long for a connection | `Timeout`, with [`ConnectionsExhausted`] | `NotSent` |
//! | connections closed before the request was written to them, three in a row | `Transport` | `NotSent` |
//! | the peer says that it has not processed the stream (RFC 9113, section 8.7) | `Transport` | `Refused` |
//! | a connection closed or was reset before the response head was complete, or the response is not HTTP | `Transport` | `Unknown` |
//! | the request body failed | `Body`, with [`RequestBodyFailed`] | `Unknown` |
//! | a [throttle](ClientSettings::throttle) or a [server's quota](ClientSettings::server_quotas) holds it back | `Overload`, with [`Throttled`](crate::limit::Throttled) or [`QuotaUsedUp`](crate::limit::QuotaUsedUp) | `NotSent` |
//! | the circuit of the host is open | `CircuitOpen` | `NotSent` |
//! | a limit of time ran out | `Timeout`, with [`Elapsed`](crate::base::Elapsed), which names what was waited for | `Unknown`; `NotSent` if there was no connection yet, `Answered` if it was the body's |
//! | the request cannot be sent as it is | `Invalid`, with [`InvalidRequest`] | `NotSent` |
//! | a redirect too many, or one that is never followed | `Other`, with [`TooManyRedirects`] or [`InvalidRedirect`] | `Answered` |
//! | the response body is too large, ended early, cannot be decoded, or is no text or JSON | `Body` | `Answered` |
//! | [`error_for_status`](Response::error_for_status) | `Overload` or `Other`, with [`Status`] | `Answered` |
//!
//! The kind is that of the last attempt; how far the request got is that of the attempt that got furthest, so a call whose last attempt met an
//! open circuit is `Unknown` or `Answered` where one before it was.
//!
//! A connection that the peer closes just as a request is sent on it fails as `Unknown`: nobody here can tell whether
//! the request was processed. A GET is then sent again, on its own; a POST without a key is not.
//! A response that arrives while the request body is still being sent is the answer; the rest of the body is dropped
//! with the connection, and over HTTP/2 its stream is reset, once that answer is over.
//!
//! Neither errors nor the `Debug` of any type here show more of a URI than its host, nor a header or a body.
//!
//! *Panics:* outside a Tokio runtime with network and timers, when a request is sent. *Cancellation:* dropping a call
//! drops the attempt, and with it its connection over HTTP/1.1 at once, or its stream over HTTP/2; the server may
//! still do what it was asked. *Background:* each connection has one task, and over HTTP/2 one more for each request that is under way; one
//! that is being made has one, and so has a short answer that nobody reads; the client has one while connections lie idle. They end with the
//! last clone of the client and the responses that still use a connection, or with the runtime. *Readiness and cloning:* it is always
//! ready; a clone shares connections, settings and the retry budget. *Events:* those of [`retry`](crate::retry) and of the
//! [`breaker`](crate::breaker), `ConnectionOpened`, `ConnectFailed`, `ConnectionTaken` and `RequestReplayed`.

mod auth;
mod basic;
mod builder;
mod connections;
#[cfg(feature = "decompression")]
mod decode;
#[cfg(feature = "balance")]
mod discovery;
mod explain;
#[cfg(feature = "serde")]
mod file;
mod informational;
#[cfg(all(feature = "balance", feature = "health"))]
mod inspection;
mod instead;
mod invalid;
mod limits;
mod per_host;
mod redirect;
mod request;
mod response;
mod restraint;
mod service;
mod settings;
mod stacks;
mod told;
mod transport;
mod unified;
mod unreadable;
#[cfg(feature = "balance")]
mod upstreams;

pub use self::builder::ClientBuilder;
use self::connections::HttpVersions;
pub use self::connections::{ConnectionStats, ConnectionsExhausted, NotConnected};
#[cfg(feature = "decompression")]
#[cfg_attr(docsrs, doc(cfg(feature = "decompression")))]
pub use self::decode::NotDecoded;
use self::informational::Informational;
pub use self::invalid::InvalidClient;
pub use self::redirect::{InvalidRedirect, Redirected, TooManyRedirects};
pub use self::request::RequestBuilder;
pub use self::response::Response;
pub use self::service::{Client, ResponseFuture};
pub use self::settings::ClientSettings;
pub use self::unreadable::{NotJson, NotText, Status};
#[cfg(feature = "balance")]
#[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
pub use self::upstreams::{Endpoint, UpstreamSettings};
pub use crate::exchange::{InvalidRequest, RequestBodyFailed};
