//! A client that sends no more than a service can be expected to take.

mod decide;
mod error;
mod future;
mod handle;
mod keyed;
mod layer;
mod sent;
mod service;
mod settings;
mod window;

pub use self::error::{InvalidThrottle, Throttled};
pub use self::future::ThrottledFuture;
pub use self::handle::AdaptiveThrottle;
pub use self::keyed::KeyedAdaptiveThrottle;
pub use self::layer::{AdaptiveThrottleLayer, Throttles};
pub use self::sent::Sent;
pub use self::service::AdaptiveThrottleService;
pub use self::settings::ThrottleSettings;
