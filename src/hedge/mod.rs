//! Ask a second one?
//!
//! Where one of a hundred calls is slow, of those that need a hundred answers two of three are. [`HedgeLayer`] sends a request a second
//! time when the first attempt takes longer than nearly all calls of late did, and takes the answer that comes first. That costs two of a
//! hundred requests, and makes the slowest calls nearly as fast as the others (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), stonework::Error> {
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use stonework::hedge::{HedgeLayer, HedgeSettings};
//! use tokio::time::{Instant, sleep};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! // Whoever is asked first hangs.
//! let replicas = service_fn(|request: Request<Full<Bytes>>| async move {
//!     let first = !request.headers().contains_key("stonework-attempt");
//!     sleep(if first { Duration::from_secs(60) } else { Duration::from_millis(20) }).await;
//!     Ok::<_, stonework::Error>(Response::new("found".to_owned()))
//! });
//! // Unless this is said, it learns how long to wait.
//! let settings = HedgeSettings::new().fixed_delay(Duration::from_millis(50));
//! let service = HedgeLayer::from(settings).layer(replicas);
//!
//! let start = Instant::now();
//! let response = service.oneshot(Request::get("/").body(Full::default()).unwrap()).await?;
//! assert_eq!(*response.body(), "found");
//! assert_eq!(start.elapsed(), Duration::from_millis(70));
//! # Ok(()) }
//! ```
//!
//! Customized, and sharing its budget with the retries around it:
//!
//! ```
//! use stonework::base::{Budget, Ratio};
//! use stonework::hedge::{Hedge, HedgeLayer, HedgeSettings};
//! use stonework::retry::RetryLayer;
//!
//! let budget = Budget::default();
//! let hedge = Hedge::new(HedgeSettings::new().quantile(Ratio::percent(95)).attempts(3));
//! let layer = HedgeLayer::from(hedge.clone()).budget(budget.clone());
//! let retry = RetryLayer::new().budget(budget);
//! println!("{:?} {:?}", hedge.delay(), hedge.stats());
//! # let _ = (layer, retry);
//! ```
//!
//! # What is sent twice
//!
//! A request whose method is idempotent (RFC 9110, section 9.2.2) or that carries an `Idempotency-Key`, if its body can be
//! [replayed](crate::base::body::Replay). Any other is sent once, and costs nothing here. [`Call`](crate::base::Call) says otherwise for
//! one request, [`repeatable_paths`](HedgeSettings::repeatable_paths) for many, as for [`retry`](crate::retry). A key that
//! [`Call::keyed`](crate::base::Call::keyed) asks for is made by `retry`, further out. What is itself the second attempt of somebody
//! before this hop, or of a hedge outside, is sent once.
//!
//! # When
//!
//! *Slow* is what takes longer than 98 % of the calls of the last ten to twenty seconds did until their head, as the [`Hedge`] has
//! learned; as long as it has seen fewer than a hundred, nothing is slow. It counts first attempts only. One that was given up, because another
//! was faster or time ran out, counts as one that took at least that long, so that what hedging makes fast does not make it impatient.
//! Answers that were there at once are not counted, nor what has failed.
//!
//! *A failure*, as the layer's [`Classify`](crate::base::Classify) has it, does not win while another attempt may still succeed, and
//! sends the next at once, whatever the delay: also that of the first attempt before the delay is over, and where nothing is known yet of
//! how long calls take. It is an attempt like any other: it counts among them, and the layer's budget pays for it, unless nothing was sent
//! before. An answer that is final ends all. That is the hedging policy of gRFC A6. But where a `retry` outside sends this very request
//! again, or one inside gave up on it, what has failed is left to that, so that they do not multiply. `Retry-After` and
//! `grpc-retry-pushback-ms` delay the next attempt, which is paid for when that pause begins, and goes back to the budget if it is
//! cancelled; a negative one, or [`DO_NOT_RETRY`](crate::base::DO_NOT_RETRY), means that there is none.
//!
//! *A failed answer* is not held while another attempt is waited for, as that may need what its body holds: a place, a connection. Its body
//! is read until the next attempt begins, up to 64 KiB and for a second, so that its connection can be used again, and dropped then.
//!
//! *To whom:* a balancer below sends it to an endpoint that no other attempt of the call was made with, if there is one.
//! *How often:* two attempts in all, and no more further ones than the [`Budget`](crate::base::Budget) allows: when everything is slow,
//! asking twice makes it worse. A spent budget never fails the call. None begins that would have less time until the deadline than half of
//! all calls take.
//!
//! *The losers* are dropped when the head of the winner is there: HTTP/2 resets the stream, a connection of HTTP/1.1 is closed. A
//! server may have done their work. 409 (Conflict) in answer to an attempt that has a key is not the answer of the call while another
//! attempt with that key is under way, since it speaks of that one.
//!
//! *Where:* inside of `retry`, which sees one result; outside of the limit on an attempt and of a balancer. *Not for:* a service with
//! one server that is slow since it has too much to do, streams whose head comes at once, or what is not an HTTP request.
//! Calls of very different length (a report, a lookup) belong to layers of their own, or the short ones are never slow.
//! *Errors:* an [`Error`](crate::base::Error): when all attempts have failed, that of the last, with the number of attempts and how far
//! any of them got; if it was answered, that answer, with its whole body. When the deadline comes while an attempt is under way after one
//! that was answered, that time ran out. A response says how many [`Attempts`](crate::base::Attempts) there were, if more
//! than one. *Panics:* when it has to wait outside a Tokio runtime with timers. *Cancellation:* dropping the future drops all attempts;
//! one that was charged to the budget and not begun goes back. *Readiness and cloning:* it is ready when the inner service is; before each
//! further attempt it waits until that is ready again, and the first goes on meanwhile. A clone learns with the others and shares the
//! budget. *Events:* [`HedgeFired`](crate::base::Event::HedgeFired), [`HedgeWon`](crate::base::Event::HedgeWon), and
//! [`HedgeSkipped`](crate::base::Event::HedgeSkipped) with the reason.
//! *Costs:* a copy of the request's head, and of its body's handle; two readings of the clock, if it is not answered at once; 6 KiB for
//! each handle. An attempt that is fired is boxed.

mod decide;
mod future;
mod handle;
mod layer;
mod plan;
mod progress;
mod quantile;
mod rest;
mod service;
mod settings;

pub use self::future::HedgeFuture;
pub use self::handle::{Hedge, HedgeStats};
pub use self::layer::HedgeLayer;
pub use self::service::HedgeService;
pub use self::settings::{HedgeSettings, InvalidHedge};
