//! What the laboratories have in common: a clock that is virtual, chance that can be repeated, a server that is a queue before some
//! workers, and what tells the results.
//!
//! An experiment is an `async` function of a seed. It runs on a clock that stands still while there is anything to do, in one thread, so
//! that the same seed gives the same numbers; several seeds run beside each other, one on each core:
//!
//! ```
//! use std::time::Duration;
//! use stonework::base::Rng;
//! use stonework_labs::{Mean, Workers, chance, each_seed, poisson};
//! use tokio::time::Instant;
//!
//! // One worker, half of whose time is taken: calls are there for two of their own lengths.
//! let means = each_seed(8, |seed| async move {
//!     let (server, rng) = (Workers::new(1), Rng::seeded(seed));
//!     let took = poisson(&rng, 50.0, Duration::from_secs(60), |_| {
//!         let (server, work) = (server.clone(), chance::exponential(&rng, 0.01));
//!         async move {
//!             let asked = Instant::now();
//!             server.work(work).await;
//!             asked.elapsed().as_secs_f64()
//!         }
//!     })
//!     .await;
//!     took.iter().sum::<f64>() / took.len() as f64
//! });
//! assert!((Mean::of(&means).mean - 0.02).abs() < 0.002);
//! ```
//!
//! Timers are exact to a millisecond, as everywhere in tokio: let what is measured take some of them.

mod arrivals;
pub mod chance;
pub mod experiments;
mod finding;
#[path = "../../kit/mod.rs"]
mod kit;
mod play;
mod plot;
mod seeds;
mod workers;

pub use self::arrivals::{evenly, poisson};
pub use self::finding::{Bar, ENOUGH, Experiment, Figure, Finding, Judgement, Row};
pub use self::kit::stats::{Mean, quantile};
pub use self::kit::{Verdict, end};
pub use self::play::{Words, play};
pub use self::plot::{Chart, Line, draw};
pub use self::seeds::{each_seed, virtually};
pub use self::workers::Workers;
