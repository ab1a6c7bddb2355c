//! And if it fails?
//!
//! [`FallbackLayer`] asks something else when a call has failed: another service, with the same request, or a function
//! that makes a value. It acts on errors alone, that is where no response came, and only on those whose kind is in a
//! stated set; unless you say otherwise on those that mean that nobody answered: `CircuitOpen`, `Connect`, `NoEndpoint`, `Overload`,
//! `Timeout` and `Transport`. A response that says "failed" is an answer, and passes.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use http::{Request, Response};
//! use stonework::base::{Error, Kind};
//! use stonework::fallback::{Fallback, FallbackLayer};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! let unreachable = service_fn(|_: Request<String>| async {
//!     Err::<Response<&str>, _>(Error::new(Kind::Connect, "connection refused"))
//! });
//! let service = ServiceBuilder::new()
//!     .layer(FallbackLayer::value(|_: &Error| Response::new("no recommendations today")))
//!     .service(unreachable);
//!
//! let response = service.oneshot(Request::new(String::new())).await.unwrap();
//! assert_eq!(*response.body(), "no recommendations today");
//! // The caller can tell, and why.
//! assert!(Fallback::of(&response).unwrap().error().is_connect());
//! # }
//! ```
//!
//! Customized, with another service, for some kinds of error only:
//!
//! ```
//! # fn replica() -> impl Clone {}
//! use stonework::base::Kind;
//! use stonework::fallback::FallbackLayer;
//!
//! let layer = FallbackLayer::service(replica()).on([Kind::CircuitOpen, Kind::Connect]);
//! # let _ = layer;
//! ```
//!
//! # Who may get the request
//!
//! Another service is a second receiver, and nobody knows whether the two share what they do. So it is asked when a
//! [`retry`](crate::retry) would ask again:
//!
//! | how far the request got | idempotent method | with an `Idempotency-Key` | any other |
//! |---|---|---|---|
//! | it never left, or the peer proved that it did not process it | asked | asked | asked |
//! | it may have been received | asked | asked, same key | **never** |
//!
//! [`Call::dangerously_assume_idempotent`](crate::base::Call::dangerously_assume_idempotent) makes a request one that is
//! idempotent, [`Call::never_retry`](crate::base::Call::never_retry) one that is not. A key that
//! [`Call::keyed`](crate::base::Call::keyed) asks for is made by `retry`, further in: here the request carries none yet.
//! A value receives nothing, so none of this holds for it.
//!
//! *Bodies:* what the other service gets is a copy, as the caller wrote it, made before the call; so the layer takes
//! [`Replay`](crate::base::body::Replay) bodies, up to 64 KiB of what is not in memory anyway. Where there is none,
//! because the body is larger or the request is one for `never_retry`, a request that came back with its error is used, as
//! the layers inside left it; else the error is returned. A value needs no copy, and takes any body.
//! *Never after a byte was delivered:* a response that has begun is the answer, and a body that breaks off ends with its
//! own error.
//! *Marks:* the response carries a [`Fallback`] with the error in its place. Its [`Attempts`](crate::base::Attempts) are
//! those of the other service; that error knows the ones before.
//!
//! *Where:* outside of `retry`, so that what can be helped by trying again is. Inside the limit on the whole call: a value
//! stands in at the very moment when the time is over. Another service is not asked any more then, so put another limit
//! inside, which leaves it some of the time. *Not for:* a
//! second service that is as good as the first, which is a matter of choosing between them; a value that is wrong rather
//! than old or empty; or requests that are not HTTP.
//!
//! *Errors:* an [`Error`](crate::base::Error): that of the inner service; or, if the other one failed too, one of the
//! same kind with a [`FallbackFailed`] in its chain that has both, that counts the attempts of both, and says how far any
//! of them got. *Panics:* when the function does. *Cancellation:* dropping the future drops the call, whichever it is; the
//! first is dropped before the second begins. *Readiness and cloning:* always ready; the inner service, and then the
//! other, is waited for in the call, and one that breaks meanwhile has failed, with nothing sent. A clone has a service
//! of its own; the other service is cloned for each call that needs it. *Events:*
//! [`FellBack`](crate::base::Event::FellBack), when the other service or the function is asked.
//! *Costs:* the copy of the request's head, and of its body's handle; a value costs nothing.

mod decide;
mod error;
mod future;
mod layer;
mod mark;
mod primary;
mod service;
mod settings;

pub use self::error::FallbackFailed;
pub use self::future::{FallbackFuture, ValueFuture};
pub use self::layer::{Backup, FallbackLayer, Value};
pub use self::mark::Fallback;
pub use self::service::FallbackService;
pub use self::settings::{FallbackSettings, InvalidFallback};
