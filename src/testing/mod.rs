//! The kit this crate is tested with, for testing your own layers.
//!
//! | You want to know | Use |
//! |---|---|
//! | whether a layer keeps the `Service` contract, and gives back what it reserved | [`Strict`] |
//! | what a layer makes of answers, errors, silence and slow readiness | [`Scripted`] |
//! | what really goes over the wire, and what happens when the wire breaks | [`ScriptedServer`] |
//! | which attempts were made, and why there was no other | [`Recorder`] |
//! | what holds between a client and a server when the network is bad | [`chaos`] |
//!
//! # The contract: `Strict`
//!
//! The contract of `tower_service::Service` is easy to break and hard to see broken: a layer that calls a clone of the
//! service that it made ready works over every service that is always ready, and panics in production over the first
//! that is not. [`Strict`] takes the place of the inner service, and panics on each breach with the rule and its cure.
//! Its [`Ledger`] counts reservations, calls and drops; [`Ledger::assert_settled`] belongs at the end of a test.
//!
//! Most layers break in the corners. Run each test once more with [`pending_first`](Strict::pending_first), with a
//! [`capacity`](Strict::capacity) of one, and with the call dropped half way:
//!
//! ```
//! use std::task::{Context, Poll};
//! use stonework::testing::{Scripted, Step, Strict};
//! use tower::{Service, ServiceExt};
//!
//! /// The layer under test: says everything twice as loud.
//! #[derive(Clone)]
//! struct Loud<S>(S);
//!
//! impl<S: Service<String>> Service<String> for Loud<S> {
//!     type Response = S::Response;
//!     type Error = S::Error;
//!     type Future = S::Future;
//!
//!     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//!         self.0.poll_ready(cx)
//!     }
//!
//!     fn call(&mut self, request: String) -> S::Future {
//!         self.0.call(request.to_uppercase())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let inner = Scripted::<String, u32>::script(|call, _| if call == 1 { Step::Hang } else { Step::Answer(7) });
//! let seen = inner.seen();
//! let strict = Strict::new(inner).capacity(1).pending_first(1);
//! let ledger = strict.ledger();
//! let mut layer = Loud(strict);
//!
//! let call = layer.ready().await.unwrap().call("first".to_owned());
//! drop(call); // a caller that gave up
//! assert_eq!(layer.clone().oneshot("second".to_owned()).await.unwrap(), 7);
//!
//! drop(layer);
//! assert_eq!(seen.requests(), ["FIRST", "SECOND"]);
//! assert_eq!((ledger.dropped(), ledger.answered()), (1, 1));
//! ledger.assert_settled();
//! # }
//! ```
//!
//! # Answers and time: `Scripted`
//!
//! [`Scripted`] answers from memory, so a whole outage takes no time at all under Tokio's paused clock
//! (`#[tokio::test(start_paused = true)]`, with Tokio's feature `test-util`): when every task waits, the clock jumps
//! to the next timer. Assert on exact durations; nothing is ever late.
//!
//! ```
//! use std::time::Duration;
//! use stonework::testing::{Scripted, Step};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let start = tokio::time::Instant::now();
//! let slow = Scripted::<(), ()>::script(|_, ()| Step::AnswerAfter(Duration::from_secs(60), ()));
//! let seen = slow.seen();
//!
//! let service = ServiceBuilder::new().timeout(Duration::from_secs(2)).service(slow);
//! assert!(service.oneshot(()).await.is_err());
//! assert_eq!(start.elapsed(), Duration::from_secs(2)); // exactly, and at once
//! assert_eq!(seen.abandoned(), 1);
//! # }
//! ```
//!
//! # Bytes and order: `ScriptedServer`
//!
//! [`ScriptedServer`] is a peer on a real socket that resets, closes, stalls and answers by halves, as its
//! [`Reaction`]s say, and counts what it read. Use it to prove what was sent, how often, and on which connection.
//! [`in_order`] and [`close_on_next_head`] are ready-made scripts; a closure is the general one.
//!
//! # Never both: sockets and a paused clock
//!
//! A paused clock jumps whenever the runtime has nothing to do. Bytes that travel through the kernel are nothing to do:
//! while a response is on its way over loopback, every task waits, the clock jumps to the nearest timer, and the
//! timeout fires before the answer can arrive. Such a test passes for the wrong reason, or fails for none. So:
//!
//! - *How long* is a question for [`Scripted`], `tokio::io::duplex` or a [`chaos::Wire`], with the clock paused;
//! - *what* and *in which order* is a question for [`ScriptedServer`], with the clock running. Wait for events there
//!   ([`ScriptedServer::wait_until`], [`Latch`]) instead of sleeping.
//!
//! [`ScriptedServer`] cannot tell that the clock is paused; its helpers then give up at once.

pub mod chaos;
mod events;
mod scripted;
mod server;
mod strict;

pub use events::Recorder;
pub use scripted::{Scripted, ScriptedFuture, Seen, Step};
pub use server::{
    Digest, Latch, Reaction, Reception, Reply, ScriptedServer, SeenBody, SeenRequest, close_on_next_head,
    in_order, respond,
};
pub use strict::{Breach, Ledger, Strict, StrictFuture};
