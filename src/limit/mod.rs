//! May it come in?
//!
//! | how much | a layer | a handle that is shared by cloning |
//! |---|---|---|
//! | in which time | [`RateLimitLayer`] | [`RateLimiter`]; for each key [`KeyedRateLimiter`] |
//! | at once | [`ConcurrencyLimitLayer`] | [`ConcurrencyLimiter`], also one that [finds out](AdaptiveSettings) how many; for each key [`KeyedConcurrencyLimiter`] |
//! | in a body | [`RequestBodyLimitLayer`], [`ResponseBodyLimitLayer`] | |
//! | that a server takes | [`AdaptiveThrottleLayer`], [`ServerQuotaLayer`] | [`AdaptiveThrottle`], for each key [`KeyedAdaptiveThrottle`]; [`ServerQuotas`] |
//! | and who is asking | [`ClientAddressLayer`] with [`TrustedProxies`] | |
//!
//! **The limit is the handle, and a layer is a view of it.** Clones of the handle, services made by one layer, and the clones that a
//! server makes for each connection share one limit; another limit needs another handle.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::get};
//! use http::Request;
//! use stonework::base::ByClient;
//! use stonework::limit::{
//!     ClientAddressLayer, ConcurrencyLimitLayer, KeyedRateLimiter, Quota, RateLimitLayer, TrustedProxies,
//! };
//! use tower::ServiceExt;
//!
//! // One proxy stands in front. Each client may ask twice at once and then once a minute; all of them together for 100 things at once.
//! let clients = KeyedRateLimiter::named("client", Quota::per_minute(1).burst(2))?;
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(RateLimitLayer::keyed(clients.clone(), ByClient).answer())
//!     .layer(ConcurrencyLimitLayer::new(100)?.answer())
//!     .layer(ClientAddressLayer::new(TrustedProxies::hops(1)?));
//!
//! let ask = async |client| {
//!     let request = Request::get("/").header("x-forwarded-for", client).body(Body::empty()).unwrap();
//!     app.clone().oneshot(request).await.unwrap()
//! };
//! assert_eq!(ask("192.0.2.1").await.headers()["ratelimit"], r#""client";r=1;t=60"#);
//! assert_eq!(ask("192.0.2.1").await.status(), 200);
//! // What a client writes itself, it writes in vain.
//! let refused = ask("203.0.113.99, 192.0.2.1").await;
//! assert_eq!(refused.status(), 429);
//! assert_eq!(refused.headers()["retry-after"], "60");
//! assert_eq!(ask("192.0.2.2").await.status(), 200);
//! # Ok(()) }
//! ```
//!
//! # What happens to a call for which there is no room
//!
//! It is refused at once, unless it is said that it may wait: see [`Admission`]. On a server, `.answer()`, a refusal is a response in
//! problem JSON (RFC 9457): 429 by a rate, with `Retry-After` rounded up, so that whoever obeys it is admitted next; 503 by what is in
//! flight. To a gRPC call it is `RESOURCE_EXHAUSTED` or `UNAVAILABLE`. A rate also says on every answer how things stand, in the fields
//! `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). On a client it is an [`Error`](crate::Error) of kind
//! `Overload` that says when to come back and hands the request back, so [`retry`](crate::retry) above can wait; a circuit breaker does
//! not count it.
//!
//! A limit outside of a service decides before the service is asked whether it is ready. The order that lets cheap refusals come before
//! expensive work: client address, concurrency, rate by address, size of bodies, who the caller is, rate by caller. Let what asks for the
//! health of the server past them: [`except`](RateLimitLayer::except), or a [`Server`](crate::server::Server), which does that by itself.
//!
//! # How many in which time
//!
//! A [`Quota`] is earned evenly and saved up to a burst: over any stretch of time `t` no more than `burst + rate · t` are admitted. A
//! [strict](Quota::strict) one allows no more than its amount in any window. Requests can [cost](RateLimitLayer::cost) more than 1, a
//! layer can have [several](RateLimitLayer::and) limits of which a call takes from all or from none, and a quota can be
//! [changed](RateLimiter::set_quota) while it is in use. Limits by key remember only the keys that have something spent, and at most
//! [so many](KeyedRateLimiter::max_keys).
//!
//! # How many at once
//!
//! A call is in flight until the body of its response has ended, was dropped or has failed; or until its head, by
//! [choice](ConcurrencyLimitLayer::until_head). Upgraded connections count until their head.
//!
//! Who does not know how many a service can do at once, and who does, has it [found out](AdaptiveSettings) from how long calls take; such
//! a limit follows the service when that changes. Behind it, [`Admission::Queue`] is a queue that never gets old: after an overload the
//! service is well as soon as it can be, since it does not work for callers who have left.
//! [Priorities](ConcurrencyLimitLayer::priority) say who is refused first.
//!
//! ```
//! use axum::{Router, routing::get};
//! use stonework::limit::{AdaptiveSettings, ConcurrencyLimitLayer};
//!
//! # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(ConcurrencyLimitLayer::new(AdaptiveSettings::new())?.queue().answer());
//! # let _ = app;
//! # Ok(()) }
//! ```
//!
//! # A client that holds back
//!
//! What an overloaded service refuses costs it nearly as much as what it serves. An [`AdaptiveThrottleLayer`] counts what it was asked for and
//! what its service took, for each host, and does not send what would most likely be refused: the service gets about twice what it takes. A
//! [`ServerQuotaLayer`] keeps to what a server says of its limits, in `RateLimit` and `RateLimit-Policy` or with 429 and `Retry-After`.
//!
//! | how a call ended | for the throttle it was |
//! |---|---|
//! | with an answer, also one that says 500; with an error that the [classifier](crate::base::Classify) takes for good | taken |
//! | with an answer that is an [`Overload`](crate::base::Outcome::Overload), as 429, and 503 with `Retry-After` | refused |
//! | with no answer: an error, a connection that nobody took, a time that ran out | refused |
//! | unsent, by another layer below; by an error of a body, or of the request's own | not there |
//! | dropped by its caller | not there; refused, if its deadline had passed |
//! | held back here | refused |
//!
//! A request counts when it is sent, with all that comes of it later. As long as nobody has answered it, it counts as taken in the stretch
//! of the window in which it was sent and in the next, so for five to ten seconds, and then as refused until it is answered: a service that
//! hangs is held back before its calls have ended, and whoever has just begun is not held back for having no answers. Where many calls take
//! longer than that, the [window](ThrottleSettings::window) has to be longer, or they hold back others that the service would take.
//!
//! Both stand inside of `retry`: the throttle's refusals are not repeated, the quota's are when there is more. With a balancer they are for
//! the service of an endpoint, or outside of it for the host. A circuit counts neither.
//!
//! # How large
//!
//! A body that is announced to be too large is refused before a byte of it is read, on a server with 413. One that grows
//! over the limit fails with the frame that passes it: nothing beyond the limit is handed on.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use axum::{Router, body::Body, routing::post};
//! use http::{Request, StatusCode};
//! use stonework::limit::RequestBodyLimitLayer;
//! use tower::ServiceExt;
//!
//! let app: Router = Router::new()
//!     .route("/", post(|body: String| async move { body }))
//!     .layer(RequestBodyLimitLayer::new(1024).answer());
//!
//! let large = Request::post("/").body(Body::from("x".repeat(1025))).unwrap();
//! assert_eq!(app.oneshot(large).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
//! # }
//! ```
//!
//! *Not covered:* the size of the head, which is the connection's to limit, and trailers. What is limited is the content as
//! it is transferred: a compressed body may be larger than the limit once it is not. *Not for:* limits on time, which are
//! in [`timeout`](crate::timeout).
//!
//! *Defaults:* there are none for how much, which is the service's to know; a burst is as large as the amount, as many may wait as may
//! be in flight, 100 000 keys are kept, and a 503 asks to come back in a second. *Errors:* of kind `Overload`, at whose end stands
//! [`RateLimited`](crate::base::RateLimited) or [`Overloaded`], not sent; of kind `Body`, at whose end stands
//! [`BodyTooLarge`](crate::base::body::BodyTooLarge), which no `retry` repeats. *Panics:* none. *Cancellation:* dropping a future drops
//! the call inside; a place in a queue is given up, a permit comes back, and what was taken of a quota for later is given back; what a
//! call that came in has taken stays taken, also if its service never became ready. *Readiness and cloning:* layers that limit rates or concurrency are always ready, but for
//! [`Admission::Backpressure`]; a clone has no reservation. Those that limit bodies are as ready as the inner service.

