//! Is this one broken?

mod circuit;
mod core;
mod error;
mod future;
mod handle;
mod host;
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
pub use self::host::HostPort;
pub use self::keyed::{BreakersLayer, BreakersService, ByHost, KeyOf};
pub use self::layer::BreakerLayer;
pub use self::permit::Permit;
pub use self::registry::Breakers;
pub use self::service::BreakerService;
pub use self::settings::{BreakerSettings, InvalidBreaker};
pub use self::stats::BreakerStats;
