//! Is this one broken? Then it is left alone for a while, and asked again with care.
//!
//! A circuit watches the calls to a service. While it is closed, they go through and are counted. When too many of them fail, or
//! are slow, it opens: calls are refused at once, which saves their callers the wait and the service the load. After a while a
//! few calls go through as probes. If they go well, the traffic comes back, as much of it as goes well and twice as much in each
//! round; if they fail, the circuit is open again, for longer.
//!
//! | layer | its circuit | stands |
//! |---|---|---|
//! | [`BreakersLayer`] | one for each host, or for any other key | inside of `retry`, where the service below may go to any host |
//! | [`BreakerLayer`] | one | around one endpoint |
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use std::time::Duration;
//! use stonework::breaker::BreakersLayer;
//! use stonework::testing::{Scripted, Step};
//! use tower::{Layer, ServiceExt};
//!
//! let broken: Scripted<Request<Full<bytes::Bytes>>, _> = Scripted::script(|_, _| {
//!     Step::Answer(Response::builder().status(500).body(Full::<bytes::Bytes>::default()).unwrap())
//! });
//! let service = BreakersLayer::new().layer(broken);
//! let get = |uri: &str| Request::get(uri).body(Full::default()).unwrap();
//!
//! for _ in 0..20 {
//!     assert_eq!(service.clone().oneshot(get("http://sick.test/")).await.unwrap().status(), 500);
//! }
//! let refused = service.clone().oneshot(get("http://sick.test/")).await.unwrap_err();
//! assert!(refused.is_circuit_open());
//! assert!(refused.retry_after().unwrap() <= Duration::from_secs(5));
//!
//! // Another host has a circuit of its own.
//! assert!(service.oneshot(get("http://well.test/")).await.is_ok());
//! # }
//! ```
//!
//! Customized, around one endpoint, and forced open by hand:
//!
//! ```
//! use std::time::Duration;
//! use stonework::base::{Ratio, TracingObserver};
//! use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
//!
//! # fn main() -> Result<(), stonework::breaker::InvalidBreaker> {
//! let settings = BreakerSettings::new()
//!     .failure_rate(Ratio::percent(30))
//!     .slow_calls(Duration::from_secs(2), Ratio::percent(80));
//! let breaker = Breaker::new(settings)?.named("orders").observer(TracingObserver);
//! let layer = BreakerLayer::from(breaker.clone());
//!
//! breaker.force_open(); // from a console, while the service is being repaired
//! println!("{:?}", breaker.stats());
//! # let _ = layer;
//! # Ok(()) }
//! ```
//!
//! # What counts
//!
//! | how a call ended | counts as |
//! |---|---|
//! | judged a [`Success`](crate::base::Outcome::Success) or a [`Failure`](crate::base::Outcome::Failure), by [`ClassifyHttp`](crate::base::ClassifyHttp) or another classifier | that |
//! | judged [`Overload`](crate::base::Outcome::Overload) (a 429) or [`Neutral`](crate::base::Outcome::Neutral) | nothing |
//! | its response head came later than [`slow_calls`](BreakerSettings::slow_calls) allows | slow, whatever it is else |
//! | its response body broke off; its gRPC trailers say that it failed | a failure |
//! | its response body was not read to its end | as its head |
//! | it was dropped by its caller before the head | nothing |
//! | the same, when its deadline had passed | a failure; nothing, if that was less than a second that a [stranger](crate::timeout::ReceiveDeadlineLayer::believe) gave |
//! | the same, later than `slow_calls` allows | slow |
//! | the service failed to become ready | as its error; nothing in a [`BreakersLayer`], since nobody knows yet for which key |
//!
//! So a limit on time that stands outside does not hide a service that hangs: one of [`timeout`](crate::timeout), or any other
//! where it is said what is slow. A call is counted when its response body has ended; with `.plain()`, when it is returned.
//!
//! The share of failures, and that of slow calls, is judged as soon as there are
//! [enough calls](BreakerSettings::min_calls) in the [window](BreakerSettings::window): its stretch of time moves on in tenths.
//! What was begun before a circuit changed is of no account after it.
//!
//! # States
//!
//! | state | what goes through | until |
//! |---|---|---|
//! | [`Closed`](crate::base::CircuitState::Closed) | everything | too many failures or slow calls |
//! | [`Open`](crate::base::CircuitState::Open) | nothing | the open time is over and a call comes |
//! | [`HalfOpen`](crate::base::CircuitState::HalfOpen) | [`probes`](BreakerSettings::probes) | all have ended: open again, recovering, or closed |
//! | [`Recovering`](crate::base::CircuitState::Recovering) | twice as many calls at once, and twice that in the next round | none was refused in a round: closed; too many failed: open again |
//!
//! A probe that is dropped gives its place to the next call; one that has no answer in
//! [time](BreakerSettings::probe_timeout) has failed. So a circuit is never stuck, and there is no task that could be.
//!
//! *Defaults:* see [`BreakerSettings::new`]. *Not for:* a service whose single answers fail for reasons of their own: one path
//! that always answers 500, asked often enough, closes the others off with it; give it a [key](BreakersLayer::keyed) of its
//! own. Nor for too much load, which is [`Overload`](crate::base::Outcome::Overload). *Not covered:* what other processes know;
//! each finds out for itself.
//!
//! *Errors:* a refusal is an [`Error`](crate::Error) of kind [`CircuitOpen`](crate::base::Kind::CircuitOpen), with
//! [`CircuitOpen`] at its end. It was not sent, hands the request back, and says when to come back; a `retry` does not wait for
//! that. With `.answer()` it is a response: 503 with `Retry-After`. *Panics:* none of its own. *Cancellation:* dropping a future
//! drops the call inside, and counts as above. *Readiness and cloning:* those of the inner service; while a
//! [`BreakerLayer`]'s circuit is open it is ready, to refuse, or [not ready](BreakerLayer::not_ready_when_open). A call that is
//! refused after all gives back what readiness had reserved below, by putting a clone in the service's place; hence
//! `S: Clone`. Clones share the circuit. *Events:* [`CircuitChanged`](crate::base::Event::CircuitChanged) and
//! [`CircuitProbed`](crate::base::Event::CircuitProbed).

mod circuit;
mod core;
mod error;
mod future;
mod handle;
mod keyed;
mod layer;
mod permit;
mod registry;
mod service;
mod settings;
mod stats;
mod verdict;
mod waiting;
mod window;

pub use self::error::CircuitOpen;
pub use self::future::{Judging, ResponseFuture};
pub use self::handle::Breaker;
pub use self::keyed::{BreakersLayer, BreakersService};
pub use self::layer::BreakerLayer;
pub use self::permit::Permit;
pub use self::registry::Breakers;
pub use self::service::BreakerService;
pub use self::settings::{BreakerSettings, InvalidBreaker};
pub use self::stats::BreakerStats;