mod adaptive;
mod address;
mod admission;
mod body;
mod concurrency;
mod gate;
mod quota;
#[cfg(feature = "server")]
mod quota_and_room;
mod rate;
mod shared;
mod table;
mod throttle;

#[cfg(feature = "server")]
pub(crate) use self::quota_and_room::{QuotaAndRoom, QuotaAndRoomLayer};

pub use self::adaptive::{AdaptiveSettings, Algorithm};
pub use self::address::{
    ClientAddressLayer, ClientAddressService, ForwardingHeader, InvalidProxies, TrustedProxies,
};
pub use self::admission::Admission;
pub use self::body::{
    LimitedBody, RequestBodyLimit, RequestBodyLimitLayer, RequestLimitFuture, ResponseBodyLimit,
    ResponseBodyLimitLayer, ResponseLimitFuture,
};
pub use self::concurrency::{
    Concurrency, ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimiter, ConcurrencySettings,
    InvalidConcurrency, KeyedConcurrencyLimiter, Overloaded, Permit, Prioritized,
};
pub use self::gate::{Except, Gate, Gated, GatedFuture, Keyed};
pub use self::quota::{
    Heard, HeardFuture, QuotaUsedUp, QuotaWait, ServerQuota, ServerQuotaLayer, ServerQuotas,
};
pub use self::rate::{
    Allowed, Both, Costs, InvalidQuota, KeyedRateLimiter, Quota, Rate, RateLimit, RateLimitLayer,
    RateLimiter, Reservation,
};
pub use self::shared::*;
pub use self::throttle::{
    AdaptiveThrottle, AdaptiveThrottleLayer, AdaptiveThrottleService, InvalidThrottle, KeyedAdaptiveThrottle,
    Sent, ThrottleSettings, Throttled, ThrottledFuture, Throttles,
};
