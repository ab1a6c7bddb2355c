//! Is this one broken?

mod circuit;
mod core;
mod error;
mod future;
mod handle;
mod layer;
mod permit;
mod service;
mod settings;
mod stats;
mod waiting;
mod window;

pub use self::error::CircuitOpen;
pub use self::future::{Judging, ResponseFuture};
pub use self::handle::Breaker;
pub use self::layer::BreakerLayer;
pub use self::permit::Permit;
pub use self::service::BreakerService;
pub use self::settings::{BreakerSettings, InvalidBreaker};
pub use self::stats::BreakerStats;
