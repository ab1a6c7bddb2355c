//! Limits on how long a body may take. See [`BodyLimits`].

mod future;
mod layer;
mod service;
mod settings;
mod timed;
mod watch;

pub use self::future::BodyTimeoutFuture;
pub use self::layer::{RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer};
pub use self::service::{RequestBodyTimeout, ResponseBodyTimeout};
pub use self::settings::{BodyLimits, InvalidBodyLimits};
pub use self::timed::TimedBody;
