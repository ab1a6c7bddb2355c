//! How many at once.

mod core;
mod error;
mod gate;
mod keyed;
mod layer;
mod limiter;
mod line;
mod permit;
mod priority;
mod queued;
mod settings;
mod state;
mod waiting;

pub use self::error::Overloaded;
pub use self::gate::{Concurrency, ConcurrencyLimit};
pub use self::keyed::KeyedConcurrencyLimiter;
pub use self::layer::ConcurrencyLimitLayer;
pub use self::limiter::ConcurrencyLimiter;
pub use self::permit::Permit;
pub use self::priority::Prioritized;
pub use self::settings::{ConcurrencySettings, InvalidConcurrency};

pub(super) use self::queued::Queued;
pub(super) use self::state::MOST;
pub(super) use self::waiting::Waiting;
