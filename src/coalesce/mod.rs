//! Does somebody ask for this already?
//!
//! When something that many want is slow, or has just gone out of a cache, all of them ask for it at the same moment.
//! [`CoalesceLayer`] makes one call of requests that say the same while it is under way, and gives all of them its answer.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), stonework::Error> {
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Empty, Full};
//! use stonework::coalesce::CoalesceLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! let calls = Arc::new(AtomicU32::new(0));
//! let counted = Arc::clone(&calls);
//! let slow = service_fn(move |_: Request<Empty<Bytes>>| {
//!     counted.fetch_add(1, Ordering::Relaxed);
//!     async {
//!         tokio::time::sleep(Duration::from_secs(1)).await;
//!         Ok::<_, stonework::Error>(Response::new(Full::<Bytes>::from("a report")))
//!     }
//! });
//! let service = CoalesceLayer::new().layer(slow);
//!
//! let ask = || service.clone().oneshot(Request::get("/report").body(Empty::new()).unwrap());
//! let (one, other) = tokio::join!(ask(), ask());
//! assert_eq!(one?.into_body().collect().await.unwrap().to_bytes(), "a report");
//! assert_eq!(other?.into_body().collect().await.unwrap().to_bytes(), "a report");
//! assert_eq!(calls.load(Ordering::Relaxed), 1);
//! # Ok(()) }
//! ```
//!
//! # Who shares a call
//!
//! *Requests:* GET and HEAD without a body, which are the same in their method, their whole URI and **every header field**, but for a
//! few that say nothing about the answer ([`ignored_headers`](CoalesceSettings::ignored_headers)). So whoever sends another
//! `Authorization`, `Cookie`, key of an API, `Range` or condition never shares; nobody has to say which field tells callers apart. Who
//! sends `Cache-Control: no-cache` or `no-store` wants a call of their own, and so does who wants to upgrade.
//!
//! *Answers:* what is for one caller is given to one, and the others ask themselves: with `Set-Cookie`, which would give all the same
//! session; with `Cache-Control: private` or `no-store` (RFC 9111, section 5.2.2); with `Vary: *`; and to who differs in an ignored field
//! that `Vary` names (RFC 9110, section 12.5.5). Anything else is shared, whatever its status: a failure too, since asking once more for
//! each is what a service that fails needs least.
//!
//! *Bodies:* when the head is there and nobody shares it, it is passed on, and its body streams as ever. Else the body is read, up to 64
//! KiB, before all get it. A longer one goes to one of them, as it comes, and the others ask themselves: no answer is ever cut short.
//!
//! *Who leaves* leaves the call to the others, also the one who began it: whoever is left goes on with the same call. With the last one
//! it is dropped. A call for all is a part of nobody's time: what is inside sees no [`Deadline`](crate::base::Deadline), each caller leaves at their own,
//! and it is a limit inside, such as one on an attempt, that ends the call for all.
//!
//! *Where:* outside of [`retry`](crate::retry), so that one call for all is what is tried again; inside the limit on the whole call, which
//! is each caller's own. *Not for:* answers that are to be kept when nobody waits any more: that is a cache; nor for streams that never
//! end, which would be read up to the limit when two ask for them. [`Call`](crate::base::Call) and other extensions of a request are
//! those of the one that began the call.
//! *Errors:* an [`Error`](crate::base::Error). If the call for several fails, each has one of the same kind and delivery, with a
//! [`SharedCallFailed`] in its chain; no request is handed back. *Panics:* when the inner service does, for whoever drives the call at
//! that moment; the others get an error. *Cancellation:* see above. *Readiness and cloning:* always ready; the inner service is waited for in the
//! call, by a clone. Clones share calls.
//! *Costs:* the key, which is a copy of the head; a box for the call; and no task.

mod body;
mod decide;
mod error;
mod flight;
mod future;
mod layer;
mod service;
mod settings;
mod work;

pub use self::body::Coalesced;
pub use self::error::SharedCallFailed;
pub use self::future::CoalesceFuture;
pub use self::layer::CoalesceLayer;
pub use self::service::CoalesceService;
pub use self::settings::{CoalesceSettings, InvalidCoalesce};
