//! A network in memory that breaks by chance, and in the same way for the same seed.
//!
//! A [`Wire`] stands where the network is, between a client and a server of your own: what connects to one end of it, comes out at the other.
//! In between, it takes its time, cuts what is sent into pieces, resets connections, or loses what is sent without a word, as its [`Faults`] say.
//! All of it takes place in memory, so tokio's clock can be paused, and hours of bad network take no time.
//!
//! ```
//! # #[cfg(feature = "full")] {
//! use std::convert::Infallible;
//! use std::time::Duration;
//! use http::{Request, Response};
//! use stonework::Body;
//! use stonework::base::Rng;
//! use stonework::client::Client;
//! use stonework::connect::{Connector, Target, connect_fn};
//! use stonework::server::Server;
//! use stonework::testing::chaos::{Faults, Wire};
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! for seed in 0..10 {
//!     let wire = Wire::new(seed, Faults::default());
//!     let server = Server::builder().listen(wire.listen())?;
//!     let service = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
//!     let serving = tokio::spawn(server.serve(service));
//!
//!     let way = wire.clone();
//!     let connector = Connector::builder().transport(connect_fn(move |_: Target| way.connect())).build()?;
//!     let client = Client::builder().connector(connector).rng(Rng::seeded(seed)).build()?;
//!     for _ in 0..20 {
//!         let begun = Instant::now();
//!         let answer = client.get("http://any.test/").send().await;
//!         // Whatever happens: in time, and what was said or an error.
//!         assert!(begun.elapsed() <= Duration::from_millis(30_050), "seed {seed}: {:#?}", wire.happenings());
//!         let text = async { answer?.text().await };
//!         assert!(text.await.map_or(true, |text| text == "hello"), "seed {seed}");
//!     }
//!     serving.abort();
//! }
//! # Ok(()) } main().unwrap();
//! # }
//! ```
//!
//! When a seed fails, run it alone: the same seed does the same to the same bytes. [`Wire::happenings`] tells the story, and
//! [`Wire::fingerprint`] whether two runs were the same. For that, all chance has to come from seeds: give the client and the server a seeded
//! [`Rng`](crate::base::Rng), and use Tokio's runtime of one thread.
//!
//! | what | as on real networks | how often, unless the faults say otherwise |
//! |---|---|---|
//! | latency, jitter, bandwidth | each direction by itself, in order | always |
//! | slices | a read brings less than was written | always |
//! | refusals | nobody listens | 5 % of connections |
//! | hangs | a packet filter that drops | 2 % |
//! | resets | what was under way is lost, and each end learns of it later | 10 % |
//! | silences | a router forgets a connection: one direction is lost, its end included, until somebody gives up | 5 % |
//!
//! An end that is dropped before it has read everything resets the connection, which may cost the other end what it has not read yet.
//!
//! *Not covered:* bytes that are changed, doubled or out of order: TCP lets none of these through. *Bounded:* a direction holds 64 KiB, then
//! whoever writes has to wait. *Panics:* outside a Tokio runtime with timers.

mod counts;
mod faults;
mod happening;
mod lane;
mod link;
mod plan;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use self::counts::Counts;
pub use self::faults::Faults;
pub use self::happening::{Direction, Happening, What};
pub use self::stream::WireStream;
pub use self::wire::Wire;
