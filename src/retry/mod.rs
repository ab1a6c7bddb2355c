//! Once more?
//!
//! [`RetryLayer`] sends a request again when that may help and can do no harm. Harm is decided first: from the request,
//! before anything has failed.
//!
//! | how far the request got | idempotent method | with an `Idempotency-Key` | any other |
//! |---|---|---|---|
//! | it never left, or the peer proved that it did not process it | again | again | again |
//! | it may have been received, or a response says "failed" | again | again, same key | **never** |
//!
//! Idempotent are GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110, section 9.2.2). A single request may say
//! otherwise through [`Call`](crate::base::Call).
//!
//! *Whether it may help* is what a [`Classify`](crate::base::Classify) says: by default after an error, 429, and any
//! 5xx but 501. *When:* after a pause that grows exponentially, with full jitter, and never before the server's
//! `Retry-After`. *How often:* three attempts in all, and no more retries than the shared
//! [`Budget`](crate::base::Budget) allows, so that an outage is not made worse by its clients. No attempt and no pause
//! begins that cannot end before the [`Deadline`](crate::base::Deadline): then the last answer is returned at once.
//!
//! A request with an `Idempotency-Key` that is answered 409 with `Retry-After` is sent again, too, although 409 is no failure: another one with its
//! key [is being done](crate::base::KeyedFault::InFlight), often the attempt before it. It comes back then, within the same bounds, for what that one was answered.
//!
//! *At what cost:* a retry takes tokens from the budget when it is scheduled, by how the attempt before it failed: none if
//! nothing was sent, most after a timeout ([`RetryCosts`]). If it is cancelled they go back.
//!
//! *Of several, one:* retries multiply, so they know of each other. Of two layers in one stack the outer one acts, by its
//! own classifier and budget, unless only the inner one may repeat the request. What a retry inside gave up on is not begun again, whatever lies between: a handler, an SDK, [`retry()`](retry) itself.
//! Across hops a header says which attempt a request is; [`HopLayer`] on the server reads it, and tells the caller when
//! there is no point in asking again. Whoever asks [not to be tried again](crate::base::DO_NOT_RETRY) is not.
//!
//! A request that died on a connection which the peer had just closed, or that the peer refused unprocessed, is sent
//! once more at once, unless the server says when to come back: that replay is neither counted nor charged.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use stonework::retry::RetryLayer;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! static SEEN: AtomicU32 = AtomicU32::new(0);
//! let flaky = service_fn(|_: Request<Full<Bytes>>| async {
//!     let status = match SEEN.fetch_add(1, Ordering::Relaxed) {
//!         0 => StatusCode::BAD_GATEWAY,
//!         _ => StatusCode::OK,
//!     };
//!     Ok::<_, std::io::Error>(Response::builder().status(status).body(String::new()).unwrap())
//! });
//! let mut service = ServiceBuilder::new().layer(RetryLayer::new()).service(flaky);
//!
//! let request = Request::get("/").body(Full::default()).unwrap();
//! let response = service.ready().await.unwrap().call(request).await.unwrap();
//! assert_eq!((response.status(), SEEN.load(Ordering::Relaxed)), (StatusCode::OK, 2));
//! # }
//! ```
//!
//! Customized, with settings that could as well come from a file, and a budget shared by all clients of one service:
//!
//! ```
//! use std::time::Duration;
//! use stonework::base::Budget;
//! use stonework::retry::{RetryLayer, RetrySettings};
//!
//! let budget = Budget::default();
//! let settings = RetrySettings::new().attempts(5).max_retry_after(Duration::from_secs(5));
//! let layer = RetryLayer::from(settings).budget(budget.clone());
//! # let _ = layer;
//! ```
//!
//! *Bodies:* the layer takes [`Replay`](crate::base::body::Replay) bodies: bytes in memory, or
//! [`ReplayBody`](crate::base::body::ReplayBody) around any other, which keeps up to 64 KiB of what it reads. A request
//! whose body is larger is sent once; that is never an error.
//! The body of a response that is thrown away is read during the pause, up to 64 KiB and for a second, so that its
//! connection can be used again.
//! *Where:* inside the limit on the whole call, outside the limit on an attempt. *Not for:* anything that is not an HTTP
//! request: for that there is [`retry`].
//! *Errors:* an [`Error`](crate::base::Error) that says how many attempts were made; where the last attempt was
//! answered, that answer is returned instead, whatever its status, with [`Attempts`](crate::base::Attempts) if there was
//! more than one. *Panics:* when it has to wait outside a Tokio
//! runtime with timers. *Cancellation:* dropping the future drops the attempt or the pause, and a retry that was charged
//! but not begun goes back to the budget. *Readiness and cloning:* it is ready when the inner service is, and makes
//! the first attempt with that; each further one with a clone, once that is ready. A clone shares the budget and the settings.
//! *Events:* [`AttemptStarted`](crate::base::Event::AttemptStarted),
//! [`AttemptEnded`](crate::base::Event::AttemptEnded), [`RetryScheduled`](crate::base::Event::RetryScheduled), and
//! [`RetrySkipped`](crate::base::Event::RetrySkipped) with the reason, for every failed attempt that is not repeated.
//! An attempt that is dropped with its call ends as [`Dropped`](crate::base::Ending::Dropped); a pause ends untold.
//!
//! *Failures in the middle of a response body* come when `RetryLayer` has long passed the head on. Two layers deal with
//! them: [`CollectLayer`], inside `retry`, makes an attempt include reading a small body; [`ResumeLayer`], outside,
//! asks for the rest of a large one.

mod alone;
mod attempts;
mod collect;
mod future;
mod hop;
mod layer;
mod progress;
mod resume;
mod service;
mod settings;
mod verdict;

pub use self::alone::{Always, Policy, When, retry};
pub use self::collect::{Collect, CollectFuture, CollectLayer, Collected};
pub use self::future::ResponseFuture;
pub use self::hop::{Hop, HopFuture, HopLayer};
pub use self::layer::RetryLayer;
pub use self::resume::{
    Changed, EndedEarly, InvalidResume, NotResumed, Resume, ResumeFuture, ResumeLayer, ResumeSettings,
    Resumed,
};
pub use self::service::Retry;
pub use self::settings::{InvalidRetry, RetryCosts, RetrySettings};
