//! What does the server tell, for as long as it lasts?
//!
//! [`EventSource`] reads Server-Sent Events (WHATWG HTML, section 9.2, "Server-sent events") over any service, and asks for the rest when the stream
//! breaks off: with `Last-Event-ID`, so that a server that numbers its events loses none and repeats none.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), stonework::Error> {
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, Uri};
//! use stonework::Body;
//! use stonework::sse::EventSource;
//! use tower::service_fn;
//!
//! // Each stream has one event, and breaks off after it.
//! let server = service_fn(|request: Request<Body>| async move {
//!     let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
//!     let response = Response::builder().header("content-type", "text/event-stream");
//!     Ok::<_, Infallible>(match last {
//!         3 => response.status(204).body(Body::empty()),
//!         _ => response.body(Body::from(format!("id: {}\ndata: tick\n\nid: 99\ndata: half of a li", last + 1))),
//!     }.unwrap())
//! });
//!
//! let mut events = EventSource::new(server, Uri::from_static("http://feed.test/"));
//! let mut seen = Vec::new();
//! while let Some(event) = events.next().await {
//!     let event = event?;
//!     assert_eq!((event.name(), event.data()), ("message", "tick"));
//!     seen.push(event.id().to_owned());
//! }
//! assert_eq!(seen, ["1", "2", "3"]);
//! # Ok(()) }
//! ```
//!
//! Customized, over the assembled client, for a server that is often quiet:
//!
//! ```
//! # #[cfg(feature = "client")] {
//! use std::time::Duration;
//!
//! use http::{HeaderName, HeaderValue, Uri};
//! use stonework::client::{Client, ClientSettings};
//! use stonework::sse::{EventSource, EventSourceSettings};
//! use stonework::timeout::BodyLimits;
//!
//! # fn make() -> Result<(), stonework::client::InvalidClient> {
//! let quiet = Duration::from_secs(300);
//! let client = ClientSettings::new().body(BodyLimits::new().idle(quiet));
//! let client = Client::builder().settings(client).build()?;
//! let events = EventSource::new(client, Uri::from_static("http://feed.test/orders"))
//!     .settings(EventSourceSettings::new().idle_timeout(quiet))
//!     .header(HeaderName::from_static("x-shop"), HeaderValue::from_static("7"));
//! # let _ = events;
//! # Ok(()) }
//! # make().unwrap();
//! # }
//! ```
//!
//! # When it asks again
//!
//! | what happens | and then |
//! |---|---|
//! | the stream ends, breaks off, or is [silent](EventSourceSettings::idle_timeout) for too long | it asks again, with the id of the last event that was whole |
//! | no connection; no answer in that time; 429; 5xx but 501 | it asks again, later each time, and not before `Retry-After`; [ten times](EventSourceSettings::attempts) in a row, then it is an error |
//! | 204 | the server has no more to say: the end, with no error |
//! | any other status; 200 with another content type; a request that cannot be sent | the end, with an error: to ask again would not help |
//! | an event that is [too large](EventSourceSettings::max_event) | the end, with an error: it would come again |
//!
//! Before it asks again it waits for as long as the server said with `retry:`, or
//! [three seconds](EventSourceSettings::reconnect_after), and then for up to as long again by chance, so that those who lost one server do not come
//! back together; after each failure in a row for up to twice as long, [within bounds](EventSourceSettings::max_backoff).
//!
//! *A difference from browsers:* they take any status but 200 for the end. Here those that pass by themselves do not end a stream, since
//! there is nobody to reload the page.
//!
//! *Where:* outside of all layers. Its request is a GET, so [`retry`](crate::retry) below may repeat it, until the head is there. A limit on a whole call ends with the
//! head of the answer, so it leaves the stream alone; limits on the time of bodies have to be longer than the pauses of the server, or the
//! stream is asked for more often than it need be. A [`Deadline`](crate::base::Deadline) in scope is left behind: a stream outlives the call that
//! began it. *Not for:* requests other than GET, which must not be repeated on a guess.
//! *Errors:* an [`Error`](crate::Error), with [`NotAStream`] or [`EventTooLarge`] in its chain, or what the service failed with last.
//! *Panics:* outside a Tokio runtime with timers; when the service does. *Cancellation:* [`next`](EventSource::next) may be dropped at any
//! time; nothing is lost. Dropping the source closes the stream. *Readiness and cloning:* each request goes through a clone of the service, which is
//! waited for; a source is not cloned. *Costs:* a box for each connection.
//!
//! [`EventParser`] is its deciding part alone, for bytes that come from elsewhere.

mod answer;
mod error;
mod parse;
mod pause;
mod settings;
mod source;

pub use self::error::{EventTooLarge, NotAStream};
pub use self::parse::{EventParser, ServerEvent};
pub use self::settings::{EventSourceSettings, InvalidEventSource};
pub use self::source::EventSource;
